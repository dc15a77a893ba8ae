"""The dialogues that measure the model and never enter its text."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

from text import read_lines


def evaluation_dialogues(data: Path) -> Iterator[list[str]]:
    """Turns, a question first, of TopiOCQA dev, INSCIT, MTRAG human, CAsT, iKAT and Wow++.

    A set whose folder is absent is skipped.
    """
    readers = (_topiocqa, _inscit, _mtrag, _cast, _ikat, _wowpp)
    folders = ("topiocqa", "inscit", "mtrag", "cast", "ikat_topics_only", "wowpp")
    for name, read in zip(folders, readers, strict=True):
        if (data / name).is_dir():
            yield from read(data / name)


def _topiocqa(folder: Path) -> Iterator[list[str]]:
    with zipfile.ZipFile(folder / "topiocqa.zip") as archive:
        turns = json.loads(archive.read("topiocqa_dev.json"))
    for turn in turns:
        yield [*turn["Context"][-1:], turn["Question"], turn["Answer"]][-2:]


def _inscit(folder: Path) -> Iterator[list[str]]:
    for dialogue in json.loads((folder / "dev.json").read_text("utf-8")).values():
        for turn in dialogue["turns"]:
            question = turn["context"][-1] if turn["context"] else ""
            for label in turn["labels"]:
                yield [question, label["response"]]


def _mtrag(folder: Path) -> Iterator[list[str]]:
    for dialogue in json.loads((folder / "mtrag_human_conversations.json").read_text("utf-8")):
        yield [message["text"] for message in dialogue["messages"]]
    for path in sorted(folder.glob("mtrag*-human/**/*.jsonl")):
        for row in read_lines(path):
            yield from ([line] for line in row["text"].replace("|user|:", "").splitlines())
    for row in read_lines(folder / "mtragun_reference.jsonl"):
        yield [message["text"] for message in row["input"]]


def _cast(folder: Path) -> Iterator[list[str]]:
    for path in sorted(folder.glob("*topics*.json")):
        for topic in json.loads(path.read_text("utf-8")):
            for turn in topic["turn"]:
                for name, text in turn.items():
                    if "utterance" in name and isinstance(text, str):
                        yield [text]
    for path in sorted(folder.glob("*topics*.tsv")):
        with path.open(encoding="utf-8", newline="") as file:
            yield from ([row[-1]] for row in csv.reader(file, delimiter="\t") if row)


def _ikat(folder: Path) -> Iterator[list[str]]:
    for path in sorted(folder.glob("*.json")):
        for topic in json.loads(path.read_text("utf-8")):
            for turn in topic.get("turns") or topic["responses"]:
                for name in ("utterance", "user_utterance", "resolved_utterance"):
                    yield [turn.get(name) or "", turn.get("response") or ""]


def _wowpp(folder: Path) -> Iterator[list[str]]:
    for path in sorted(folder.glob("*.json")):
        for row in json.loads(path.read_text("utf-8")).values():
            yield from ([turn] for turn in row["turns"])
