"""TREC CAsT 2019, 2020 and 2021: conversational questions with graded judgements of passages.

Reads the organisers' files, in their folders (``2019/data/evaluation/…``), with flat names
(``2019_evaluation_…``) or side by side:

- 2019: ``evaluation_topics_v1.0.json``, ``2019qrels.txt`` and the rewrites in
  ``evaluation_topics_annotated_resolved_v1.0.tsv`` as ``test``; ``train_topics_v1.0.json`` and
  ``train_topics_mod.qrel`` as ``train``. The answers that people wrote for SaaC
  (``cast.answer``, several a turn) and its rewrites (``cast.reformulation.query``) if present.
- 2020: ``2020_manual_evaluation_topics_v1.0.json`` and ``2020qrels.txt``; if present,
  ``2020_automatic_evaluation_topics_v1.0.json`` and ``cast20_snippets.json``, whose passages are
  the corpus unless another is given.
- 2021: ``2021_manual_evaluation_topics_v1.0.json`` and ``trec-cast-qrels-docs.2021.qrel``, which
  judges documents.

A response is a person's answer in 2019 (all of them are references), the text of the manual
canonical result in 2020 or, if that is not known, of the automatic one, and the canonical passage
in 2021. Where there is none, the response is empty, and that of a last turn absent. Positives
are passages of grade 1 or higher in 2019 and of grade 2 or higher after it, as in the tracks'
binary measures; ``<split>.qrels.tsv`` keeps the grades. All years are for evaluation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, replace
from pathlib import Path

from uniconv.data.beir import Qrels, read_qrels
from uniconv.data.dataset import DataSet, Reader, find, find_any
from uniconv.data.lines import read_object, read_objects, read_tsv
from uniconv.data.records import Record
from uniconv.data.trec import answered, check_judged, ids_of, judge, lacks, places, texts_of
from uniconv.types import Conversation, Passage, Turn


def reader(year: int) -> Reader:
    """The reader of 2019, 2020 or 2021."""
    return {2019: _read_2019, 2020: _read_2020, 2021: _read_2021}[year]


@dataclass(frozen=True, slots=True)
class _Part:
    """A split's topics and judgements."""

    topics: Path
    judged: Path
    qrels: Qrels

    @classmethod
    def of(cls, source: Path, topics: str, judged: str) -> _Part:
        path = find(source, *places(judged))
        return cls(find(source, *places(topics)), path, read_qrels(path))


def _read_2019(source: Path, corpus: Path | None = None) -> DataSet:
    test, train = "2019/data/evaluation/evaluation", "2019/data/training/train"
    parts = {"test": _Part.of(source, f"{test}_topics_v1.0.json", "2019/data/2019qrels.txt")}
    if find_any(source, *places(f"{train}_topics_v1.0.json")):
        parts["train"] = _Part.of(source, f"{train}_topics_v1.0.json", f"{train}_topics_mod.qrel")
    resolved = find(source, *places(f"{test}_topics_annotated_resolved_v1.0.tsv"))
    saac = find_any(source, "saac_cast19/cast.reformulation.query", "cast.reformulation.query")
    written = find_any(source, "saac_cast19/cast.answer", "cast.answer")
    rewrites = _rewrites(*([saac] if saac else []), resolved)
    answers = {} if written is None else _answers(written)
    responses = {query: texts[0] for query, texts in answers.items()}
    held = None
    if corpus is not None:
        held = texts_of(corpus, ids_of(part.qrels for part in parts.values())).keys()
    further = [path for path in (resolved, saac, written) if path]
    data = _data_set(parts, rewrites, responses, 1, held)
    return replace(data, sources=[*data.sources, *further], references=answers)


def _rewrites(*paths: Path) -> dict[str, str]:
    """Rewrites by turn id; the last file's word counts."""
    columns = ("#query_id", "#reformulated_query")
    rows = (row for path in paths for row in read_tsv(path, columns, header=True))
    return {row.text("#query_id"): row.text("#reformulated_query").strip() for row in rows}


def _answers(path: Path) -> dict[str, list[str]]:
    """What people answered by turn id, without repetitions."""
    answers: dict[str, list[str]] = {}
    columns = ("#context_id", "#query_id", "#passage_id", "#answer")
    for row in read_tsv(path, columns, header=True):
        answer = row.text("#answer").strip()
        if answer and answer not in answers.setdefault(row.text("#query_id"), []):
            answers[row.text("#query_id")].append(answer)
    return {query: texts for query, texts in answers.items() if texts}


def _read_2020(source: Path, corpus: Path | None = None) -> DataSet:
    topics = "2020/2020_{}_evaluation_topics_v1.0.json"
    part = _Part.of(source, topics.format("manual"), "2020/2020qrels.txt")
    automatic = find_any(source, *places(topics.format("automatic")))
    snippets = find_any(source, "cast20_snippets.json")
    canonical = _by_turn(part.topics, "manual_canonical_result_id")
    second = {} if automatic is None else _by_turn(automatic, "automatic_canonical_result_id")
    texts, passages, held = {}, None, None
    if corpus is not None:
        wanted = {*ids_of([part.qrels]), *canonical.values(), *second.values()}
        texts = texts_of(corpus, wanted)
        held = texts.keys()
    elif snippets is not None:
        record = read_object(snippets).record("passages")
        texts = {id: record.spoken(id) for id in record.fields}
        passages = [Passage(id, text) for id, text in texts.items()]
        held = texts.keys()
    responses = {
        query: texts[id]
        for results in (second, canonical)
        for query, id in results.items()
        if id in texts
    }
    rewrites = _by_turn(part.topics, "manual_rewritten_utterance")
    data = _data_set({"test": part}, rewrites, responses, 2, held)
    further = [path for path in (automatic, snippets) if path]
    return replace(data, sources=[*data.sources, *further], passages=passages)


def _read_2021(source: Path, corpus: Path | None = None) -> DataSet:
    topics = "2021/2021_manual_evaluation_topics_v1.0.json"
    part = _Part.of(source, topics, "2021/trec-cast-qrels-docs.2021.qrel")
    rewrites = _by_turn(part.topics, "manual_rewritten_utterance")
    responses = _by_turn(part.topics, "passage")
    held = None if corpus is None else texts_of(corpus, ids_of([part.qrels])).keys()
    return _data_set({"test": part}, rewrites, responses, 2, held)


def _data_set(
    parts: Mapping[str, _Part],
    rewrites: Mapping[str, str],
    responses: Mapping[str, str],
    level: int,
    held: Set[str] | None,
) -> DataSet:
    """The conversations of all parts; rewrites and responses are by turn id (``topic_turn``).

    ``held`` are the passages of the corpus, if there is one.
    """
    splits, qrels, counts, known = {}, {}, Counter[str](), set()
    for split, part in parts.items():
        talks = list(_conversations(part.topics, rewrites, responses))
        queries = {one.query_id(n) for one in talks for n in range(1, len(one.turns) + 1)}
        check_judged(part.judged, part.qrels, queries)
        splits[split], qrels[split], dropped = judge(talks, part.qrels, level, held)
        counts.update({**dropped, **lacks(talks)})
        known |= queries
    strays = len(responses.keys() - known)
    if strays:
        counts["left out, responses to turns of no topic"] = strays
    sources = [path for part in parts.values() for path in (part.topics, part.judged)]
    return DataSet(splits, sources, qrels=qrels, counts=counts)


def _conversations(
    path: Path, rewrites: Mapping[str, str], responses: Mapping[str, str]
) -> Iterator[Conversation]:
    """A conversation a topic."""
    for topic in read_objects(path):
        title = topic.optional_text("title")
        turns = [
            Turn(
                record.spoken("raw_utterance").strip(),
                responses.get(query),
                rewrites.get(query) or None,
                attributes={"topic": title} if title else {},
            )
            for query, record in _turns(topic)
        ]
        if not turns:
            raise topic.error("turn", "is empty; expected at least one turn")
        yield Conversation(str(topic.integer("number")), answered(turns))


def _turns(topic: Record) -> Iterator[tuple[str, Record]]:
    """The turns of a topic with their ids."""
    for place, record in enumerate(topic.records("turn"), start=1):
        number = record.integer("number")
        if number != place:
            raise record.error("number", f"is {number}; expected {place}, as turns count from 1")
        yield f"{topic.integer('number')}_{place}", record


def _by_turn(path: Path, field: str) -> dict[str, str]:
    """A text of every turn by the turn's id."""
    return {
        query: record.spoken(field).strip()
        for topic in read_objects(path)
        for query, record in _turns(topic)
    }
