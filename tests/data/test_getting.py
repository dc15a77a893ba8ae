"""Data sets got from a server, a mirror and a folder."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from file_server import Files, serve

from uniconv.data.catalogue import CATALOGUE
from uniconv.data.dataset import DataSet
from uniconv.data.download import DownloadError
from uniconv.data.entry import Download, Entry
from uniconv.data.getting import get, unpack
from uniconv.errors import DataError, UniConvError


def zipped(**members: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in members.items():
            archive.writestr(name.replace("__", "/"), text)
    return buffer.getvalue()


TURNS = b'{"id": 1}\n'
ARCHIVE = zipped(deep__topics="topics", readme="read me")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Files]:
    with serve({"a/turns.jsonl": TURNS, "b/all.zip": ARCHIVE}) as files:
        downloads = (
            Download(
                "train/turns.jsonl", f"{files.url}/a/turns.jsonl", hashlib.sha256(TURNS).hexdigest()
            ),
            Download("all.zip", f"{files.url}/b/all.zip", unpack=True),
        )
        entry = Entry(lambda *_: DataSet({}, ()), "CC0", "https://home", downloads=downloads)
        monkeypatch.setitem(CATALOGUE, "towers", entry)
        by_hand = Entry(
            lambda *_: DataSet({}, ()),
            "on request",
            "https://home",
            downloads=(*downloads[:1], Download("qrels.txt", None)),
            by_hand="Write to the makers.",
            must_accept=True,
        )
        monkeypatch.setitem(CATALOGUE, "asked", by_hand)
        yield files


def test_files_come_from_their_source_and_are_recorded(server: Files, tmp_path: Path) -> None:
    get("towers", tmp_path)
    assert (tmp_path / "train/turns.jsonl").read_bytes() == TURNS
    assert (tmp_path / "deep/topics").read_text() == "topics"
    manifest = json.loads((tmp_path / "downloads.json").read_text())
    assert (manifest["name"], manifest["licence"]) == ("towers", "CC0")
    turns, archive = manifest["files"]
    assert turns["url"] == f"{server.url}/a/turns.jsonl"
    assert (turns["size"], turns["checked"], archive["checked"]) == (len(TURNS), True, False)
    assert archive["sha256"] == hashlib.sha256(ARCHIVE).hexdigest()
    assert archive["date"].startswith("20")


def test_what_is_there_is_not_fetched_again_but_what_changed_is(
    server: Files, tmp_path: Path
) -> None:
    get("towers", tmp_path)
    get("towers", tmp_path)
    assert len(server.requests) == 2
    (tmp_path / "train/turns.jsonl").write_bytes(b"x" * len(TURNS))
    get("towers", tmp_path)
    assert (tmp_path / "train/turns.jsonl").read_bytes() == TURNS
    (tmp_path / "downloads.json").write_text("{broken")
    get("towers", tmp_path)
    assert len(server.requests) == 5


def test_a_mirror_has_the_same_paths(server: Files, tmp_path: Path) -> None:
    server.contents = {"copy/train/turns.jsonl": TURNS, "copy/all.zip": ARCHIVE}
    records = get("towers", tmp_path, mirror=f"{server.url}/copy/")
    assert [one["url"] for one in records] == [
        f"{server.url}/copy/train/turns.jsonl",
        f"{server.url}/copy/all.zip",
    ]


def test_a_folder_may_be_flat_and_is_checked(server: Files, tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    with pytest.raises(DataError, match=r"has no file train/turns\.jsonl"):
        get("towers", out, source=source)
    (source / "turns.jsonl").write_bytes(TURNS + b"\n")
    (source / "all.zip").write_bytes(ARCHIVE)
    with pytest.raises(DataError, match="has the checksum"):
        get("towers", out, source=source)
    (source / "turns.jsonl").write_bytes(TURNS)
    get("towers", out, source=source)
    assert (out / "train/turns.jsonl").read_bytes() == TURNS
    assert (out / "deep/topics").exists()
    assert server.requests == []
    get("towers", source, source=source)  # in place
    assert (source / "turns.jsonl").read_bytes() == TURNS


def test_a_licence_with_conditions_is_accepted_first(server: Files, tmp_path: Path) -> None:
    with pytest.raises(UniConvError, match=r"licence \(on request\).*--accept-licence"):
        get("asked", tmp_path / "out")
    assert server.requests == []
    assert not (tmp_path / "out").exists()


def test_what_must_be_got_by_hand_is_told_after_the_rest(server: Files, tmp_path: Path) -> None:
    message = r"asked: qrels\.txt can't be fetched freely\. Write to the makers\..*--from"
    with pytest.raises(DownloadError, match=message):
        get("asked", tmp_path, accepted=True)
    assert (tmp_path / "train/turns.jsonl").exists()
    (tmp_path / "qrels.txt").write_text("1 0 a 1")
    records = get("asked", tmp_path, source=tmp_path, accepted=True)
    assert {one["path"] for one in records} == {"train/turns.jsonl", "qrels.txt"}


def test_an_archive_that_leads_out_or_is_broken_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.zip").write_bytes(zipped(**{"..__out": "x", "fine": "y"}))
    unpack(folder / "a.zip")
    assert not (tmp_path / "out").exists()
    assert (folder / "fine").exists()
    with tarfile.open(folder / "a.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("../out")
        archive.addfile(member, io.BytesIO())
    with pytest.raises(DataError, match="damaged archive"):
        unpack(folder / "a.tar.gz")
    assert not (tmp_path / "out").exists()
    (folder / "b.zip").write_bytes(ARCHIVE[:-40])
    with pytest.raises(DataError, match="get it again"):
        unpack(folder / "b.zip")
    bits = bytearray(ARCHIVE)
    bits[ARCHIVE.index(b"topics", 40) + 8] ^= 255
    (folder / "c.zip").write_bytes(bits)
    with pytest.raises(DataError, match="get it again"):
        unpack(folder / "c.zip")
    assert {path.name for path in folder.iterdir()} == {
        "a.zip", "a.tar.gz", "b.zip", "c.zip", "fine"
    }  # fmt: skip


def test_an_interrupted_unpacking_is_taken_up(
    server: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(_: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("uniconv.data.getting.unpack", stop)
        get("towers", tmp_path)
    get("towers", tmp_path)
    assert (tmp_path / "deep/topics").exists()
    assert len(server.requests) == 2


def test_a_dead_link_does_not_keep_the_other_files(server: Files, tmp_path: Path) -> None:
    del server.contents["a/turns.jsonl"]
    with pytest.raises(DownloadError, match=r"a/turns\.jsonl: there is no such file"):
        get("towers", tmp_path)
    assert (tmp_path / "deep/topics").exists()
    server.contents["a/turns.jsonl"] = TURNS
    get("towers", tmp_path)
    assert len(server.requests) == 3
