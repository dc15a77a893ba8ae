"""Sentences as passages: which one is relevant, and what it is to be told from."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import sentence_data
from joint_data import corpus_file
from sentence_data import Sentences, sentence_conversations

from uniconv.data.beir import read_corpus, write_corpus
from uniconv.data.conversations import read_conversations, write_conversations
from uniconv.types import Conversation, Passage, Turn

PASSAGES = {
    one.id: one
    for one in (
        Passage("tower", "It was built in 1893. A storm hit it. Why? Nobody knows.", "Tower"),
        Passage("ice", "Ice deforms under its own weight.", "Ice"),
        Passage("copy", "The tower was built in 1893.", "Copy"),
    )
}
TURN = Turn("When?", "The tower was built in 1893.[1]", None, ("tower",), ("ice", "copy"))


def test_the_nearest_sentence_is_relevant_and_its_neighbours_are_negatives() -> None:
    found = Sentences()
    turn = found.turn(TURN, PASSAGES)
    texts = {one.id: (one.title, one.text) for one in found.corpus.values()}
    assert [texts[id] for id in turn.positives] == [("Tower", "It was built in 1893.")]
    assert {texts[id] for id in turn.negatives} == {
        ("Tower", "A storm hit it."),
        ("Tower", "Nobody knows."),
        ("Ice", "Ice deforms under its own weight."),
    }


@pytest.mark.parametrize(
    "turn",
    [
        Turn("When?", "Never mind.", None, ("tower",), ("ice",)),
        Turn("When?", None, None, ("tower",)),
        Turn("When?", "The tower was built in 1893.", None, (), ("ice",)),
        Turn("When?", "The tower was built in 1893.", None, ("gone",)),
    ],
)
def test_a_turn_without_a_near_sentence_has_none(turn: Turn) -> None:
    assert Sentences().turn(turn, PASSAGES) == Turn(turn.query, turn.response)


def test_conversations_without_any_are_left_out() -> None:
    talks = [Conversation("a", (Turn("Hello?", "Hi."),)), Conversation("b", (TURN,))]
    assert [one.id for one in sentence_conversations(talks, PASSAGES, Sentences(), "set")] == [
        "set-b"
    ]


def test_the_command_writes_what_training_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, data = tmp_path / "out", tmp_path / "data"
    for name in sentence_data.SETS:
        write_conversations(out / "joint" / name / "mined2.jsonl", [Conversation("1", (TURN,))])
        write_corpus(corpus_file(name, out, data), PASSAGES.values())
    monkeypatch.setattr(sys, "argv", ["sentence_data.py", str(out), str(data)])
    sentence_data.main()
    assert "topiocqa: 1 turns of 1 conversations" in capsys.readouterr().out
    talks = list(read_conversations(out / "joint/sentences/train.jsonl"))
    known = {one.id for one in read_corpus(out / "joint/sentences/corpus.jsonl")}
    named = {id for talk in talks for turn in talk.turns for id in turn.positives + turn.negatives}
    assert [talk.id for talk in talks] == [f"{name}-1" for name in sentence_data.SETS]
    assert named == known
