"""``uniconv evaluate response`` from the command line to its files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from command import run
from tiny import tiny_uniconv
from uniconv.data.beir import write_corpus
from uniconv.data.conversations import write_conversations
from uniconv.types import Conversation, Passage, Turn


def test_parts_by_passages_and_history(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
    assert run(*command, *options) == 0
    shown = capsys.readouterr().out
    assert "k_precision" in shown
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    kinds = ("none", "relevant", "irrelevant")
    assert list(result["parts"]) == [name for kind in kinds for name in (f"{kind}-history-0", kind)]
    assert (tmp_path / "out" / "table.md").read_text().count("\n| ") == 2 + 6
    assert run(*command, "--passages", "retrieved") == 2
    assert "retrieved passages need an index" in capsys.readouterr().err
    assert run(*command, "--passages", "none", "--read", "1", "--history", "0") == 2
    assert "made with other read" in capsys.readouterr().err
