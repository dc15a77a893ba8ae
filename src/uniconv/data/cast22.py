"""TREC CAsT 2022: trees of turns, with clarifying questions of the system.

Reads ``2022_evaluation_topics_tree_v1.0.json`` and ``cast2022.qrel``; if present,
``2022_annotated_evaluation_topics_flattened_duplicated_v1.0.json`` for ``topic`` (its sub-topic)
and ``type`` (its type of utterance).

Every leaf of a tree gives a conversation, the path from the root to it, with the id
``topic_leaf``. A turn that lies on several paths is asked again in each, but judged only in the
first one, so that each of the track's queries counts once; its own id is the attribute ``turn``.
Responses are those of the tree; a response without provenance is a question or remark of the
system and marked by ``initiative``: ``system``. Positives are the passages of grade 2 or higher
or, where a turn is not judged, the provenance of its response; ``test.qrels.tsv`` keeps the
grades. It is for evaluation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from uniconv.data.beir import Qrels, read_qrels
from uniconv.data.dataset import DataSet, find, find_any
from uniconv.data.lines import read_objects
from uniconv.data.records import Record
from uniconv.data.trec import answered, check_judged, ids_of, judge, lacks, places, texts_of
from uniconv.types import Conversation, Turn

SPLIT = "test"
LEVEL = 2
"""The lowest grade that counts as relevant."""


def read(source: Path, corpus: Path | None = None) -> DataSet:
    """All paths of all trees."""
    trees = find(source, *places("2022/2022_evaluation_topics_tree_v1.0.json"))
    judged = find(source, *places("2022/cast2022.qrel"))
    flat = "2022/2022_annotated_evaluation_topics_flattened_duplicated_v1.0.json"
    annotated = find_any(source, *places(flat))
    attributes = {} if annotated is None else _annotations(annotated)
    talks: list[Conversation] = []
    query_of: dict[str, str] = {}
    repeated = 0
    for topic in read_objects(trees):
        for one in _paths(topic, attributes):
            talks.append(one)
            for number, turn in enumerate(one.turns, start=1):
                repeated += turn.attributes["turn"] in query_of
                query_of.setdefault(turn.attributes["turn"], one.query_id(number))
    grades = read_qrels(judged)
    check_judged(judged, grades, query_of.keys())
    first = set(query_of.values())
    talks = [_judged_once(one, first) for one in talks]
    qrels: Qrels = {query_of[turn]: of_turn for turn, of_turn in grades.items()}
    held = None
    if corpus is not None:
        provenance = {id for one in talks for turn in one.turns for id in turn.positives}
        held = texts_of(corpus, ids_of([grades]) | provenance).keys()
    talks, qrels, dropped = judge(talks, qrels, LEVEL, held)
    counts = {"turns that repeat an earlier path's": repeated, **dropped, **lacks(talks)}
    sources = [path for path in (trees, judged, annotated) if path]
    return DataSet({SPLIT: talks}, sources, qrels={SPLIT: qrels}, counts=counts)


def _paths(topic: Record, attributes: Mapping[str, Mapping[str, str]]) -> Iterator[Conversation]:
    """A conversation a leaf, in the order of the file."""
    id = str(topic.integer("number"))
    nodes: dict[str, Record] = {}
    parents: dict[str, str | None] = {}
    for record in topic.records("turn"):
        number, parent = record.identifier("number"), record.optional_text("parent")
        if number in nodes:
            raise record.error("number", f"'{number}' is used twice in topic {id}")
        if parent is not None and parent not in nodes:
            raise record.error("parent", f"'{parent}' is no earlier turn of topic {id}")
        nodes[number], parents[number] = record, parent
    if not nodes:
        raise topic.error("turn", "is empty; expected at least one turn")
    inner = set(parents.values())
    for leaf in (number for number in nodes if number not in inner):
        way = [leaf]
        while (parent := parents[way[-1]]) is not None:
            way.append(parent)
        turns: list[Turn] = []
        for number in reversed(way):
            _add(turns, nodes[number], f"{id}_{number}", attributes.get(f"{id}_{number}", {}))
        yield Conversation(f"{id}_{leaf}", answered(turns))


def _add(turns: list[Turn], record: Record, id: str, attributes: Mapping[str, str]) -> None:
    """Adds what the user asks as a turn, or what the system says to the last one."""
    match record.text("participant"):
        case "User":
            rewrite = record.optional_text("manual_rewritten_utterance") or ""
            query = record.spoken("utterance").strip()
            named = {**attributes, "turn": id}
            turns.append(Turn(query, rewrite=rewrite.strip() or None, attributes=named))
        case "System" if turns:
            last, provenance = turns[-1], record.identifiers("provenance")
            said = f"{last.response or ''} {record.spoken('response').strip()}".strip()
            named = dict(last.attributes)
            if not provenance:
                named["initiative"] = "system"
            positives = tuple(dict.fromkeys((*last.positives, *provenance)))
            turns[-1] = replace(last, response=said, positives=positives, attributes=named)
        case "System":
            raise record.error("participant", "is System, but a path begins with the user")
        case _:
            raise record.error("participant", "is neither User nor System")


def _judged_once(one: Conversation, first: set[str]) -> Conversation:
    """Without the positives of turns that an earlier path has asked."""
    turns = (
        turn if one.query_id(number) in first else replace(turn, positives=())
        for number, turn in enumerate(one.turns, start=1)
    )
    return Conversation(one.id, tuple(turns))


def _annotations(path: Path) -> dict[str, dict[str, str]]:
    """Topic and type of a turn by its id, from the first path that has them."""
    found: dict[str, dict[str, str]] = {}
    for topic in read_objects(path):
        for record in topic.records("turn"):
            id = f"{topic.integer('number')}_{record.identifier('number')}"
            subject = (record.optional_text("sub_topic") or "").strip()
            kind = (record.optional_text("utterance_type") or "").strip().lower()
            named = {"topic": subject, "type": kind}
            found.setdefault(id, {}).update({key: text for key, text in named.items() if text})
    return found
