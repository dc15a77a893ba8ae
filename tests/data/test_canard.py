"""CANARD, with histories and as pairs of questions and rewrites."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from native import put_json, put_text, read_twisted

from uniconv.data.catalogue import convert
from uniconv.data.conversations import read_conversations
from uniconv.errors import DataError
from uniconv.types import Conversation, Turn


def row(number: int, question: str, *history: str) -> dict[str, Any]:
    return {
        "History": ["Ada Quay", "Mills", *history],
        "QuAC_dialog_id": "C_1_0",
        "Question": question,
        "Question_no": number,
        "Rewrite": f"{question} Ada",
    }


def test_answers_come_from_later_histories(tmp_path: Path) -> None:
    said = ("who?", "Ada", "why?", "I don't know.")
    rows = [row(1, "who?"), row(2, "why?", *said[:2]), row(3, "when?", *said)]
    put_json(tmp_path / "in/canard_dev.json", rows)
    about = convert("canard", tmp_path / "in", tmp_path / "out")
    named = {"topic": "Ada Quay", "section": "Mills"}
    yes, no = {**named, "answerability": "answerable"}, {**named, "answerability": "unanswerable"}
    assert list(read_conversations(tmp_path / "out/dev.jsonl")) == [
        Conversation(
            "C_1_0",
            (
                Turn("who?", "Ada", "who? Ada", attributes=yes),
                Turn("why?", "I don't know.", "why? Ada", attributes=no),
                Turn("when?", None, "when? Ada", attributes=named),
            ),
        )
    ]
    assert about["counts"]["turns without a response"] == 1


def test_pairs_have_no_answers(tmp_path: Path) -> None:
    questions = tmp_path / "in/canard_train_questions.tsv"
    rewrites = tmp_path / "in/canard_train_rewrites.tsv"
    put_text(questions, "C_1_0_q#0\twho?", "C_1_0_q#1\twhy?")
    put_text(rewrites, "C_1_0_q#0\twho is Ada?", "C_1_0_q#1\twhy is Ada?")
    convert("canard", tmp_path / "in", tmp_path / "out")
    turns = (Turn("who?", "", "who is Ada?"), Turn("why?", "", "why is Ada?"))
    assert list(read_conversations(tmp_path / "out/train.jsonl")) == [Conversation("C_1_0", turns)]
    put_text(questions, "C_1_0_q#1\twhy?")
    with pytest.raises(DataError, match=r"questions.tsv:1: field 'id': is 2 after turn 0"):
        convert("canard", tmp_path / "in", tmp_path / "out")
    put_text(questions, "C_1_0_q#0\twho?")
    with pytest.raises(DataError, match=r"'C_1_0_q#1' is no question of canard_train_questions"):
        convert("canard", tmp_path / "in", tmp_path / "out")


def test_odd_values_are_refused_or_read(tmp_path: Path) -> None:
    put_json(tmp_path / "in/dev.json", [row(1, "who?"), row(2, "why?", "who?", "Ada")])
    tried, refused = read_twisted("canard", tmp_path / "in")
    assert tried > refused > 80
