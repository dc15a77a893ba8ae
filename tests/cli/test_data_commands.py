"""``uniconv data`` as a user sees it: what is printed, asked, and the exit status."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from command import run
from uniconv.data.catalogue import CATALOGUE
from uniconv.data.dataset import DataSet
from uniconv.data.entry import Download, Entry
from uniconv.types import Conversation, Passage, Turn

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
from file_server import Files, serve


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    turns = (
        Turn("Who built it?", "Ada.", None, ("p1",), attributes={"topic": "A"}),
        Turn("And why?", "To see.", None, ("p2",), attributes={"topic": "B"}),
    )
    corpus = [Passage("p1", "Ada built it."), Passage("p2", "To see the sea.")]
    DataSet({"dev": [Conversation("c1", turns)]}, (), corpus).write(tmp_path / "set", corpus=None)
    return tmp_path / "set"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Files]:
    with serve({"turns.jsonl": b"{}\n"}) as files:
        downloads = (Download("turns.jsonl", f"{files.url}/turns.jsonl"),)
        entry = Entry(
            lambda *_: DataSet({}, ()),
            "for research [only]",
            "https://home",
            downloads=downloads,
            must_accept=True,
        )
        monkeypatch.setitem(CATALOGUE, "towers", entry)
        yield files


def test_every_set_is_listed_with_its_licence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    assert run("data", "list") == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: after for line, after in zip(lines[::2], lines[1::2], strict=True)}
    assert rows.keys() == CATALOGUE.keys()
    for name, entry in CATALOGUE.items():
        assert entry.licence in rows[name]
        assert entry.home in rows[name]
        assert ("evaluation only" in rows[name]) == entry.evaluation_only


def test_one_set_is_told_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("data", "list", "topiocqa") == 0
    printed = capsys.readouterr().out
    entry = CATALOGUE["topiocqa"]
    for text in (entry.licence, "to be accepted", *(one.url for one in entry.downloads)):
        assert text in printed
    assert run("data", "list", "topi") == 2
    assert "unknown data set 'topi'" in capsys.readouterr().err


def test_get_needs_the_licence_and_says_what_comes_next(
    server: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "towers"
    assert run("data", "get", "towers", "--out", out) == 2
    error = capsys.readouterr().err
    assert "for research [only], https://home" in error
    assert "--accept-licence" in error
    assert run("data", "get", "towers", "--out", out, "--accept-licence") == 0
    assert f"uniconv data convert towers {out}" in capsys.readouterr().out
    assert (out / "turns.jsonl").read_bytes() == b"{}\n"
    source = ["--from", out, "--accept-licence"]
    assert run("data", "get", "towers", "--out", tmp_path / "copy", *source) == 0
    assert (tmp_path / "copy" / "turns.jsonl").read_bytes() == b"{}\n"
    mirror = ["--mirror", f"{server.url}/nowhere", "--accept-licence"]
    assert run("data", "get", "towers", "--out", tmp_path / "other", *mirror) == 2
    assert "no such file" in capsys.readouterr().err


@pytest.mark.parametrize(("answer", "status"), [("y", 0), ("n", 2)])
def test_get_asks_on_a_terminal(
    server: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, status: int
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda *_: answer)
    assert run("data", "get", "towers", "--out", tmp_path / "out") == status
    assert (tmp_path / "out" / "turns.jsonl").exists() == (status == 0)


def test_check_leaves_with_2_only_for_errors(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("data", "check", folder) == 0
    assert "2 passages, 0 errors, 0 warnings" in capsys.readouterr().out
    (folder / "dataset.json").unlink()
    with (folder / "corpus.jsonl").open("a") as file:
        file.writelines(f'{{"_id": "x{n}", "text": "the same"}}\n' for n in range(8))
    assert run("data", "check", folder) == 0
    printed = capsys.readouterr().out
    assert "warning, 7 passages of the same text:" in printed
    assert "… and 2 more (--all-warnings)" in printed
    assert run("data", "check", folder, "--all-warnings") == 0
    assert "corpus.jsonl:10: passage 'x7' has the text of line 3" in capsys.readouterr().out
    (folder / "dev.qrels.tsv").write_text("c1_1\tp1\t1\nc1_2\tp9\t1\n")
    assert run("data", "check", folder) == 2
    printed = capsys.readouterr().out
    assert f"error {folder}/dev.qrels.tsv:2: field 'corpus-id': 'p9' is not in the" in printed
    assert "2 errors" in printed


def test_check_compares_with_training(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("data", "check", folder, "--train", folder) == 2
    assert "the conversation is in training too" in capsys.readouterr().out


def test_stats_prints_a_table_and_writes_json(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "stats.json"
    assert run("data", "stats", folder, "--json", out) == 0
    printed = capsys.readouterr().out
    assert "1 of 1 (100.0%)" in printed
    assert "dev: query, words" in printed
    assert "dev, turns by depth  1: 1  2: 1" in printed
    written = json.loads(out.read_text())
    assert written["unit"] == "words"
    assert written["statistics"]["splits"]["dev"]["lengths"]["query"]["mean"] == 2.5
    assert run("data", "stats", tmp_path / "nothing") == 2
    assert "no conversations here" in capsys.readouterr().err
