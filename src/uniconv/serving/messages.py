"""OpenAI's list of messages as a conversation whose last question is open."""

from __future__ import annotations

from collections.abc import Sequence

from uniconv.serving.errors import ApiError
from uniconv.serving.schemas import Message
from uniconv.types import Conversation, Turn

NO_INSTRUCTIONS = "system and developer messages are not used: the model was not trained with any"


def read_messages(messages: Sequence[Message]) -> tuple[Conversation, list[str]]:
    """The conversation, and warnings of what was left out of it.

    User messages that follow one another are one question.

    Raises:
        ApiError: the messages don't alternate, or don't end with a question.
    """
    warnings: list[str] = []
    turns: list[Turn] = []
    for number, message in enumerate(messages):
        text = message.content
        if message.role in ("system", "developer"):
            if NO_INSTRUCTIONS not in warnings:
                warnings.append(NO_INSTRUCTIONS)
        elif message.role == "assistant":
            if not turns or turns[-1].response is not None:
                raise _error(number, "an assistant's message must follow a user's")
            turns[-1] = Turn(turns[-1].query, text)
        elif not text.strip():
            raise _error(number, "a user's message must not be empty")
        elif turns and turns[-1].response is None:
            turns[-1] = Turn(f"{turns[-1].query}\n\n{text}")
        else:
            turns.append(Turn(text))
    if not turns or turns[-1].response is not None:
        raise _error(len(messages) - 1, "the last message must be the user's")
    return Conversation("request", tuple(turns)), warnings


def _error(number: int, problem: str) -> ApiError:
    param = f"messages.{number}"
    return ApiError(400, f"{param}: {problem}", "invalid_value", param=param)
