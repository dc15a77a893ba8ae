"""TREC iKAT 2023 to 2025: conversations with an assistant that knows statements about its user.

Reads ``<year>_test_topics.json`` and, for 2023, ``2023_train_topics.json`` as a split ``train``.
If present, the organisers' judgements (``<year>-qrels.all-turns.txt``, ``<year>-qrels.txt`` or
``<year>-qrels.trec``) and, for 2023, the texts of the passages that responses were written from
(``2023_{test,train}_topics_psg_text.jsonl``), which are the corpus unless another is given.

Conversation ids are the topics' numbers, so that query ids are the track's. Positives are the
judged passages of grade 2 or higher or, where a turn is not judged, the provenance of its
response; ``test.qrels.tsv`` keeps the grades. ``topic`` is the topic's title. The statements about
the user (PTKB) are kept as attributes, one a line: all of them as ``ptkb`` of the first turn, and
as ``relevant_ptkb`` those that a turn's response draws on. It is for evaluation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Set
from functools import partial
from pathlib import Path

from uniconv.data.beir import Qrels, read_qrels
from uniconv.data.dataset import DataSet, Reader, find, find_any, positives_of
from uniconv.data.lines import read_jsonl, read_objects
from uniconv.data.records import Record
from uniconv.data.trec import check_judged, ids_of, judge, lacks, texts_of
from uniconv.types import Conversation, Passage, Turn

LEVEL = 2
"""The lowest grade that counts as relevant."""


def reader(year: int) -> Reader:
    """The reader of 2023, 2024 or 2025."""
    return partial(_read, year)


def _read(year: int, source: Path, corpus: Path | None = None) -> DataSet:
    topics = {"test": find(source, *_places(year, f"{year}_test_topics.json"))}
    train = find_any(source, *_places(year, f"{year}_train_topics.json"))
    if train is not None:
        topics["train"] = train
    judged = find_any(
        source, *(f"{year}-qrels{end}" for end in (".all-turns.txt", ".txt", ".trec"))
    )
    grades: Qrels = {} if judged is None else read_qrels(judged)
    read = {
        split: [_conversation(one) for one in read_objects(path)] for split, path in topics.items()
    }
    if judged is not None:
        asked = {one.query_id(n) for one in read["test"] for n in range(1, len(one.turns) + 1)}
        check_judged(judged, grades, asked)
    texts = [
        path
        for split in topics
        if (path := find_any(source, *_places(year, f"{year}_{split}_topics_psg_text.jsonl")))
    ]
    passages: list[Passage] | None = None
    held: Set[str] | None = None
    if corpus is not None:
        written = {id for talks in read.values() for one in talks for id in positives_of(one)}
        held = texts_of(corpus, ids_of([grades]) | written).keys()
    elif texts:
        passages = list(
            {one.id: one for path in texts for one in read_jsonl(path, _passage)}.values()
        )
        held = {passage.id for passage in passages}
    splits, counts = {}, Counter[str]()
    qrels: dict[str, Qrels] = {}
    for split, talks in read.items():
        splits[split], kept, dropped = judge(talks, grades if split == "test" else {}, LEVEL, held)
        counts.update({**dropped, **lacks(talks)})
        if kept:
            qrels[split] = kept
    sources = [*topics.values(), *([judged] if judged else []), *texts]
    return DataSet(splits, sources, passages, qrels, counts=counts)


def _places(year: int, name: str) -> tuple[str, ...]:
    return name, f"{year}/data/{name}", f"data/{name}"


def _conversation(topic: Record) -> Conversation:
    statements = _statements(topic)
    title = topic.spoken("title").strip()
    turns = []
    rows = topic.records("turns" if topic.has("turns") else "responses")
    for place, row in enumerate(rows, start=1):
        if row.integer("turn_id") != place:
            problem = f"is {row.integer('turn_id')}; expected {place}, as turns count from 1"
            raise row.error("turn_id", problem)
        attributes = {"topic": title}
        if place == 1 and statements:
            attributes["ptkb"] = "\n".join(statements.values())
        relevant = _relevant(row, statements)
        if relevant:
            attributes["relevant_ptkb"] = "\n".join(relevant)
        query = "utterance" if row.has("utterance") else "user_utterance"
        provenance = "response_provenance" if row.has("response_provenance") else "citations"
        turns.append(
            Turn(
                row.spoken(query).strip(),
                row.text("response").strip(),
                row.text("resolved_utterance").strip() or None,
                tuple(dict.fromkeys(row.identifiers(provenance))),
                attributes=attributes,
            )
        )
    if not turns:
        raise topic.error("turns", "is empty; expected at least one turn")
    return Conversation(_number(topic), tuple(turns))


def _number(topic: Record) -> str:
    """A topic's number: ``9-1``, say, or a plain number in 2024."""
    if isinstance(topic.fields.get("number"), int):
        return str(topic.integer("number"))
    return topic.identifier("number")


def _statements(topic: Record) -> dict[str, str]:
    """The statements about the user by their numbers, or (2025) by their own text."""
    if isinstance(topic.fields.get("ptkb"), list):
        return {text: text for text in topic.texts("ptkb")}
    held = topic.record("ptkb")
    return {number: held.text(number) for number in held.fields}


def _relevant(row: Record, statements: Mapping[str, str]) -> list[str]:
    field = "ptkb_provenance" if row.has("ptkb_provenance") else "relevant_ptkbs"
    found = []
    for place, key in enumerate(row.list(field)):
        if str(key) not in statements:
            raise row.error(f"{field}[{place}]", f"'{key}' is no statement of the topic's ptkb")
        found.append(statements[str(key)])
    return found


def _passage(record: Record) -> Passage:
    """Passages have the id ``document:passage``, as in the topics and the judgements."""
    id = f"{record.identifier('doc_id')}:{record.identifier('passage_id')}"
    return Passage(id, record.text("passage_text").strip())
