"""Corpora, queries and judgements in BEIR's formats.

``corpus.jsonl`` holds ``_id``, ``title`` and ``text``, ``queries.jsonl`` ``_id`` and ``text``,
``qrels.tsv`` the columns query, passage and grade under a header line.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from uniconv.data.lines import (
    OnError,
    read_jsonl,
    read_lines,
    write_jsonl,
    write_lines,
)
from uniconv.data.records import Record, identifier_problem
from uniconv.errors import DataError, DataErrors, UniConvError
from uniconv.types import Passage

Qrels = dict[str, dict[str, int]]
"""Query id to passage id to grade; a grade above 0 is relevant."""

_OWN = ("_id", "title", "text", "metadata")


def read_corpus(path: Path | str, on_error: OnError = "stop") -> Iterator[Passage]:
    """Streams the passages of a ``corpus.jsonl`` or ``corpus.jsonl.gz``.

    Memory does not grow with the corpus, so ids are not compared: building an index and
    ``uniconv data check`` refuse ids that are used twice. ``title`` may be missing. Other keys,
    and those of a ``metadata`` object, become metadata: strings as they are, null not at all,
    anything else as its JSON.

    Raises:
        DataError: or, with ``on_error="list"``, DataErrors after the last good passage.
    """
    return read_jsonl(path, passage, on_error=on_error)


def find_repeated_id(path: Path | str) -> None:
    """Reads a corpus that is known to use an id twice, to say on which lines.

    Raises:
        DataError: naming the lines.
    """
    for _ in read_jsonl(path, passage, unique="_id"):
        pass


def passage(record: Record) -> Passage:
    """The passage in a JSON object of a corpus."""
    metadata = {key: value for key, value in record.fields.items() if key not in _OWN}
    inner = record.fields.get("metadata")
    metadata |= inner if isinstance(inner, dict) else {"metadata": inner}
    return Passage(
        id=record.identifier("_id"),
        text=record.text("text"),
        title=record.optional_text("title") or "",
        metadata={key: _string(value) for key, value in metadata.items() if value is not None},
    )


def _string(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def write_corpus(path: Path | str, passages: Iterable[Passage]) -> int:
    """Writes passages as a ``corpus.jsonl``, metadata as further keys; gives their number.

    Raises:
        UniConvError: an id is empty, or has a tab or a line break.
    """
    return write_jsonl(path, (_passage_fields(path, passage) for passage in passages))


def _passage_fields(path: Path | str, passage: Passage) -> dict[str, str]:
    check_ids(path, (passage.id,))
    own = {"_id": passage.id, "title": passage.title, "text": passage.text}
    return own | {key: value for key, value in passage.metadata.items() if key not in own}


def read_queries(path: Path | str, on_error: OnError = "stop") -> dict[str, str]:
    """The texts of a ``queries.jsonl`` by their ids."""

    def parse(record: Record) -> tuple[str, str]:
        return record.identifier("_id"), record.spoken("text")

    return dict(read_jsonl(path, parse, unique="_id", on_error=on_error))


def write_queries(path: Path | str, queries: Mapping[str, str]) -> None:
    """Writes a ``queries.jsonl``."""
    write_jsonl(path, ({"_id": id, "text": text} for id, text in queries.items()))


def read_qrels(path: Path | str, on_error: OnError = "stop") -> Qrels:
    """Judgements in BEIR's three columns or TREC's four, told apart line by line.

    Raises:
        DataError: wrong columns, a grade that is no whole number, or a pair judged twice
            with different grades.
    """
    path = Path(path)
    qrels: Qrels = {}
    errors: list[DataError] = []
    try:
        for number, query, passage, grade in read_judgements(path, on_error):
            earlier = qrels.setdefault(query, {}).setdefault(passage, grade)
            if earlier == grade:
                continue
            problem = f"query '{query}' and passage '{passage}' judged twice: {earlier} and {grade}"
            errors.append(DataError(path, number, problem))
            if on_error == "stop":
                raise errors[0]
    except DataErrors as malformed:
        errors += malformed.errors
    if errors:
        raise DataErrors(errors)
    return qrels


def read_judgements(
    path: Path | str, on_error: OnError = "stop"
) -> Iterator[tuple[int, str, str, int]]:
    """Streams line (from 1), query, passage and grade of a file that ``read_qrels`` reads."""
    path = Path(path)
    first = True

    def parse(number: int, line: str) -> tuple[int, str, str, int] | None:
        nonlocal first
        columns = _columns(path, number, line)
        header = first and columns[0] == "query-id"
        first = False
        if header:
            return None
        query, passage, grade = columns[0], columns[-2], columns[-1]
        for name, id in (("query-id", query), ("corpus-id", passage)):
            problem = identifier_problem(id)
            if problem:
                raise DataError(path, number, problem, field=name)
        try:
            return number, query, passage, int(grade)
        except ValueError as error:
            problem = f"is '{grade[:40]}'; expected a whole number"
            raise DataError(path, number, problem, field="score") from error

    for row in read_lines(path, parse, on_error=on_error):
        if row:
            yield row


def _columns(path: Path, number: int, line: str) -> list[str]:
    """Ids may hold spaces where the columns are split by tabs."""
    columns = line.split("\t")
    if len(columns) not in (3, 4):
        columns = line.split()
    if len(columns) not in (3, 4):
        problem = (
            f"has {len(columns)} columns; expected query, passage and grade (BEIR) or query, 0, "
            "passage and grade (TREC)"
        )
        raise DataError(path, number, problem)
    return columns


def write_qrels(path: Path | str, qrels: Mapping[str, Mapping[str, int]]) -> None:
    """Writes judgements in BEIR's columns.

    Raises:
        UniConvError: an id has a tab or a line break.
    """
    check_ids(path, (id for query, grades in qrels.items() for id in (query, *grades)))
    rows = (
        f"{query}\t{passage}\t{grade}"
        for query, grades in qrels.items()
        for passage, grade in grades.items()
    )
    write_lines(path, ("query-id\tcorpus-id\tscore", *rows))


def check_ids(path: Path | str, ids: Iterable[str]) -> None:
    """Raises a UniConvError for an id that can't stand in a file of columns."""
    for id in ids:
        problem = identifier_problem(id)
        if problem:
            raise UniConvError(f"{path}: can't be written, id {id!r} {problem}")
