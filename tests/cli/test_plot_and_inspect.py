"""``uniconv evaluate`` draws what it measured, and shows it turn by turn."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from command import run
from uniconv.data.beir import write_corpus
from uniconv.data.conversations import write_conversations
from uniconv.evaluation import figures
from uniconv.types import Conversation, Passage, Turn


@pytest.fixture
def evaluation(tmp_path: Path) -> list[str | Path]:
    """A command that evaluates BM25, but for its folder."""
    texts = {"tower": "The tower stands near the harbour.", "bridge": "The bridge crosses a river."}
    write_corpus(tmp_path / "corpus.jsonl", [Passage(id, text) for id, text in texts.items()])
    turns = (
        Turn("Where is the tower?", "Near the harbour.", positives=("tower",)),
        Turn("And the bridge?", "Over a river.", positives=("bridge",)),
    )
    write_conversations(tmp_path / "dev.jsonl", [Conversation("c", turns)])
    command: list[str | Path] = ["evaluate", "retrieval", "--retriever", "bm25"]
    inputs = ["--conversations", tmp_path / "dev.jsonl", "--corpus", tmp_path / "corpus.jsonl"]
    return [*command, *inputs]


def test_from_an_evaluation_to_its_figures_and_its_page(
    evaluation: list[str | Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    history, last, out = tmp_path / "history", tmp_path / "last", tmp_path / "out"
    assert run(*evaluation, "--out", history) == 0
    assert (history / "figures" / "depth-ndcg-3.png").exists()
    assert run(*evaluation, "--query", "last", "--out", last) == 0
    capsys.readouterr()

    assert run("evaluate", "plot", history, last, "--out", out) == 0
    drawn = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert all(path.exists() for path in drawn)
    assert out / "compare-retrieval.svg" in drawn
    compared = tmp_path / "compared"
    assert run("evaluate", "compare", history, last, "--out", compared) == 0
    assert (compared / "figures" / "compare-retrieval.png").exists()

    page = tmp_path / "page.html"
    command = ["evaluate", "inspect", history, "--last-question", last, "--out", page]
    assert run(*command) == 0
    assert "2 turns, 2 passages" in capsys.readouterr().out
    text = page.read_text()
    data = json.loads(
        text[text.index('id="data">') + len('id="data">') :].partition("</script>")[0]
    )
    assert [turn["reason"] for turn in data["turns"]] == ["retrieved", "retrieved"]
    assert data["turns"][1]["needsHistory"] is False


def test_mistakes_are_told_in_a_sentence(
    evaluation: list[str | Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (["plot"], ["inspect"], ["plot", tmp_path], ["inspect", tmp_path]):
        assert run("evaluate", *command, "--out", tmp_path / "out") == 2
        told = capsys.readouterr().err
        assert told.startswith("uniconv: ") and told.count("\n") == 1


def test_without_matplotlib_evaluations_go_on_without_figures(
    evaluation: list[str | Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(figures, "can_draw", lambda: False)
    out = tmp_path / "result"
    assert run(*evaluation, "--out", out) == 0
    assert (out / "result.json").exists() and not (out / "figures").exists()
    assert run("evaluate", "plot", out, "--out", tmp_path / "out") == 2
    assert "uniconv[plots]" in capsys.readouterr().err
