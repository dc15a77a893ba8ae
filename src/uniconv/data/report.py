"""What a check of a data set finds, and reading that goes on after malformed lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from uniconv.data.lines import read_jsonl
from uniconv.data.records import Record
from uniconv.errors import DataError, DataErrors

T = TypeVar("T")
Progress = Callable[[str, int], None]
"""Is told the name of a file and how many of its records were read."""


@dataclass(slots=True)
class Report:
    """What was found. ``warnings`` are grouped by what they warn of.

    ``uses`` counts, by split, conversations, turns, and the turns that have what a use needs:
    positives for ``retrieval``, a response for ``generation``, both for ``joint``. ``passages`` is
    the size of the corpus.
    """

    errors: list[DataError] = field(default_factory=list)
    warnings: dict[str, list[DataError]] = field(default_factory=dict)
    uses: dict[str, dict[str, int]] = field(default_factory=dict)
    passages: int = 0

    def fail(self, path: Path, line: int | None, problem: str, field: str | None = None) -> None:
        """Adds an error."""
        self.errors.append(DataError(path, line, problem, field=field))

    def warn(
        self, kind: str, path: Path, line: int | None, problem: str, field: str | None = None
    ) -> None:
        """Adds a warning."""
        error = DataError(path, line, problem, field=field)
        self.warnings.setdefault(kind, []).append(error)


@dataclass(slots=True)
class Reading:
    """Reads records, reports the malformed ones, and tells of its progress."""

    report: Report
    progress: Progress

    def quietly(self) -> Reading:
        """Reading whose errors are not reported: of a file for the second time, say."""
        return Reading(Report(), self.progress)

    def records(self, path: Path, parse: Callable[[Record], T]) -> Iterator[tuple[int, T]]:
        """Lines (from 1) and what is on them."""
        rows = read_jsonl(path, lambda record: (record.line or 0, parse(record)), on_error="list")
        yield from self.all(path, rows)

    def all(self, path: Path, rows: Iterator[T]) -> Iterator[T]:
        """All rows; the errors that end them go to the report."""
        number = 0
        try:
            for number, row in enumerate(rows, start=1):
                yield row
                if number % 1000 == 0:
                    self.progress(path.name, number)
        except DataErrors as malformed:
            self.report.errors += malformed.errors
        except DataError as error:
            self.report.errors.append(error)
        self.progress(path.name, number)
