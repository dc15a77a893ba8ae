"""TREC runs: what a system retrieved, six columns a line."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from uniconv.data.beir import check_ids
from uniconv.data.lines import OnError, read_lines, write_lines
from uniconv.data.records import identifier_problem
from uniconv.errors import DataError

Run = dict[str, dict[str, float]]
"""Query id to passage id to score."""


def ranked(scores: Mapping[str, float]) -> list[tuple[str, float]]:
    """Passages with scores, best first; equal scores by id, last first, as trec_eval ranks them."""
    return sorted(scores.items(), key=lambda item: (item[1], item[0]), reverse=True)


def read_run(path: Path | str, on_error: OnError = "stop") -> Run:
    """A run file: query, Q0, passage, rank, score, tag. Scores count, ranks are not read.

    Columns are split by tabs where a line has five, so that ids may hold spaces, by blanks else.

    Raises:
        DataError: wrong columns, a score that is no finite number, or a passage listed twice.
    """
    path = Path(path)
    run: Run = {}

    def parse(number: int, line: str) -> None:
        columns = line.split("\t")
        if len(columns) != 6:
            columns = line.split()
        if len(columns) != 6:
            problem = f"has {len(columns)} columns; expected query, Q0, passage, rank, score, tag"
            raise DataError(path, number, problem)
        query, _, passage, _, score, _ = columns
        for name, id in (("query", query), ("passage", passage)):
            problem_of_id = identifier_problem(id)
            if problem_of_id:
                raise DataError(path, number, problem_of_id, field=name)
        try:
            value = float(score)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            problem = f"is '{score[:40]}'; expected a finite number"
            raise DataError(path, number, problem, field="score")
        if passage in run.get(query, {}):
            raise DataError(path, number, f"query '{query}' lists passage '{passage}' twice")
        run.setdefault(query, {})[passage] = value

    for _ in read_lines(path, parse, on_error=on_error):
        pass
    return run


def write_run(
    path: Path | str, run: Mapping[str, Mapping[str, float]], tag: str = "uniconv"
) -> None:
    """Writes a run: best first, ties by passage id, scores so that they read back unchanged.

    Blanks split the columns, as TREC's tools write them; tabs where an id has a space in it.

    Raises:
        UniConvError: an id has a tab or a line break.
    """
    ids = [tag, *(id for query, scores in run.items() for id in (query, *scores))]
    check_ids(path, ids)
    split = "\t" if any(len(id.split()) > 1 for id in ids) else " "
    write_lines(path, _rows(run, tag, split))


def _rows(run: Mapping[str, Mapping[str, float]], tag: str, split: str) -> Iterator[str]:
    for query, scores in run.items():
        for rank, (passage, score) in enumerate(ranked(scores), start=1):
            yield split.join((query, "Q0", passage, str(rank), repr(float(score)), tag))
