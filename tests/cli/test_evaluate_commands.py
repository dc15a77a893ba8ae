"""``uniconv evaluate response`` from the command line to its files."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tiny import tiny_uniconv
from uniconv.cli import main
from uniconv.data.beir import write_corpus
from uniconv.data.conversations import write_conversations
from uniconv.types import Conversation, Passage, Turn


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    """The exit status of a command."""
    monkeypatch.setattr(sys, "argv", ["uniconv", *map(str, arguments)])
    try:
        main()
    except SystemExit as leaving:
        return int(leaving.code or 0)
    return 0


def test_parts_by_passages_and_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_uniconv().save_pretrained(tmp_path / "model")
    names = ("tower", "bridge", "moon")
    write_corpus(tmp_path / "corpus.jsonl", [Passage(name, f"The {name}.") for name in names])
    turns = (
        Turn("Where is it?", "Near the harbour.", positives=("tower",)),
        Turn("And the bridge?", "Over the river.", positives=("bridge",)),
    )
    write_conversations(tmp_path / "dev.jsonl", [Conversation("c", turns)])
    command: list[str | Path] = ["evaluate", "response", "--out", tmp_path / "out"]
    command += ["--conversations", tmp_path / "dev.jsonl", "--corpus", tmp_path / "corpus.jsonl"]
    command += ["--model", tmp_path / "model", "--max-new-tokens", "4"]
    options = ["--passages", "none", "relevant", "irrelevant", "--history", "0", "all"]
    assert run(monkeypatch, *command, *options) == 0
    shown = capsys.readouterr().out
    assert "k_precision" in shown
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    kinds = ("none", "relevant", "irrelevant")
    assert list(result["parts"]) == [name for kind in kinds for name in (f"{kind}-history-0", kind)]
    assert (tmp_path / "out" / "table.md").read_text().count("\n| ") == 2 + 6
    assert run(monkeypatch, *command, "--passages", "retrieved") == 2
    assert "retrieved passages need an index" in capsys.readouterr().err
    assert run(monkeypatch, *command, "--passages", "none", "--read", "1", "--history", "0") == 2
    assert "made with other read" in capsys.readouterr().err
