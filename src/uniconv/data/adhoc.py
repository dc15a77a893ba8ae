"""Ad-hoc retrieval: single questions over a corpus, as conversations of one turn without response.

- BEIR sets: ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/*.tsv``, in a folder or a zip archive,
  at any depth. A split a file of judgements.
- MS MARCO passage ranking: ``collection.tsv`` (id, text), and for every ``qrels.<split>.tsv``
  (query, 0, passage, 1) the ``queries.<split>.tsv`` (id, text), each also with ``.gz``.

Corpora and MS MARCO's queries are streamed. Queries that are not judged are left out and counted.
Grades are kept in the judgements; a grade above 0 is a positive. Most of ArguAna's queries are
passages of its corpus, under the same id (its usual figures ignore a query's own passage), and five
of its judged passages are not in its corpus.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from uniconv.data.archives import files_under
from uniconv.data.beir import Qrels, read_corpus, read_qrels, read_queries
from uniconv.data.dataset import DataSet, Reader, find
from uniconv.data.lines import read_tsv
from uniconv.errors import DataError
from uniconv.types import Conversation, Passage, Turn


def beir(name: str | None = None) -> Reader:
    """The reader of a BEIR set; ``name`` is that of its folder or archive, if it is known."""
    return partial(_read_beir, name)


def _read_beir(name: str | None, source: Path, corpus: Path | None = None) -> DataSet:
    del corpus  # it is its own
    held = _corpus(name, source)
    queries = find(held.parent, "queries.jsonl", "queries.jsonl.gz")
    judged = [
        path
        for path in files_under(_top(name, source), ".tsv")
        if path.parent == held.parent / "qrels"
    ]
    if not judged:
        raise DataError(held.parent, None, "has no file qrels/*.tsv")
    texts = read_queries(queries)
    splits, qrels, asked = {}, {}, set[str]()
    for path in judged:
        grades = read_qrels(path)
        unknown = next((id for id in grades if id not in texts), None)
        if unknown is not None:
            raise DataError(path, None, f"query '{unknown}' is not in {queries.name}")
        splits[path.stem] = [_conversation(id, texts[id], grades) for id in grades]
        qrels[path.stem] = _by_turn(grades)
        asked |= grades.keys()
    counts = {"left out, queries without judgements": len(texts) - len(asked)}
    return DataSet(splits, [held, queries, *judged], read_corpus(held), qrels, counts=counts)


def _top(name: str | None, source: Path) -> Path:
    """The folder or archive to look in."""
    tops = (source / f"{name}.zip", source / name) if name else ()
    return next((top for top in tops if top.exists()), source)


def _corpus(name: str | None, source: Path) -> Path:
    names = ("corpus.jsonl", "corpus.jsonl.gz")
    found = [path for path in files_under(_top(name, source), *names) if path.name in names]
    if not found:
        problem = "has no file corpus.jsonl; expected the folder or the zip archive of a BEIR set"
        raise DataError(source, None, problem)
    if len(found) > 1:
        raise DataError(source, None, f"holds several sets ({found[0]}, {found[1]}); name one")
    return found[0]


def read_msmarco(source: Path, corpus: Path | None = None) -> DataSet:
    """All splits that are judged, over the collection."""
    del corpus  # it is its own
    collection = find(source, "collection.tsv", "collection.tsv.gz")
    judged = [
        path
        for path in files_under(source, ".tsv", ".tsv.gz")
        if path.name.startswith("qrels.") and path.parent == source
    ]
    if not judged:
        raise DataError(source, None, "has no file qrels.*.tsv")
    counts: Counter[str] = Counter()
    splits, qrels, sources = {}, {}, [collection]
    for path in judged:
        split = path.name.removeprefix("qrels.").removesuffix(".gz").removesuffix(".tsv")
        queries = find(source, f"queries.{split}.tsv", f"queries.{split}.tsv.gz")
        grades = read_qrels(path)
        splits[split] = _judged(queries, path, grades, counts)
        qrels[split] = _by_turn(grades)
        sources += [path, queries]
    passages = (
        Passage(row.identifier("id"), row.text("text"))
        for row in read_tsv(collection, ("id", "text"))
    )
    return DataSet(splits, sources, passages, qrels, counts=counts)


def _judged(
    queries: Path, judged: Path, grades: Qrels, counts: Counter[str]
) -> Iterator[Conversation]:
    """Streams the queries that have judgements."""
    waiting = set(grades)
    for row in read_tsv(queries, ("id", "text")):
        id = row.identifier("id")
        if id in waiting:
            waiting.remove(id)
            yield _conversation(id, row.spoken("text"), grades)
        elif id in grades:
            raise row.error("id", f"'{id}' was already used")
        else:
            counts["left out, queries without judgements"] += 1
    if waiting:
        raise DataError(judged, None, f"query '{min(waiting)}' is not in {queries.name}")


def _conversation(id: str, query: str, grades: Qrels) -> Conversation:
    positives = tuple(passage for passage, grade in grades[id].items() if grade > 0)
    return Conversation(id, (Turn(query.strip(), positives=positives),))


def _by_turn(grades: Qrels) -> Qrels:
    """The judgements under the query ids of conversations of one turn."""
    return {Conversation.start("", id).query_id(1): judged for id, judged in grades.items()}
