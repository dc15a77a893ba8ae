"""The commands with an index in Milvus where they take a folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from command import run
from tiny_index import TEXTS, tiny_index
from uniconv.cli import terminal
from uniconv.cli.terminal import hold_conversation
from uniconv.data.conversations import write_conversations
from uniconv.retrieval.interface import Index
from uniconv.search import ConversationalSearch
from uniconv.types import Conversation, Turn

pytest.importorskip("pymilvus", reason="needs uniconv[milvus]")
pytest.importorskip("milvus_lite", reason="needs uniconv[milvus]")


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("commands")
    folder = tiny_index(place)
    config = place / "texts.yaml"
    config.write_text("uri: texts.db\ncollection: texts\nfolder: index\n")
    assert folder == place / "index"
    assert run("index", "--out", config) == 0  # no sources: the folder as it is
    return config


@pytest.fixture(scope="module")
def talks(index: Path) -> Path:
    path = index.parent / "talks.jsonl"
    asked = {"Who built the tower?": "tower", "Why does a glacier move?": "glacier"}
    opened = Index.open(index)
    turns = {
        question: opened.search_text([word], 1)[0][0].passage.id for question, word in asked.items()
    }
    write_conversations(
        path,
        [
            Conversation(f"c{n}-{id}", (Turn(question, "Engineers.", positives=(id,)),))
            for n in range(10)
            for question, id in turns.items()
        ],
    )
    return path


def test_index_loads_what_changed(
    index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(index.parent / "documents", tmp_path / "documents")
    config = tmp_path / "mine.yaml"
    config.write_text("uri: ../commands-mine.db\ncollection: mine\n")
    command = ["index", tmp_path / "documents", "--out", config, "--model", index.parent / "model"]
    assert run(*command) == 0
    assert "3 passages, 3 of them loaded now" in capsys.readouterr().out
    (tmp_path / "documents" / "moon.md").write_text("# Moon\n\nThe moon pulls the sea.\n")
    assert run(*command) == 0
    printed = capsys.readouterr().out
    assert "4 passages, 1 of them encoded now" in printed
    assert "4 passages, 4 of them loaded now" in printed
    assert run(*command) == 0
    assert "0 of them loaded now" in capsys.readouterr().out


@pytest.mark.parametrize("retriever", ["hybrid", "dense", "bm25"])
def test_search_finds_as_in_the_folder(
    index: Path, retriever: str, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = []
    for place in (index, index.parent / "index"):
        for more in ((), ("--filter", "file=ice.md", "file=bread.md")):
            assert run("search", place, "glacier ice", "--retriever", retriever, *more) == 0
            printed.append(capsys.readouterr().out)
    assert len(TEXTS) == 3
    if retriever == "dense":  # BM25's scores differ: Milvus counts passages of a segment
        assert printed[:2] == printed[2:]
    assert "[1] Glacier" in printed[0] or retriever != "bm25"
    assert "Tower" not in printed[1]
    assert "Tower" not in printed[3]


def test_chat(
    index: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = iter(["Who built the tower?", "/sources", "/quit"])
    monkeypatch.setattr(terminal, "hold_conversation", _bounded(lines))
    assert run("chat", index) == 0
    assert "tower.md" in capsys.readouterr().out


def _bounded(lines: Iterator[str]) -> Callable[[ConversationalSearch], None]:
    def hold(searching: ConversationalSearch) -> None:
        searching.settings = replace(searching.settings, max_new_tokens=4)
        hold_conversation(searching, lambda: next(lines))

    return hold


def test_evaluate(index: Path, talks: Path, tmp_path: Path) -> None:
    figures = []
    for place in (index, index.parent / "index"):
        out = tmp_path / place.name
        assert (
            run("evaluate", "retrieval", "--conversations", talks, "--index", place, "--out", out)
            == 0
        )
        figures.append(json.loads((out / "result.json").read_text()))
    assert figures[0]["metrics"] == figures[1]["metrics"]


def test_calibrate(index: Path, talks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("calibrate", index, talks) == 0
    assert "threshold" in capsys.readouterr().out


@pytest.mark.parametrize(
    "command",
    [
        ["serve", "INDEX", "--documents", "--port", "0"],
        ["mine", "--conversations", "TALKS", "--index", "INDEX", "--out", "OUT"],
    ],
)
def test_what_needs_a_folder_says_so(
    index: Path, talks: Path, tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"INDEX": str(index), "TALKS": str(talks), "OUT": str(tmp_path / "mined.jsonl")}
    assert run(*(places.get(word, word) for word in command)) == 2
    assert "needs an index folder, not a collection in Milvus" in capsys.readouterr().err
