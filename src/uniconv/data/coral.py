"""CORAL: conversations derived from the headings of Wikipedia pages, with long cited responses.

Reads ``train_conversation.json`` and ``test_conversation.json`` (also with ``new_`` before the
name; in the folder or in ``train`` and ``test``), JSON lists or JSONL, and, if it is there,
``passage_corpus.json`` (``ref_id``, ``ref_string``), which is streamed if it is JSONL. Citations
``[passage id]`` of gold passages are taken out of the responses, as ids mean nothing to a reader;
the gold passages remain as positives. The middle part of the conversation id (such as ``LDS``),
which tells how the conversation was sampled, becomes the attribute ``flow``.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from uniconv.data.dataset import DataSet, find, find_any, keep_known
from uniconv.data.histories import Numbered
from uniconv.data.lines import read_records
from uniconv.data.records import Record
from uniconv.types import Conversation, Passage, Turn

SPLITS = ("train", "test")
_CITATION = re.compile(r"\s*\[(\d+)\]")


def read(source: Path, corpus: Path | None = None) -> DataSet:
    """The splits that are there, and the passages where they are."""
    splits: dict[str, list[Conversation]] = {}
    sources = []
    cited: Counter[str] = Counter()
    for split in SPLITS:
        path = find_any(source, *_places(split))
        if path is not None:
            splits[split] = _conversations(path, cited)
            sources.append(path)
    if not splits:
        find(source, *(place for split in SPLITS for place in _places(split)))
    held = None if corpus else find_any(source, "passage_corpus.json", "passage_corpus.jsonl")
    if held:
        sources.append(held)
    return DataSet(
        splits,
        sources,
        map(_passage, read_records(held)) if held else None,
        counts=keep_known(splits, corpus) | cited,
    )


def _places(split: str) -> list[str]:
    name = f"{split}_conversation.json"
    return [f"{top}{new}{name}" for top in ("", f"{split}/") for new in ("new_", "")]


def _conversations(path: Path, cited: Counter[str]) -> list[Conversation]:
    turns = Numbered()
    for record in read_records(path):
        id = record.identifier("conv_id")
        parts = id.split("_")
        flow = {"flow": parts[1]} if len(parts) == 3 else {}
        rows = record.records("turns")
        if not rows:
            raise record.error("turns", "is empty; expected at least one turn")
        for row in rows:
            positives = row.keys("golden_docs_pids")
            response, marks = _without_citations(row.text("response"), positives)
            cited["citations taken out of responses"] += marks
            turn = Turn(
                row.spoken("question").strip(),
                response,
                (row.optional_text("golden_rewrite") or "").strip() or None,
                tuple(dict.fromkeys(positives)),
                attributes=flow,
            )
            turns.add(id, turn, row, "turn_id", row.integer("turn_id"))
    return turns.conversations()


def _without_citations(response: str, positives: tuple[str, ...]) -> tuple[str, int]:
    """The response without ``[id]`` of these passages, and how many there were."""
    marks = [mark for mark in _CITATION.finditer(response) if mark[1] in positives]
    for mark in reversed(marks):
        response = response[: mark.start()] + response[mark.end() :]
    return response.strip(), len(marks)


def _passage(record: Record) -> Passage:
    return Passage(record.key("ref_id"), record.text("ref_string"))
