"""The fifty questions to the demo: each is asked, after what was said before it."""

from __future__ import annotations

import sys
from pathlib import Path

import fifty
import pytest

from tiny import tiny_uniconv
from uniconv.retrieval.building import build_index
from uniconv.search import ConversationalSearch
from uniconv.types import Conversation


def test_all_are_asked_and_every_answer_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tiny_uniconv()
    model.save_pretrained(tmp_path / "model")
    (tmp_path / "page.txt").write_text("Gzip compresses data.", "utf-8")
    build_index([tmp_path / "page.txt"], tmp_path / "index", model, quiet=True)
    asked: list[Conversation] = []
    stream = ConversationalSearch.stream

    def listening(self: ConversationalSearch, conversation: Conversation) -> object:
        asked.append(conversation)
        return stream(self, conversation)

    monkeypatch.setattr(ConversationalSearch, "stream", listening)
    command = ["fifty.py", str(tmp_path / "index"), "--model", str(tmp_path / "model")]
    monkeypatch.setattr(sys, "argv", command)
    fifty.main()
    shown = capsys.readouterr().out.splitlines()
    questions = [question for talk in fifty.CONVERSATIONS for question in talk]
    assert len(questions) == 50
    assert [talk.turns[-1].query for talk in asked] == questions
    assert sum(len(talk.turns) > 1 for talk in asked) == 50 - len(fifty.CONVERSATIONS)
    assert all(turn.response for talk in asked for turn in talk.turns[:-1])
    numbered = [line for line in shown if line[:2].strip()]
    assert [line[3:].strip() for line in numbered] == questions
    assert len(shown) >= 100
