"""Every reason by the rule that it states, and what is told of a turn."""

from __future__ import annotations

from typing import Any

import pytest

from uniconv.evaluation.reasons import (
    Bars,
    Outcome,
    first_rank,
    history_step,
    reason_of,
    reasons,
    steps,
)
from uniconv.types import Passage

GOLD = Passage("g", "The tower was finished in 1893 by a family of engineers.", "Tower")
OTHER = Passage("o", "Sheep graze on the hill.")
LOW = [f"p{number}" for number in range(10)] + ["g"]


@pytest.mark.parametrize(
    ("key", "known"),
    [
        ("answered-unanswerable", {"answer": "In 1893.", "answerable": False, "f1": 0.9}),
        ("declined-rightly", {"answer": "No idea.", "declined": True, "answerable": False}),
        ("declined-answerable", {"answer": "No idea.", "declined": True, "answerable": True}),
        ("declined-answerable", {"answer": "No idea.", "declined": True, "relevant": "g"}),
        ("answered", {"answer": "In 1893.", "f1": 0.3, "relevant": "g", "ranking": ["o"]}),
        ("not-retrieved", {"relevant": "g", "ranking": ["o"]}),
        ("not-retrieved", {"relevant": "g", "ranking": []}),
        ("not-retrieved", {"relevant": "g", "ranking": ["o"], "answer": "No.", "read": [OTHER]}),
        ("ranked-low", {"relevant": "g", "ranking": LOW}),
        ("ranked-low", {"relevant": "g", "ranking": LOW, "answer": "No.", "f1": 0.29}),
        ("not-read", {"relevant": "g", "ranking": LOW[1:], "answer": "No.", "read": [OTHER]}),
        ("not-read", {"relevant": "g", "answer": "No.", "read": [OTHER], "f1": 0.1}),
        ("not-used", {"relevant": "g", "answer": "Sheep graze.", "read": [OTHER, GOLD]}),
        ("differs", {"relevant": "g", "answer": "A family of engineers.", "read": [GOLD]}),
        ("differs", {"relevant": "g", "answer": "Sheep [1].", "read": [GOLD], "cited": "g"}),
        ("differs", {"answer": "Sheep.", "f1": 0.1}),
        ("differs", {"answer": "No idea.", "declined": True, "f1": 0.1}),
        ("retrieved", {"relevant": "g", "ranking": LOW[1:]}),
        ("unjudged", {"ranking": LOW}),
        ("unjudged", {"answer": "Sheep."}),
    ],
)
def test_the_first_rule_that_holds_is_the_reason(key: str, known: dict[str, Any]) -> None:
    for name in ("relevant", "cited"):
        known[name] = frozenset(known.get(name, ""))
    assert reason_of(Outcome(**known), Bars()) == key
    assert key in reasons(Bars())


def test_the_bars_move_the_rules() -> None:
    turn = Outcome(frozenset("g"), ranking=LOW, answer="No.", f1=0.2)
    assert reason_of(turn, Bars()) == "ranked-low"
    assert reason_of(turn, Bars(top=11)) == "not-read"
    assert reason_of(turn, Bars(f1=0.2)) == "answered"
    assert "top 7" in reasons(Bars(top=7))["ranked-low"].rule
    assert "0.25" in reasons(Bars(f1=0.25))["answered"].rule


def test_the_way_from_retrieval_to_the_answer_is_told() -> None:
    turn = Outcome(
        frozenset({"g", "h"}),
        ranking=["o", "g"],
        answer="Sheep [1].",
        read=[OTHER, GOLD],
        cited=frozenset("o"),
        f1=0.1,
    )
    assert steps(turn, Bars()) == [
        "The first of the 2 relevant passages is at rank 2 of 2.",
        "The model read 2 passages, 1 relevant.",
        "The answer cites 1 passage, 0 relevant.",
        "F1 against the reference is 0.10, below 0.3.",
    ]
    assert steps(Outcome(frozenset("g"), ranking=["o"], answer="No.", declined=True), Bars()) == [
        "The relevant passage is not among the 1 retrieved.",
        "The model read no passages.",
        "The response declines to answer.",
    ]


def test_history_is_needed_where_the_last_question_does_not_find_the_passage() -> None:
    assert history_step(3, Bars())[0] is False
    assert history_step(11, Bars()) == (
        True,
        "The last question alone finds it only at rank 11: the history is needed.",
    )
    assert history_step(None, Bars())[0] is True
    assert first_rank({"g"}, LOW) == 11
    assert first_rank({"x"}, LOW) is None
