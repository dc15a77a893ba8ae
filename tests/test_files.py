from __future__ import annotations

import json
from pathlib import Path

import pytest

from uniconv.errors import UniConvError
from uniconv.files import atomic, atomic_folder, provenance, sha256, write_json


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_a_failed_folder_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "model"
    with atomic_folder(target) as temporary:
        (temporary / "weights").write_text("old")
    with pytest.raises(RuntimeError), atomic_folder(target) as temporary:
        (temporary / "weights").write_text("half")
        raise RuntimeError
    assert (target / "weights").read_text() == "old"
    with atomic_folder(target) as temporary:
        (temporary / "other").write_text("new")
    assert [path.name for path in target.iterdir()] == ["other"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_cannot_be_written_is_said_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UniConvError, match="could not be written"):
        write_json(tmp_path / "file" / "result.json", {})
    full = Path("/dev/full")
    if full.exists():
        with pytest.raises(UniConvError, match="No space left"), atomic(tmp_path / "x") as path:
            path.symlink_to(full)
            path.write_text("data that finds no room")


def test_provenance_names_versions_and_what_it_is_told(tmp_path: Path) -> None:
    write_json(tmp_path / "p.json", provenance(config={"seed": 1}))
    record = json.loads((tmp_path / "p.json").read_text())
    assert record["config"] == {"seed": 1}
    assert "torch" in record["packages"]


def test_checksums_are_sha256(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256(tmp_path / "abc").startswith("ba7816bf8f01cfea")
