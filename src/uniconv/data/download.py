"""A file from the web: resumed where it was interrupted, checked, and never half-written.

Bytes go to ``<file>.part``, beside it ``<file>.part.json`` keeps what the server said of the file
(its ETag or date), so that a file that has changed since is not glued together from two versions.
"""

from __future__ import annotations

import errno
import http.client
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from uniconv.errors import UniConvError
from uniconv.files import sha256, write_json

Progress = Callable[[str, int, int | None], None]
"""Is told a file's name, the bytes there are so far and how many it will have, if known."""

ATTEMPTS = 4
TIMEOUT = 60.0
"""Seconds without a byte after which a connection counts as dropped."""
_BLOCK = 1 << 18
_PASSING = (408, 425, 429, 500, 502, 503, 504)


class DownloadError(UniConvError):
    """A file can't be fetched, or isn't the file that was expected."""


class RefusedError(DownloadError):
    """A server answers, but doesn't give this file; another file may still come."""


class _Dropped(Exception):
    """The connection ended early; trying again can help."""


def download(
    url: str,
    path: Path,
    *,
    sha256_is: str | None = None,
    size: int | None = None,
    progress: Progress | None = None,
    pause: float = 1.0,
) -> str:
    """Fetches ``url`` (http or https) to ``path``; an earlier, interrupted attempt goes on.

    A dropped connection is taken up again ``ATTEMPTS`` times, ``pause`` seconds later, then twice
    that, and so on; an attempt that brought something doesn't count.

    Returns:
        The checksum (SHA-256, hex) of the file.

    Raises:
        DownloadError: the server can't be reached, has no such file, or gives another one.
        UniConvError: the file can't be written.
    """
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
        raise DownloadError(f"{url}: is no http or https address")
    part = _Part(path)
    failures = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            before = part.size
            try:
                _receive(url, part, size, progress)
                break
            except (_Dropped, OSError, http.client.HTTPException) as error:
                if _is_local(error):
                    raise
                failures = 0 if part.size > before else failures + 1
                if failures >= ATTEMPTS:
                    raise DownloadError(_unreachable(url, error, part)) from error
                time.sleep(pause * 2**failures)
        found = part.finish(url, sha256_is, size)
    except OSError as error:
        raise UniConvError(
            f"{path}: could not be written ({error.strerror or error}); what was fetched is kept, "
            "free some space or choose another folder and run the command again"
        ) from error
    return found


def _is_local(error: Exception) -> bool:
    """Whether an error is this machine's disk, not the network."""
    local = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EFBIG, errno.EIO)
    if isinstance(error, urllib.error.URLError):
        return False
    return isinstance(error, OSError) and error.errno in (*local, errno.EISDIR, errno.ENOTDIR)


def _unreachable(url: str, error: Exception, part: _Part) -> str:
    reason = getattr(error, "reason", None) or error
    kept = "; what was fetched is kept, the same command goes on from there" if part.size else ""
    return (
        f"{url}: can't be fetched ({reason}). Is there a network? Another copy can be named with "
        f"--mirror or --from{kept}"
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """The unfinished file and what is known of where it comes from."""

    path: Path

    @property
    def file(self) -> Path:
        return self.path.with_name(self.path.name + ".part")

    @property
    def note(self) -> Path:
        return self.path.with_name(self.path.name + ".part.json")

    @property
    def size(self) -> int:
        return self.file.stat().st_size if self.file.is_file() else 0

    def validator(self, url: str) -> str | None:
        """What the server must confirm before it goes on with this part, or None."""
        with suppress(OSError, ValueError):
            note = json.loads(self.note.read_text("utf-8"))
            if isinstance(note, dict) and note.get("url") == url:
                return str(note["validator"]) if note.get("validator") else None
        return None

    def begin(self, url: str, validator: str | None) -> None:
        """Starts anew."""
        self.file.unlink(missing_ok=True)
        write_json(self.note, {"url": url, "validator": validator})

    def finish(self, url: str, sha256_is: str | None, size: int | None) -> str:
        """Gives the file its name if it is the one that was expected; else deletes it."""
        found = sha256(self.file)
        wrong = None
        if size is not None and self.size != size:
            wrong = f"has {self.size:,} bytes instead of {size:,}"
        elif sha256_is is not None and found != sha256_is:
            wrong = f"has the checksum {found} instead of {sha256_is}"
        if wrong:
            self.file.unlink()
            self.note.unlink(missing_ok=True)
            raise DownloadError(
                f"{url}: {wrong}, so it is another file or was damaged on its way; nothing was "
                "kept. Try again, or name another copy with --mirror or --from"
            )
        self.file.replace(self.path)
        self.note.unlink(missing_ok=True)
        return found


def _receive(url: str, part: _Part, size: int | None, progress: Progress | None) -> None:
    """Asks for what is missing and adds it to the part.

    Raises:
        _Dropped: the connection ended early.
    """
    headers = {"User-Agent": "uniconv", "Accept-Encoding": "identity"}
    validator = part.validator(url)
    if part.size and validator:
        headers |= {"Range": f"bytes={part.size}-", "If-Range": validator}
    try:
        response = urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=TIMEOUT
        )
    except urllib.error.HTTPError as error:
        with error:
            _refused(url, error, part)
        return
    with response:
        start, total = _place(response, part.size)
        if start is None:
            raise DownloadError(f"{url}: the server sent another part of the file than was asked")
        if start == 0:  # a new file, or a server that knows no ranges
            part.begin(url, _validator_of(response))
        received = part.size
        whole = total if total is not None else size
        with part.file.open("ab") as file:
            while block := response.read(_BLOCK):
                file.write(block)
                received += len(block)
                if progress:
                    progress(part.path.name, received, whole)
        if total is not None and received < total:
            raise _Dropped(f"the connection ended after {received:,} of {total:,} bytes")


def _refused(url: str, error: urllib.error.HTTPError, part: _Part) -> None:
    """What an HTTP error means; returns where the part is already whole."""
    if error.code == 416:
        total = re.fullmatch(r"bytes \*/(\d+)", error.headers.get("Content-Range", ""))
        if total and int(total[1]) == part.size:
            return
        part.begin(url, None)
        raise _Dropped("the file has changed")
    if error.code in _PASSING:
        raise _Dropped(f"the server says {error.code} {error.reason}")
    hint = {
        404: "there is no such file (it may have moved)",
        410: "the file was taken away",
        401: "the server asks for an account",
        403: "the server doesn't give it to everybody",
    }.get(error.code, "the server refuses")
    raise RefusedError(
        f"{url}: {hint}: {error.code} {error.reason}. Another copy can be named with --mirror or "
        "--from"
    )


def _place(response: Any, have: int) -> tuple[int | None, int | None]:
    """Where the response's bytes begin (None: not where they should) and the file's size."""
    if response.status == 206:
        given = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if not given or int(given[1]) != have:
            return None, None
        return have, None if given[2] == "*" else int(given[2])
    length = response.headers.get("Content-Length")
    return 0, int(length) if length and length.isdecimal() else None


def _validator_of(response: Any) -> str | None:
    """A strong ETag, or the date; a weak ETag doesn't promise the same bytes."""
    etag = response.headers.get("ETag")
    if etag and not etag.startswith("W/"):
        return str(etag)
    date = response.headers.get("Last-Modified")
    return str(date) if date else None
