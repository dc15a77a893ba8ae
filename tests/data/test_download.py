"""Downloads from a real server on this machine, which drops, refuses and cheats."""

from __future__ import annotations

import errno
import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from file_server import Files, serve

from uniconv.data import download as module
from uniconv.data.download import ATTEMPTS, DownloadError, download
from uniconv.errors import UniConvError

CONTENT = random.Random(0).randbytes(700_000)
CHECKSUM = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server() -> Iterator[Files]:
    with serve({"set.zip": CONTENT}) as files:
        yield files


def fetch(server: Files, path: Path, **known: str | int) -> str:
    return download(f"{server.url}/set.zip", path, pause=0.001, **known)


def only_file(folder: Path) -> str:
    """The name of the one file in a folder: nothing else was left lying about."""
    (file,) = folder.iterdir()
    return file.name


def test_a_file_is_fetched_checked_and_told_of(server: Files, tmp_path: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    path = tmp_path / "deep" / "set.zip"
    found = download(
        f"{server.url}/set.zip",
        path,
        sha256_is=CHECKSUM,
        size=len(CONTENT),
        progress=lambda *seen: told.append(seen),
    )
    assert found == CHECKSUM
    assert path.read_bytes() == CONTENT
    assert told[-1] == ("set.zip", len(CONTENT), len(CONTENT))
    assert [have for _, have, _ in told] == sorted(have for _, have, _ in told)
    assert only_file(path.parent) == "set.zip"


def test_a_dropped_connection_goes_on_where_it_was(server: Files, tmp_path: Path) -> None:
    server.drop_after = [300_000, 0, 100_000]
    assert fetch(server, tmp_path / "set.zip") == CHECKSUM
    ranges = [asked for _, asked in server.requests]
    assert ranges == [None, "bytes=300000-", "bytes=300000-", "bytes=400000-"]
    assert only_file(tmp_path) == "set.zip"


def test_an_interrupted_command_goes_on_where_it_was(server: Files, tmp_path: Path) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(f"{server.url}/set.zip", tmp_path / "set.zip", progress=interrupt)
    assert not (tmp_path / "set.zip").exists()
    there = (tmp_path / "set.zip.part").stat().st_size
    assert 0 < there < len(CONTENT)
    assert fetch(server, tmp_path / "set.zip") == CHECKSUM
    assert server.requests[-1] == ("/set.zip", f"bytes={there}-")


def test_a_file_that_changed_meanwhile_is_fetched_anew(server: Files, tmp_path: Path) -> None:
    server.drop_after = [300_000, *[0] * ATTEMPTS]
    with pytest.raises(DownloadError, match="goes on from there"):
        fetch(server, tmp_path / "set.zip")
    server.contents["set.zip"] = CONTENT[::-1]
    fetch(server, tmp_path / "set.zip")
    assert (tmp_path / "set.zip").read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("known", ["ranges", "etags"])
def test_a_server_without_ranges_or_etags_starts_over(
    server: Files, tmp_path: Path, known: str
) -> None:
    setattr(server, known, False)
    server.drop_after = [300_000]
    assert fetch(server, tmp_path / "set.zip") == CHECKSUM
    assert (tmp_path / "set.zip").read_bytes() == CONTENT


def test_a_server_that_sends_another_range_is_refused(server: Files, tmp_path: Path) -> None:
    server.drop_after = [300_000]
    server.shift = 1
    with pytest.raises(DownloadError, match="another part of the file"):
        fetch(server, tmp_path / "set.zip")


def test_a_part_that_is_already_whole_gets_its_name(server: Files, tmp_path: Path) -> None:
    server.drop_after = [300_000, *[0] * ATTEMPTS]
    with pytest.raises(DownloadError):
        fetch(server, tmp_path / "set.zip")
    (tmp_path / "set.zip.part").write_bytes(CONTENT)
    assert fetch(server, tmp_path / "set.zip", sha256_is=CHECKSUM) == CHECKSUM
    (tmp_path / "set.zip.part").write_bytes(CONTENT + b"more than there is")
    (tmp_path / "set.zip.part.json").write_text(
        f'{{"url": "{server.url}/set.zip", "validator": "\\"{CHECKSUM[:8]}\\""}}'
    )
    assert fetch(server, tmp_path / "set.zip") == CHECKSUM


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({"sha256_is": "0" * 64}, "has the checksum"),
        ({"size": 5}, "has 700,000 bytes instead of 5"),
    ],
)
def test_another_file_than_expected_is_thrown_away(
    server: Files, tmp_path: Path, known: dict[str, str | int], message: str
) -> None:
    with pytest.raises(DownloadError, match=message):
        fetch(server, tmp_path / "set.zip", **known)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("status", "message"),
    [(404, "no such file"), (403, "doesn't give it to everybody"), (451, "the server refuses")],
)
def test_a_refusal_is_final(server: Files, tmp_path: Path, status: int, message: str) -> None:
    server.refuse = [status]
    with pytest.raises(DownloadError, match=rf"{message}.*: {status} .*--mirror"):
        fetch(server, tmp_path / "set.zip")
    assert len(server.requests) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_busy_server_is_asked_again(server: Files, tmp_path: Path) -> None:
    server.refuse = [503, 429]
    assert fetch(server, tmp_path / "set.zip") == CHECKSUM


def test_no_server_is_one_sentence(server: Files, tmp_path: Path) -> None:
    gone = server.url.replace("127.0.0.1", "127.0.0.2")
    with pytest.raises(DownloadError, match=r"can't be fetched \(.*refused\).*Is there a network"):
        download(f"{gone}/set.zip", tmp_path / "set.zip", pause=0.001)


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://x/y", "set.zip", "http://"])
def test_only_the_web_is_read(url: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="no http or https address"):
        download(url, tmp_path / "set.zip")


def test_a_full_disk_keeps_what_was_fetched(
    server: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(UniConvError, match=r"could not be written \(No space left.*is kept"):
        download(f"{server.url}/set.zip", tmp_path / "set.zip", progress=full)
    assert (tmp_path / "set.zip.part").stat().st_size > 0
    assert len(server.requests) == 1
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(UniConvError, match="could not be written"):
        fetch(server, blocked / "set.zip")


def test_a_silent_server_counts_as_dropped(
    server: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TIMEOUT", 0.02)
    server.silent = True
    with pytest.raises(DownloadError, match="timed out"):
        fetch(server, tmp_path / "set.zip")
