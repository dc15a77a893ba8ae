"""Groups of queries: depth, topic shifts, attributes, and gold that training has seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from uniconv.data.beir import write_qrels
from uniconv.data.conversations import write_conversations
from uniconv.errors import DataError
from uniconv.evaluation.breakdowns import (
    MOST_GROUPS,
    gold_seen,
    groups_of,
    read_groups,
    read_positives,
    write_groups,
)
from uniconv.types import Conversation, Turn


def conversation(*attributes: dict[str, str]) -> Conversation:
    return Conversation(
        "c", tuple(Turn(f"q{n}", f"r{n}", attributes=one) for n, one in enumerate(attributes))
    )


def contexts(one: Conversation) -> dict[str, Conversation]:
    return {one.query_id(n): one.context(n) for n in range(1, len(one.turns) + 1)}


def test_topics_are_compared_with_the_turn_before() -> None:
    talk = conversation(
        {"topic": "A"}, {"topic": "A"}, {"topic": "B"}, {}, {"topic": "B"}, {"topic": "B"}
    )
    groups = groups_of(contexts(talk))
    assert list(groups) == ["depth", "topic"]
    assert groups["depth"]["c_4"] == ["4"]
    assert groups["topic"] == {
        "c_1": ["first turn"],
        "c_2": ["topic continuation"],
        "c_3": ["topic shift"],
        "c_6": ["topic continuation"],  # of 4 and 5 nothing can be said
    }


def test_every_attribute_is_a_breakdown_by_its_name() -> None:
    talk = conversation(
        {"type": "factoid, summary", "answerability": "answerable", "depth": "deep"},
        {"answerability": "unanswerable", "_id": "x"},
    )
    assert groups_of(contexts(talk)) == {
        "depth": {"c_1": ["1"], "c_2": ["2"]},
        "type": {"c_1": ["factoid", "summary"]},
        "answerability": {"c_1": ["answerable"], "c_2": ["unanswerable"]},
    }


@pytest.mark.parametrize(("values", "kept"), [(MOST_GROUPS, True), (MOST_GROUPS + 1, False)])
def test_an_attribute_that_groups_nothing_is_left_out(values: int, kept: bool) -> None:
    talk = conversation(*({"note": f"n{n}"} for n in range(values)))
    assert ("note" in groups_of(contexts(talk))) == kept


def test_gold_is_seen_if_one_relevant_passage_was_a_positive_of_training() -> None:
    qrels = {"a": {"p": 1, "q": 2}, "b": {"q": 1, "p": 0}, "c": {"r": 1}}
    assert gold_seen(qrels, {"p", "z"}) == {"a": ["seen"], "b": ["unseen"], "c": ["unseen"]}


def test_training_is_read_from_conversations_and_judgements(tmp_path: Path) -> None:
    talk = Conversation("c", (Turn("q", "r", positives=("a", "b"), negatives=("x",)),))
    write_conversations(tmp_path / "train.jsonl.gz", [talk])
    write_qrels(tmp_path / "train.tsv", {"q": {"c": 2, "y": 0}})
    assert read_positives([tmp_path / "train.jsonl.gz", tmp_path / "train.tsv"]) == {"a", "b", "c"}
    with pytest.raises(DataError, match=r"no\.jsonl: can't be read"):
        read_positives([tmp_path / "no.jsonl"])


def test_groups_are_read_back(tmp_path: Path) -> None:
    groups = {"depth": {"a": ["1"], "b": ["2"]}, "type": {"b": ["why", "how"]}}
    assert read_groups(tmp_path) == {}
    write_groups(tmp_path, ["a", "b"], groups)
    read = read_groups(tmp_path)
    assert {name: {id: [*of[id]] for id in of} for name, of in read.items()} == groups
    (tmp_path / "groups.jsonl").write_text('{"_id": "a", "depth": 3}\n')
    with pytest.raises(DataError, match=r"groups\.jsonl:1: field 'depth': is a number"):
        read_groups(tmp_path)
