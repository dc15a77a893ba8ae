"""Writes the files of small data sets in their native formats."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from uniconv.data.catalogue import CATALOGUE
from uniconv.errors import UniConvError


def put_text(path: Path, *lines: str) -> None:
    """Lines of text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")


def put_json(path: Path, value: Any) -> None:
    """One JSON value."""
    put_text(path, json.dumps(value))


def put_jsonl(path: Path, *values: Any) -> None:
    """A JSON value a line."""
    put_text(path, *(json.dumps(value) for value in values))


ODD: tuple[Any, ...] = (None, True, -1, 1.5, "", "\t", "odd", [], {}, [None], {"odd": None})


def twisted(value: Any) -> Iterator[Any]:
    """Copies of a JSON value in which one part is something else or is missing."""
    yield from (odd for odd in ODD if type(odd) is not type(value) or odd != value)
    if isinstance(value, dict):
        for key, part in value.items():
            yield {name: other for name, other in value.items() if name != key}
            yield from ({**value, key: other} for other in twisted(part))
    if isinstance(value, list):
        for place, part in enumerate(value):
            yield value[:place] + value[place + 1 :]
            yield from ([*value[:place], other, *value[place + 1 :]] for other in twisted(part))


def read_twisted(name: str, source: Path, pattern: str = "*.json*") -> tuple[int, int]:
    """Reads a data set with every part of its JSON files made odd, one at a time.

    ``pattern`` names the files.

    Anything but a UniConvError is a fault of the reader and goes through.

    Returns:
        How many inputs were tried, and how many were refused.
    """
    tried = refused = 0
    for path in sorted(path for path in source.rglob(pattern) if path.suffix != ".zip"):
        original = path.read_text("utf-8")
        rows = [json.loads(line) for line in original.splitlines()]
        for place, row in enumerate(rows):
            for other in twisted(row):
                put_jsonl(path, *rows[:place], other, *rows[place + 1 :])
                tried += 1
                try:
                    data = CATALOGUE[name].read(source, None)
                    data.write(source.parent / "twisted", name=name)
                except UniConvError:
                    refused += 1
        path.write_text(original, "utf-8")
    return tried, refused
