"""What joint training reads: questions as conversations, and conversations that are held out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import joint_data
import pytest
from joint_data import Questions, refer, split_talks
from native_files import write
from native_tracks import doc2dial

from uniconv.data.conversations import read_conversations
from uniconv.types import Conversation, Turn

TURN = Turn("What is due?", positives=("doc2dial:Permits#1_0:0",))
TEXT = "Marie Curie was a chemist. She studied in Paris, and her husband taught there."


@pytest.mark.parametrize(
    "question, expected",
    [
        ("When did Marie Curie marry?", "When did she marry?"),
        ("What is known of Marie Curie?", "What is known of her?"),
        ("What was Marie Curie's first prize?", "What was her first prize?"),
        ("Marie Curie was born in which year?", "She was born in which year?"),
        ("Where is the Marie Curie Museum?", "Where is the Marie Curie Museum?"),
        ("What happened in 1903?", "What happened in 1903?"),
    ],
)
def test_a_later_question_refers_to_what_was_named(question: str, expected: str) -> None:
    assert refer(question, "Marie Curie (chemist)", TEXT) == expected


def test_a_pronoun_is_the_one_that_the_text_uses() -> None:
    assert refer("Who runs Lagos?", "Lagos", "It is a city.") == "Who runs Lagos?"
    assert refer("What is west of Lagos?", "Lagos", "It is a city.") == "What is west of it?"
    assert refer("Who was Hume?", "Hume", "He wrote his books.") == "Who was he?"


def _row(source: str, title: str, question: str, answer: str) -> dict[str, object]:
    text = f"{answer} Then it rained."
    turns = [question]
    return {"source": source, "title": title, "turns": turns, "text": text, "answer": answer}


def test_questions_of_a_page_become_conversations() -> None:
    rows = [
        _row("squad", f"Page {page}", f"What of Page {page}?", f"Answer {page} {n} is here.")
        for page in range(6)
        for n in range(8)
    ]
    rows.append(_row("topiocqa", "Page 0", "Not a single question?", "No."))
    questions = Questions()
    talks = list(questions.conversations(rows, "train"))
    passages = {one.id: one for one in questions.corpus.values()}
    turns = [turn for talk in talks for turn in talk.turns]
    assert len(turns) == len(passages) == 48
    assert {len(talk.turns) for talk in talks} == {1, 2, 3, 4, 5}
    assert len({talk.id for talk in talks}) == len(talks)
    for talk in talks:
        titles = {passages[turn.positives[0]].title for turn in talk.turns}
        assert len(titles) == 1
        named = [turn.query for turn in talk.turns]
        assert named == [f"What of {titles.pop()}?", *["What of it?"] * (len(named) - 1)]
    for turn in turns:
        assert turn.response and turn.response in passages[turn.positives[0]].text
        assert turn.negatives
        assert not set(turn.negatives) & set(turn.positives)


def test_functions_of_a_module_are_asked_for_one_after_the_other() -> None:
    rows = [
        _row("docstrings", f"os.path.f{n}", f"What does os.path.f{n} do?", f"Do the {n} thing.")
        for n in range(40)
    ]
    talks = list(Questions().conversations(rows, "train"))
    queries = [[turn.query for turn in talk.turns] for talk in talks]
    assert all(not first.startswith("And ") for first, *_ in queries)
    assert any(query.startswith("And f") for _, *rest in queries for query in rest)


@pytest.mark.parametrize("held", [True, False])
def test_what_was_held_out_is_not_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: bool
) -> None:
    write(doc2dial("doc2dial"), tmp_path / "data/doc2dial")
    (group,) = {joint_data.TALKS["doc2dial"].group(Conversation("d", (TURN,)))}
    assert group == "Permits#1_0"
    monkeypatch.setattr(joint_data, "held_out", lambda name: held and name == group)
    talks = replace(joint_data.TALKS["doc2dial"], split="train")
    monkeypatch.setitem(joint_data.TALKS, "doc2dial", talks)
    out = tmp_path / "out"
    assert split_talks("doc2dial", tmp_path / "data", out) == ((0, 1) if held else (1, 0))
    (talk,) = read_conversations(out / f"doc2dial/{'dev' if held else 'train'}.jsonl")
    assert talk.turns[0].query == "What is due?"
