"""The texts that sparse retrieval searches with."""

from __future__ import annotations

import pytest

from uniconv.config import QueryForm
from uniconv.errors import UniConvError
from uniconv.retrieval.queries import history_text, query_text
from uniconv.types import Conversation, Turn

TALK = Conversation("c", (Turn("Who?", "They."), Turn("When?", rewrite="When did they?")))


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("history", "Who? They. When?"),
        ("last", "When?"),
        ("questions", "Who? When?"),
        ("rewrite", "When did they?"),
    ],
)
def test_forms_of_a_query(form: QueryForm, text: str) -> None:
    assert query_text(TALK, form) == text


def test_a_missing_rewrite_is_named() -> None:
    with pytest.raises(UniConvError, match="query 'c_1' has no rewrite"):
        query_text(TALK.context(1), "rewrite")


def test_history_text_is_all_that_was_said() -> None:
    conversation = Conversation("c", (Turn("a", "b"), Turn("c")))
    assert history_text(conversation) == "a b c"
