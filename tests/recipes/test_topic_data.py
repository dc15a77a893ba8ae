"""Conversations that leave a topic: what is joined, and what was said before as a negative."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import topic_data
from hypothesis import given
from hypothesis import strategies as st
from topic_data import answered, joined, misled

from uniconv.data.beir import read_corpus, write_corpus
from uniconv.data.conversations import read_conversations, write_conversations
from uniconv.types import Conversation, Passage, Turn

PASSAGES = [
    Passage("built", "The tower was built in 1893. A storm hit it."),
    Passage("again", "In short: The tower was built in 1893."),
    Passage("ice", "Ice deforms under its own weight."),
]
TOWER = Turn("When?", "The tower was built in 1893.", positives=("built",), negatives=("far",))
SHORT = Turn("In short?", "In short: The tower was built in 1893.", positives=("again",))
ICE = Turn("Does ice move?", "Ice deforms under its own weight.", positives=("ice",))


@given(st.lists(st.integers(1, 5), max_size=700))
def test_each_conversation_is_joined_with_neighbours_and_at_most_once(turns: list[int]) -> None:
    talks = [
        Conversation(str(number), tuple(Turn(f"{number}.{turn}?", "Yes.") for turn in range(count)))
        for number, count in enumerate(turns)
    ]
    found = list(joined(talks))
    used = [int(id) for talk in found for id in talk.id.split("+")]
    assert len(used) == len(set(used)) >= len(talks) - 1 - len(talks) // 300
    for talk in found:
        parts = [int(id) for id in talk.id.split("+")]
        assert 2 <= len(parts) <= 3
        assert len({part // 300 for part in parts}) == 1
        expected = [turn.query for part in parts for turn in talks[part].turns]
        assert [turn.query for turn in talk.turns] == expected
    assert list(joined(talks)) == found


def test_passages_of_other_turns_mislead_unless_they_answer() -> None:
    talk = Conversation("c", (TOWER, SHORT, ICE, Turn("Why?", "Nobody knows.")))
    found = misled(talk, {one.id: one for one in PASSAGES}).turns
    assert [set(turn.negatives) for turn in found] == [
        {"ice"},  # "again" has the sentence too
        {"built", "ice"},
        {"built", "again"},
        set(),  # nothing is relevant to it
    ]
    assert [turn.positives for turn in found] == [turn.positives for turn in talk.turns]


def test_at_most_four_passages_mislead() -> None:
    passages = {str(number): Passage(str(number), f"Text {number}.") for number in range(9)}
    turns = tuple(Turn("?", f"Answer {id}.", positives=(id,)) for id in passages)
    found = misled(Conversation("c", turns), passages)
    assert {len(turn.negatives) for turn in found.turns} == {4}
    assert all(not set(turn.negatives) & set(turn.positives) for turn in found.turns)
    assert misled(Conversation("c", turns), passages) == found


def test_responses_are_passages_where_they_are_long_enough() -> None:
    corpus: dict[str, Passage] = {}
    talk = Conversation("c", (TOWER, Turn("Sure?", "Yes."), TOWER, ICE, Turn("So?")))
    turns = answered(talk, corpus).turns
    assert [turn.positives for turn in turns] == [("a0",), (), ("a0",), ("a1",), ()]
    assert [one.text for one in corpus.values()] == [TOWER.response, ICE.response]


def test_the_command_writes_what_training_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "joint"
    write_corpus(folder / "questions/corpus.jsonl", PASSAGES)
    talks = [Conversation("1", (TOWER, SHORT)), Conversation("2", (ICE,))]
    write_conversations(folder / "questions/train.jsonl", talks)
    write_conversations(folder / "qrecc/train.jsonl", [Conversation("3", (TOWER, ICE))])
    monkeypatch.setattr(sys, "argv", ["topic_data.py", str(tmp_path)])
    topic_data.main()
    told = capsys.readouterr().out.splitlines()
    assert told == [
        "topics: 1 conversations, 3 turns with a passage",
        "answers: 1 conversations, 2 turns with a passage",
    ]
    for name, corpus in (("topics", "questions"), ("answers", "answers")):
        (talk,) = read_conversations(folder / name / "train.jsonl")
        known = {one.id for one in read_corpus(folder / corpus / "corpus.jsonl")}
        named = {id for turn in talk.turns for id in turn.positives + turn.negatives}
        assert named <= known
        assert all(turn.positives and turn.negatives for turn in talk.turns)
