"""TopiOCQA: conversations that shift between Wikipedia topics, with short free-form answers.

Reads ``topiocqa_{train,dev}.json`` (or ``topiocqa.zip`` with both) and ``{train,dev}_gold.jsonl``,
which names the gold passage of a turn in a corpus that is kept apart; rows without ``use: true``
are doubtful matches and left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from uniconv.data.conversations import qrels_of
from uniconv.data.dataset import DataSet, find, keep_known
from uniconv.data.lines import read_jsonl, read_objects
from uniconv.data.records import Record
from uniconv.types import Conversation, Turn

SPLITS = ("train", "dev")


def read(source: Path, corpus: Path | None = None) -> DataSet:
    """Both splits, and under ``dev_unseen`` the dev queries whose gold passages train lacks."""
    splits: dict[str, list[Conversation]] = {}
    sources = []
    for split in SPLITS:
        name = f"topiocqa_{split}.json"
        path = find(source, name, f"topiocqa.zip/{name}")
        gold = find(source, f"{split}_gold.jsonl")
        splits[split] = _conversations(split, path, _gold(gold))
        sources += [path, gold]
    known = keep_known(splits, corpus)
    trained = {id for grades in qrels_of(splits["train"]).values() for id in grades}
    unseen = {
        query: grades
        for query, grades in qrels_of(splits["dev"]).items()
        if trained.isdisjoint(grades)
    }
    return DataSet(splits, list(dict.fromkeys(sources)), qrels={"dev_unseen": unseen}, counts=known)


def _gold(path: Path) -> dict[str, str]:
    """The gold passage by turn id (``split_conversation_turn``)."""

    def parse(record: Record) -> tuple[str, str] | None:
        used = record.fields.get("use") is True
        return (record.identifier("id"), record.identifier("pid")) if used else None

    return dict(row for row in read_jsonl(path, parse, unique="id") if row)


def _conversations(split: str, path: Path, gold: Mapping[str, str]) -> list[Conversation]:
    turns: dict[str, list[Turn]] = {}
    for record in read_objects(path):
        id = f"{split}_{record.integer('Conversation_no')}"
        so_far = turns.setdefault(id, [])
        number = record.integer("Turn_no")
        if number != len(so_far) + 1:
            raise record.error("Turn_no", f"is {number} after turn {len(so_far)} of '{id}'")
        so_far.append(Turn(record.spoken("Question"), record.text("Answer")))
    conversations = []
    for id, spoken in turns.items():
        marked = (
            replace(turn, positives=(gold[f"{id}_{number}"],)) if f"{id}_{number}" in gold else turn
            for number, turn in enumerate(spoken, start=1)
        )
        conversations.append(Conversation(id, tuple(marked)))
    return conversations
