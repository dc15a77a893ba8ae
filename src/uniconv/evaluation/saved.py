"""Results of earlier evaluations, read back from their folders."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from uniconv.data.lines import read_jsonl, read_object
from uniconv.data.records import Record, kind
from uniconv.errors import UniConvError
from uniconv.evaluation.summary import Values

RUN = "run.trec"
QRELS = "qrels.tsv"
PREDICTIONS = "predictions.jsonl"
QUERIES = "queries.jsonl"
RESULT = "result.json"


@dataclass(frozen=True, slots=True)
class SavedResult:
    """A folder that ``uniconv evaluate retrieval`` or ``response`` wrote.

    ``name`` tells it from the others it is shown with; ``values`` are those of ``queries.jsonl``.
    """

    name: str
    folder: Path
    kind: Literal["retrieval", "response"]
    config: Mapping[str, Any]
    values: Values

    def path(self, setting: str) -> Path | None:
        """Where a file of its settings was when it was made, or None where it had none."""
        value = self.config.get(setting)
        return Path(value) if isinstance(value, str) else None


def read_results(folders: Sequence[Path]) -> list[SavedResult]:
    """Results by their folders, under names that differ; of responses, every part is one.

    Raises:
        UniConvError: no folder is given, one holds no result, or a file of it is malformed.
    """
    if not folders:
        raise UniConvError("name the folder of at least one result")
    results = []
    for folder, name in zip(folders, distinct_names(folders), strict=True):
        parts = _parts(folder)
        results += [
            _read(part, name if len(parts) == 1 else f"{name}/{part.name}") for part in parts
        ]
    return results


def _parts(folder: Path) -> list[Path]:
    if not (folder / RESULT).is_file():
        raise UniConvError(
            f"{folder}: holds no result ({RESULT} is missing); give a folder that 'uniconv "
            "evaluate retrieval' or 'uniconv evaluate response' has finished"
        )
    result = read_object(folder / RESULT)
    if not result.has("parts"):
        return [folder]
    return [folder / name for name in result.record("parts").fields]


def _read(folder: Path, name: str) -> SavedResult:
    config = read_object(folder / RESULT).record("config").fields
    what: Literal["retrieval", "response"] = (
        "response" if (folder / PREDICTIONS).exists() else "retrieval"
    )
    return SavedResult(
        name, folder, what, config, dict(read_jsonl(folder / QUERIES, _row, unique="_id"))
    )


def _row(record: Record) -> tuple[str, dict[str, float]]:
    values = {}
    for name, value in record.fields.items():
        if name == "_id":
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise record.error(name, f"is {kind(value)}; expected a number")
        if not math.isfinite(value):
            raise record.error(name, f"is {value}; expected a finite number")
        values[name] = float(value)
    return record.identifier("_id"), values


def distinct_names(folders: Sequence[Path]) -> list[str]:
    """Short names of folders: as many of their last parts as it takes to tell them apart.

    Raises:
        UniConvError: a folder is given twice.
    """
    parts = [folder.resolve().parts for folder in folders]
    twice = next(
        (folder for folder, own in zip(folders, parts, strict=True) if parts.count(own) > 1), None
    )
    if twice is not None:
        raise UniConvError(f"{twice}: is given twice")
    names = []
    for own in parts:
        length = 1
        while sum(other[-length:] == own[-length:] for other in parts) > 1:
            length += 1
        names.append("/".join(own[-length:]))
    return names


def depth_of(query: str) -> int:
    """The turn's number in a query id ``conversation_turn``; 1 where it has none."""
    number = query.rpartition("_")[2]
    return int(number) if number.isascii() and number.isdigit() else 1
