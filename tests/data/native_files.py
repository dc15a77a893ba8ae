"""Native files of data sets as bytes by their paths."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Files = dict[str, bytes]

WIKI = "wiki.jsonl"
"""The shared corpus of the sets that name passages of one."""


def jsonl(*rows: Any) -> bytes:
    """A JSON value a line."""
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


def one(value: Any) -> bytes:
    """One JSON value, indented as releases often are."""
    return json.dumps(value, indent=1).encode()


def text(*lines: str) -> bytes:
    """Lines of text."""
    return "".join(f"{line}\n" for line in lines).encode()


def zipped(files: Mapping[str, bytes]) -> bytes:
    """A zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def write(files: Mapping[str, bytes], folder: Path) -> None:
    """Writes the files into a folder."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
