"""Files in folders and zip archives."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import pytest

from uniconv.data.archives import files_under, is_file, on_disk, open_bytes
from uniconv.data.lines import read_lines
from uniconv.errors import DataError


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("b/two.txt", "2\n")
        file.writestr("b/one.txt.gz", gzip.compress(b"1\n"))
        file.writestr("__MACOSX/b/one.txt", "?")
        file.writestr("b/.hidden.txt", "?")
        file.writestr("long.txt", "line\n" * 10_000)
    return path


def test_members_are_files(archive: Path) -> None:
    assert is_file(archive / "b/two.txt")
    assert not is_file(archive / "b")
    assert not is_file(archive / "three.txt")
    assert on_disk(archive / "b/two.txt") == archive
    assert on_disk(archive) == archive
    found = files_under(archive, ".txt", ".txt.gz")
    assert found == [archive / name for name in ("b/one.txt.gz", "b/two.txt", "long.txt")]
    texts = []
    for path in found[:2]:
        with open_bytes(path) as file:
            texts.append(file.read())
    assert texts == [b"1\n", b"2\n"]


def test_folders_are_walked_alike(archive: Path) -> None:
    top = archive.parent / "unpacked"
    with zipfile.ZipFile(archive) as file:
        file.extractall(top)
    unpacked = [path.relative_to(top) for path in files_under(top, ".txt", ".txt.gz")]
    assert unpacked == [path.relative_to(archive) for path in files_under(archive, ".txt", ".gz")]
    assert files_under(top / "long.txt", ".json") == [top / "long.txt"]
    assert files_under(top / "absent", ".txt") == []


def test_damage_is_told(archive: Path) -> None:
    with pytest.raises(DataError, match=r"a\.zip: has no member 'c\.txt'"):
        open_bytes(archive / "c.txt")
    content = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as file:
        start = file.getinfo("long.txt").header_offset + 30 + len("long.txt")
    content[start + 5 : start + 15] = bytes(10)
    archive.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.zip/long\.txt.*can't be read on"):
        list(read_lines(archive / "long.txt", lambda *line: line))
    archive.write_bytes(content[:200])
    with pytest.raises(DataError, match="can't be read"):
        files_under(archive, ".txt")
    with pytest.raises(DataError, match="can't be read"):
        open_bytes(archive / "long.txt")
