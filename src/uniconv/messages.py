"""Chat messages, the form in which other programs hold a conversation: a role and a text each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from uniconv.errors import MessagesError
from uniconv.types import Conversation, Turn

UNUSED_ROLES = frozenset({"system", "developer"})
"""Roles that are accepted and left out: no prompt of UniConv has a place for them."""


def from_messages(messages: Iterable[Mapping[str, str]]) -> Conversation:
    """The conversation of messages with ``role`` and ``content``, the last one the user's.

    Messages that a user sends one after another are one question.

    Raises:
        MessagesError: there is no question, or an answer has none before it.
    """
    turns: list[Turn] = []
    for number, message in enumerate(messages, start=1):
        role, content = message["role"], message["content"]
        if role in UNUSED_ROLES:
            continue
        waits = bool(turns) and turns[-1].response is None
        if role == "user":
            if waits:
                turns[-1] = Turn(f"{turns[-1].query}\n\n{content}")
            else:
                turns.append(Turn(content))
        elif role == "assistant":
            if not waits:
                raise MessagesError(
                    f"message {number}: an assistant's message must follow a user's; send the "
                    "conversation as user and assistant in turn"
                )
            turns[-1] = Turn(turns[-1].query, content)
        else:
            raise MessagesError(
                f"message {number}: role '{role}' is unknown; use user, assistant or system"
            )
    if not turns or turns[-1].response is not None:
        raise MessagesError("the last message must be the user's: nothing is asked")
    return Conversation("messages", tuple(turns))


def to_messages(conversation: Conversation) -> list[dict[str, str]]:
    """The messages of a conversation."""
    messages = []
    for turn in conversation.turns:
        messages.append({"role": "user", "content": turn.query})
        if turn.response is not None:
            messages.append({"role": "assistant", "content": turn.response})
    return messages
