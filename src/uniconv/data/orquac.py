"""OR-QuAC: QuAC's conversations over 11 million Wikipedia passages, with CANARD's rewrites.

Reads ``train.txt``, ``dev.txt`` and ``test.txt`` (JSONL; in the folder or in ``preprocessed``),
``qrels.txt`` (one JSON object: question id to passage ids) and, if it is there,
``all_blocks.txt`` (JSONL: ``id``, ``title``, ``text``), each also with ``.gz``. The passages are
streamed. Question ids ``dialog_q#0`` become conversations and turns. The answer CANNOTANSWER marks
an unanswerable question.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from uniconv.data.dataset import DataSet, find, find_any, keep_known
from uniconv.data.histories import Numbered
from uniconv.data.lines import read_jsonl, read_object
from uniconv.data.records import Record
from uniconv.types import UNANSWERABLE, Conversation, Passage, Turn

SPLITS = ("train", "dev", "test")
_NO_ANSWER = "CANNOTANSWER"


def read(source: Path, corpus: Path | None = None) -> DataSet:
    """The splits that are there, and the passages where they are."""
    judged = find(source, *_places("qrels"))
    gold = {
        id: tuple(passage for passage in grades.fields if grades.integer(passage) > 0)
        for id, grades in read_object(judged).items()
    }
    sources = [judged]
    splits: dict[str, list[Conversation]] = {}
    for split in SPLITS:
        path = find_any(source, *_places(split))
        if path is not None:
            splits[split] = _conversations(path, gold)
            sources.append(path)
    if not splits:
        find(source, *_places("train"))
    counts = keep_known(splits, corpus)
    turns = [turn for talks in splits.values() for one in talks for turn in one.turns]
    counts["turns without a gold passage"] = sum(not turn.positives for turn in turns)
    blocks = None if corpus else find_any(source, *_places("all_blocks"))
    passages = read_jsonl(blocks, _passage) if blocks else None
    return DataSet(splits, [*sources, *([blocks] if blocks else [])], passages, counts=counts)


def _places(name: str) -> list[str]:
    return [f"{top}{name}.txt{gz}" for top in ("", "preprocessed/") for gz in ("", ".gz")]


def _conversations(path: Path, gold: Mapping[str, tuple[str, ...]]) -> list[Conversation]:
    turns = Numbered()
    for dialog, number, turn, record in read_jsonl(path, lambda record: _turn(record, gold)):
        turns.add(dialog, turn, record, "qid", number)
    return turns.conversations()


def _turn(record: Record, gold: Mapping[str, tuple[str, ...]]) -> tuple[str, int, Turn, Record]:
    id = record.identifier("qid")
    dialog, mark, number = id.rpartition("_q#")
    if not mark or not number.isdecimal():
        raise record.error("qid", f"is '{id}'; expected dialog_q#number")
    answer = record.record("answer").text("text").strip()
    turn = Turn(
        record.spoken("question").strip(),
        answer,
        record.optional_text("rewrite"),
        gold.get(id, ()),
        attributes={"answerability": UNANSWERABLE if answer == _NO_ANSWER else "answerable"},
    )
    return dialog, int(number) + 1, turn, record


def _passage(record: Record) -> Passage:
    return Passage(record.key("id"), record.text("text"), record.optional_text("title") or "")
