"""What a conversation is searched with."""

from __future__ import annotations

import pytest

from uniconv.config import QueryForm
from uniconv.errors import UniConvError
from uniconv.retrieval.queries import query_text
from uniconv.types import Conversation, Turn

CONVERSATION = Conversation(
    "c",
    (
        Turn("Where is the tower?", "Near the harbour."),
        Turn("Thanks.", "Welcome."),
        Turn("And what crosses it?", "A bridge.", "What crosses the river?"),
    ),
)


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("last", "And what crosses it?"),
        ("questions", "Where is the tower? Thanks. And what crosses it?"),
        (
            "history",
            "Where is the tower? Near the harbour. Thanks. Welcome. And what crosses it?",
        ),
        ("rewrite", "What crosses the river?"),
    ],
)
def test_forms_of_a_query(form: QueryForm, text: str) -> None:
    assert query_text(CONVERSATION.context(3), form) == text


def test_a_missing_rewrite_names_the_query() -> None:
    with pytest.raises(UniConvError, match="query 'c_1' has no rewrite"):
        query_text(CONVERSATION.context(1), "rewrite")
