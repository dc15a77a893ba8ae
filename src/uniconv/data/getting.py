"""The files of a data set, from their official source, a mirror or a folder.

What was got is recorded in ``downloads.json`` beside the files: address, size, checksum, date and
the licence. Run again, files that are there and unchanged are not fetched again.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from uniconv.data.catalogue import entry_of
from uniconv.data.download import DownloadError, Progress, RefusedError, download
from uniconv.data.entry import Download, Entry
from uniconv.errors import DataError, UniConvError
from uniconv.files import atomic, sha256, write_json

MANIFEST = "downloads.json"


def get(
    name: str,
    out: Path,
    *,
    mirror: str | None = None,
    source: Path | None = None,
    accepted: bool = False,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Fetches the files of a data set into ``out``, which ``convert`` then reads.

    Args:
        name: One of the catalogue.
        out: The folder to write.
        mirror: An address under which the files lie by the same paths as in ``out``.
        source: A folder that holds the files already, by the same paths or names.
        accepted: Whether the user accepts the licence, where it has conditions.
        progress: Is told of every block.

    Returns:
        The records of the manifest.

    Raises:
        DownloadError: a file can't be got, is another one than expected, or must be got by hand.
            All others are got before, unless there is no network at all.
        UniConvError: the name is unknown, the licence is not accepted, the disk is full.
    """
    entry = entry_of(name)
    if not entry.downloads:
        raise DownloadError(f"{name}: {entry.by_hand or 'has no files to fetch'} ({entry.home})")
    if entry.must_accept and not accepted:
        raise UniConvError(
            f"{name}: its licence ({entry.licence}) has conditions; read it at {entry.home} and "
            "say --accept-licence"
        )
    manifest = _Manifest(out, name, entry)
    missing: list[Download] = []
    refused: list[RefusedError] = []
    for wanted in entry.downloads:
        if not manifest.has(wanted):
            try:
                got = _fetch(wanted, out, mirror, source, progress)
            except RefusedError as error:
                refused.append(error)
                continue
            if got is None:
                missing.append(wanted)
                continue
            manifest.add(wanted, *got)
        if wanted.unpack and not manifest.is_unpacked(wanted):
            unpack(out / wanted.path)
            manifest.unpacked(wanted)
    problems = [str(error) for error in refused]
    if missing:
        problems.append(_by_hand(name, entry, missing))
    if problems:
        raise DownloadError("\n".join(problems))
    return manifest.records


def _fetch(
    wanted: Download,
    out: Path,
    mirror: str | None,
    source: Path | None,
    progress: Progress | None,
) -> tuple[str, str] | None:
    """Where a file came from and its checksum; None where it can't be fetched freely."""
    target = out / wanted.path
    if source is not None:
        return _copy(wanted, source, target)
    url = f"{mirror.rstrip('/')}/{quote(wanted.path)}" if mirror else wanted.url
    if url is None:
        return None
    checksum = download(url, target, sha256_is=wanted.sha256, size=wanted.size, progress=progress)
    return url, checksum


def _by_hand(name: str, entry: Entry, missing: Sequence[Download]) -> str:
    paths = ", ".join(one.path for one in missing)
    return (
        f"{name}: {paths} can't be fetched freely. {entry.by_hand} Then run the command again with "
        "--from and the folder of the files"
    )


def _copy(wanted: Download, source: Path, target: Path) -> tuple[str, str]:
    """Copies a file from a folder, found by its path or its bare name."""
    candidates = (source / wanted.path, source / PurePosixPath(wanted.path).name)
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        raise DataError(source, None, f"has no file {wanted.path}; is this the right folder?")
    try:
        checksum = sha256(found)
    except OSError as error:
        raise DataError(found, None, f"can't be read ({error.strerror or error})") from error
    if wanted.sha256 not in (None, checksum):
        problem = f"has the checksum {checksum} instead of {wanted.sha256}: another or broken file"
        raise DataError(found, None, problem)
    if not (target.exists() and found.samefile(target)):
        with atomic(target) as temporary:
            shutil.copyfile(found, temporary)
    return str(found), checksum


def unpack(archive: Path) -> None:
    """Unpacks a zip or tar archive beside itself; members that lead out of the folder are refused.

    Raises:
        DataError: it is damaged, or no archive.
        UniConvError: the disk is full.
    """
    folder = archive.parent
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=f".{archive.name}.") as name:
            temporary = Path(name)
            options = {} if archive.suffix == ".zip" else {"filter": "data"}
            shutil.unpack_archive(archive, temporary, **options)  # type: ignore[arg-type]
            for member in sorted(temporary.rglob("*")):
                target = folder / member.relative_to(temporary)
                if member.is_dir():
                    target.mkdir(parents=True, exist_ok=True)
                else:
                    member.replace(target)
    except OSError as error:
        if isinstance(error, shutil.ReadError) or error.errno is None:
            problem = f"is no archive that can be unpacked ({error}); delete it and get it again"
            raise DataError(archive, None, problem) from error
        raise UniConvError(
            f"{archive}: could not be unpacked ({error.strerror}); free some space or choose "
            "another folder"
        ) from error
    except Exception as error:  # zipfile and tarfile raise many kinds for damaged archives
        problem = f"is a damaged archive ({error}); delete it and get it again"
        raise DataError(archive, None, problem) from error


class _Manifest:
    """The record of what was got, written after every file."""

    def __init__(self, out: Path, name: str, entry: Entry) -> None:
        self._out, self._name, self._entry = out, name, entry
        self.records: list[dict[str, Any]] = []
        with suppress(OSError, ValueError, KeyError, TypeError):
            earlier = json.loads((out / MANIFEST).read_text("utf-8"))
            if earlier["name"] == name:
                self.records = [one for one in earlier["files"] if isinstance(one["path"], str)]

    def has(self, wanted: Download) -> bool:
        """Whether a file is there and what it was when it was got."""
        path = self._out / wanted.path
        record = self._record(wanted)
        if not path.is_file() or path.stat().st_size != record.get("size"):
            return False
        return sha256(path) == record.get("sha256")

    def is_unpacked(self, wanted: Download) -> bool:
        """Whether an archive was unpacked."""
        return bool(self._record(wanted).get("unpacked"))

    def _record(self, wanted: Download) -> dict[str, Any]:
        return next((one for one in self.records if one["path"] == wanted.path), {})

    def add(self, wanted: Download, address: str, checksum: str) -> None:
        """Records a file."""
        record = {
            "path": wanted.path,
            "url": address,
            "size": (self._out / wanted.path).stat().st_size,
            "sha256": checksum,
            "checked": wanted.sha256 is not None,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        self.records = [one for one in self.records if one["path"] != wanted.path] + [record]
        self._write()

    def unpacked(self, wanted: Download) -> None:
        """Records that an archive was unpacked."""
        self._record(wanted)["unpacked"] = True
        self._write()

    def _write(self) -> None:
        about = {"name": self._name, "licence": self._entry.licence, "home": self._entry.home}
        write_json(self._out / MANIFEST, {**about, "files": self.records})
