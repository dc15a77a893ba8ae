"""Files in folders and in zip archives alike.

A path that leads through an archive (``passages.zip/wayback/00.jsonl``) names a file within it, so
every reader takes unpacked and packed data sets, and every error says where it happened.
"""

from __future__ import annotations

import gzip
import zipfile
import zlib
from pathlib import Path
from typing import IO, cast

from uniconv.errors import DataError

READ_ERRORS = (OSError, EOFError, zlib.error, zipfile.BadZipFile)
"""What reading a file that is cut off or damaged raises."""


def is_file(path: Path) -> bool:
    """Whether there is such a file, in a folder or in an archive."""
    if path.is_file():
        return True
    inside = _inside(path)
    return inside is not None and inside[1] in _names(inside[0])


def on_disk(path: Path) -> Path:
    """The archive that holds the file, or the file itself."""
    inside = _inside(path)
    return inside[0] if inside else path


def files_under(top: Path, *suffixes: str) -> list[Path]:
    """All files with one of these endings in a folder or an archive, at any depth, sorted.

    What an operating system adds (names that begin with a dot, ``__MACOSX``) is left out. A file
    that is no archive is given itself, whatever its name.

    Raises:
        DataError: an archive can't be read.
    """
    if top.is_file() and top.suffix != ".zip":
        return [top]
    if top.is_dir():
        inner = [path.relative_to(top) for path in top.rglob("*") if path.is_file()]
    elif top.is_file():
        inner = [Path(name) for name in _names(top)]
    else:
        return []
    return sorted(
        top / path
        for path in inner
        if path.name.endswith(suffixes)
        and not any(part.startswith((".", "__MACOSX")) for part in path.parts)
    )


def open_bytes(path: Path) -> IO[bytes]:
    """Opens a file for reading, also within an archive, through gzip where its name ends in .gz.

    Reading on from a damaged file may raise one of ``READ_ERRORS``.

    Raises:
        DataError: it does not exist or can't be read.
    """
    inside = _inside(path)
    try:
        if inside is None:
            opener = gzip.open if path.suffix == ".gz" else open
            return cast(IO[bytes], opener(path, "rb"))
        return _open_member(*inside)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise DataError(path, None, f"can't be read ({error})") from error
    except OSError as error:
        raise DataError(path, None, f"can't be read ({error.strerror or error})") from error


def _open_member(archive: Path, name: str) -> IO[bytes]:
    with zipfile.ZipFile(archive) as opened:  # what is opened of it stays readable
        try:
            raw = opened.open(name)
        except KeyError as error:
            raise DataError(archive, None, f"has no member '{name}'") from error
    return cast(IO[bytes], gzip.open(raw)) if name.endswith(".gz") else raw


def _inside(path: Path) -> tuple[Path, str] | None:
    """The archive and the name within it, where the path leads through one."""
    for parent in path.parents:
        if parent.suffix == ".zip" and parent.is_file():
            return parent, path.relative_to(parent).as_posix()
    return None


def _names(archive: Path) -> list[str]:
    try:
        with zipfile.ZipFile(archive) as opened:
            return [name for name in opened.namelist() if not name.endswith("/")]
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(archive, None, f"can't be read as a zip archive ({error})") from error
