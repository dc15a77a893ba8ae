"""Conversations as JSONL."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uniconv.data.conversations import qrels_of, read_conversations, write_conversations
from uniconv.errors import DataError
from uniconv.types import Conversation, Turn

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
IDS = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=8)
QUERIES = TEXT.filter(str.strip)
PASSAGE_IDS = st.lists(IDS, max_size=3).map(tuple)
ATTRIBUTES = st.dictionaries(TEXT, TEXT, max_size=2)
REST = (st.none() | TEXT, PASSAGE_IDS, PASSAGE_IDS, ATTRIBUTES)
TURNS = st.builds(Turn, QUERIES, TEXT, *REST)
LAST = st.builds(Turn, QUERIES, st.none() | TEXT, *REST)
CONVERSATIONS = st.lists(
    st.builds(
        lambda id, turns, last: Conversation(id, (*turns, last)),
        IDS,
        st.lists(TURNS, max_size=3),
        LAST,
    ),
    max_size=4,
    unique_by=lambda one: one.id,
)


@given(CONVERSATIONS)
def test_conversations_survive_writing_and_reading(
    tmp_path_factory: pytest.TempPathFactory, conversations: list[Conversation]
) -> None:
    path = tmp_path_factory.mktemp("conversations") / "dev.jsonl"
    write_conversations(path, conversations)
    assert list(read_conversations(path)) == conversations


def read(tmp_path: Path, value: object) -> list[Conversation]:
    path = tmp_path / "dev.jsonl"
    path.write_text(json.dumps(value) + "\n")
    return list(read_conversations(path))


def test_unknown_keys_are_ignored_and_optional_ones_may_be_null(tmp_path: Path) -> None:
    turn = {"query": "q", "response": None, "rewrite": None, "positives": None, "mood": 3}
    assert read(tmp_path, {"id": "a", "turns": [turn], "source": []}) == [
        Conversation("a", (Turn("q"),))
    ]


@pytest.mark.parametrize(
    ("value", "field", "says"),
    [
        ({"turns": [{"query": "q"}]}, "id", "is missing"),
        ({"id": 3, "turns": [{"query": "q"}]}, "id", "is a number; expected a string"),
        ({"id": "a"}, "turns", "is missing; expected a list"),
        ({"id": "a", "turns": []}, "turns", "at least one turn"),
        ({"id": "a", "turns": ["q"]}, "turns[0]", "is a string; expected an object"),
        ({"id": "a", "turns": [{"query": " "}]}, "turns[0].query", "is empty"),
        ({"id": "a", "turns": [{"query": "q", "response": 1}]}, "turns[0].response", "a number"),
        (
            {"id": "a", "turns": [{"query": "q", "positives": "p"}]},
            "turns[0].positives",
            "is a string; expected a list",
        ),
        (
            {"id": "a", "turns": [{"query": "q", "positives": ["p", "\n"]}]},
            "turns[0].positives[1]",
            "expected an id",
        ),
        (
            {"id": "a", "turns": [{"query": "q", "response": "r"}, {"query": "q"}, {"query": "q"}]},
            "turns[1].response",
            "turn 2 is not the last",
        ),
    ],
)
def test_wrong_fields_are_named(tmp_path: Path, value: object, field: str, says: str) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path, value)
    assert (caught.value.line, caught.value.field) == (1, field)
    assert says in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "id": JSON,
            "turns": JSON
            | st.lists(
                st.fixed_dictionaries(
                    {},
                    optional=dict.fromkeys(
                        ("query", "response", "rewrite", "positives", "negatives"), JSON
                    ),
                ),
                max_size=3,
            ),
        },
    )
)
def test_any_object_is_a_conversation_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, value: object
) -> None:
    try:
        conversations = read(tmp_path_factory.mktemp("any"), value)
    except DataError:
        return
    assert all(isinstance(turn.query, str) for one in conversations for turn in one.turns)


@given(st.data())
def test_a_line_with_a_changed_byte_is_a_conversation_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("changed") / "dev.jsonl"
    write_conversations(path, [Conversation("a", (Turn("q", "r", "w", ("p",), ("n",)),))])
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        conversations = list(read_conversations(path))
    except DataError:
        return
    assert len(conversations) <= 1


def test_positives_are_judgements_under_the_turns_query_ids() -> None:
    turns = (Turn("q", "r", positives=("p", "o")), Turn("q", "r"), Turn("q", positives=("n",)))
    assert qrels_of([Conversation("a", turns)]) == {"a_1": {"p": 1, "o": 1}, "a_3": {"n": 1}}
