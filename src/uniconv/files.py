"""Files that are never half-written, and the record of what produced them."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from uuid import uuid4

from safetensors import SafetensorError

from uniconv.errors import UniConvError

_PACKAGES = (
    *("uniconv", "torch", "transformers", "peft", "accelerate", "faiss-cpu", "bm25s"),
    *("ir-measures", "rouge-score", "sacrebleu"),
)


@contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """Gives a temporary name beside ``path`` to write to; renames it only when all went well.

    The name is no other's, even of a process of the same number on another machine.

    Raises:
        UniConvError: the disk is full or the folder can't be written; ``path`` is untouched.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{uuid4().hex[:16]}.tmp")
    try:
        with writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            temporary.replace(target)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Says in one sentence that ``target`` could not be written: the disk is full, or not ours.

    Raises:
        UniConvError: in place of what the system, or the library of safetensors, raises.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise UniConvError(
            f"{target}: could not be written ({getattr(error, 'strerror', None) or error}); "
            "nothing was changed, free some space or choose another folder"
        ) from error


def flush(folder: Path) -> None:
    """Has the system write a folder's files to the disk, so that they outlive a power failure."""
    for path in (*folder.rglob("*"), folder):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_json(path: Path | str, value: Any) -> None:
    """Writes ``value`` as indented JSON, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", "utf-8")


def identity(path: Path) -> tuple[int, int] | None:
    """What changes when a file is replaced; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def sha256(path: Path | str) -> str:
    """The checksum of a file's contents, read in blocks."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checksums(**paths: Path | None) -> dict[str, dict[str, str]]:
    """Path and checksum of each input by its name; names without a path are left out."""
    return {
        name: {"path": str(path), "sha256": sha256(path)} for name, path in paths.items() if path
    }


def provenance(**about: Any) -> dict[str, Any]:
    """What produced a result: command, time, versions, machine, and whatever ``about`` adds."""
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": packages,
        **about,
    }


@contextmanager
def atomic_folder(path: Path | str) -> Iterator[Path]:
    """Gives an empty temporary folder; it takes the place of ``path`` when all went well.

    Raises:
        UniConvError: the disk is full or the folder can't be written; ``path`` is untouched.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{uuid4().hex[:16]}.tmp")
    replaced = temporary.with_suffix(".old")
    try:
        with writing(target):
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            yield temporary
            if target.exists():
                target.rename(replaced)
            temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)
