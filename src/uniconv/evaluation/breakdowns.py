"""Groups of queries by which results are broken down, such as topic shifts or unseen passages.

A breakdown has a name and puts queries into groups; a query can be in several or in none.
``groups.jsonl`` in a result's folder keeps the groups of every query by the breakdowns' names.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path

from uniconv.data.beir import Qrels, read_qrels
from uniconv.data.conversations import read_conversations
from uniconv.data.dataset import positives_of
from uniconv.data.lines import read_jsonl, write_jsonl
from uniconv.data.records import Record
from uniconv.types import Conversation

Groups = Mapping[str, Mapping[str, Sequence[str]]]
"""The name of a breakdown to query id to the groups that the query is in."""

GROUPS = "groups.jsonl"
_OWN = ("_id", "depth", "topic", "gold")  # no attribute can take these names
MOST_GROUPS = 20
"""An attribute with more values than this tells turns apart rather than groups them."""


def groups_of(contexts: Mapping[str, Conversation]) -> dict[str, dict[str, list[str]]]:
    """What the turns themselves tell: ``depth``, ``topic``, and every attribute by its name.

    ``depth`` counts turns from 1. ``topic`` compares the attribute ``topic`` of a turn with that of
    the turn before. Other attributes group by their values, which commas separate; those with more
    than ``MOST_GROUPS`` of them are left out.

    Args:
        contexts: By query id, each ending with the turn that is the query.
    """
    groups: dict[str, dict[str, list[str]]] = {"depth": {}, "topic": {}}
    for query, context in contexts.items():
        groups["depth"][query] = [str(len(context.turns))]
        topic = _topic(context)
        if topic is not None:
            groups["topic"][query] = [topic]
        for name, value in sorted(context.turns[-1].attributes.items()):
            labels = [label for part in value.split(",") if (label := " ".join(part.split()))]
            if name not in _OWN:
                groups.setdefault(name, {})[query] = labels
    return {
        name: of
        for name, of in groups.items()
        if name == "depth" or 0 < len({*chain.from_iterable(of.values())}) <= MOST_GROUPS
    }


def _topic(context: Conversation) -> str | None:
    topics = [turn.attributes.get("topic") for turn in context.turns[-2:]]
    if None in topics:
        return None
    if len(topics) == 1:
        return "first turn"
    return "topic continuation" if topics[0] == topics[1] else "topic shift"


def gold_seen(qrels: Qrels, training: Collection[str], relevant: int = 1) -> dict[str, list[str]]:
    """``seen`` for queries with a relevant passage that is a positive of training, else ``unseen``.

    Args:
        training: The ids of training's positives.
        relevant: The least grade of a relevant passage.
    """
    seen = {
        query: any(grade >= relevant and id in training for id, grade in grades.items())
        for query, grades in qrels.items()
    }
    return {query: ["seen" if one else "unseen"] for query, one in seen.items()}


def read_positives(paths: Sequence[Path]) -> set[str]:
    """The ids of all relevant passages in files of conversations (.jsonl) or of judgements."""
    found: set[str] = set()
    for path in paths:
        if ".jsonl" in path.suffixes:
            for conversation in read_conversations(path):
                found |= positives_of(conversation)
        else:
            for grades in read_qrels(path).values():
                found |= {id for id, grade in grades.items() if grade > 0}
    return found


def write_groups(folder: Path, queries: Iterable[str], groups: Groups) -> None:
    """Writes ``groups.jsonl``: ``_id`` and the query's groups in each breakdown."""
    rows = (
        {"_id": query, **{name: list(of[query]) for name, of in groups.items() if query in of}}
        for query in queries
    )
    write_jsonl(folder / GROUPS, rows)


def read_groups(folder: Path) -> dict[str, dict[str, Sequence[str]]]:
    """The breakdowns of a result's folder; none where it has no ``groups.jsonl``.

    Raises:
        DataError: a line is malformed.
    """

    def parse(record: Record) -> tuple[str, dict[str, Sequence[str]]]:
        names = [name for name in record.fields if name != "_id"]
        return record.identifier("_id"), {name: record.texts(name) for name in names}

    groups: dict[str, dict[str, Sequence[str]]] = {}
    if (folder / GROUPS).exists():
        for query, found in read_jsonl(folder / GROUPS, parse, unique="_id"):
            for name, labels in found.items():
                groups.setdefault(name, {})[query] = labels
    return groups
