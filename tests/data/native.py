"""Writes the files of small data sets in their native formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


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
