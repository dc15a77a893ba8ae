from __future__ import annotations

import pytest

from uniconv.errors import MessagesError
from uniconv.messages import from_messages, to_messages
from uniconv.types import Conversation, Turn


def said(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in pairs]


def test_messages_are_turns() -> None:
    messages = said(("user", "Who?"), ("assistant", "She."), ("user", "When?"))
    conversation = from_messages(messages)
    assert conversation.turns == (Turn("Who?", "She."), Turn("When?"))
    assert to_messages(conversation) == messages
    assert to_messages(Conversation("c", (Turn("a", "b"),))) == said(
        ("user", "a"), ("assistant", "b")
    )


def test_a_users_messages_in_a_row_are_one_question() -> None:
    conversation = from_messages(said(("user", "Look."), ("user", "Who?")))
    assert conversation.turns == (Turn("Look.\n\nWho?"),)


@pytest.mark.parametrize("role", ["system", "developer"])
def test_instructions_are_left_out(role: str) -> None:
    assert from_messages(said((role, "Be kind."), ("user", "Who?"))).turns == (Turn("Who?"),)


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        (said(), "nothing is asked"),
        (said(("system", "Be kind.")), "nothing is asked"),
        (said(("user", "Who?"), ("assistant", "She.")), "nothing is asked"),
        (said(("assistant", "Hello."), ("user", "Who?")), "message 1: an assistant"),
        (
            said(("user", "a"), ("assistant", "b"), ("assistant", "c"), ("user", "d")),
            "message 3: an assistant",
        ),
        (said(("user", "a"), ("tool", "b")), "message 2: role 'tool' is unknown"),
    ],
)
def test_what_is_no_conversation_is_refused(messages: list[dict[str, str]], problem: str) -> None:
    with pytest.raises(MessagesError, match=problem):
        from_messages(messages)
