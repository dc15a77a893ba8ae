"""A client of OpenAI-compatible chat servers: one request at a time, with retries and timeouts."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from uniconv.errors import RemoteError, UniConvError
from uniconv.evaluation.prompts import Message
from uniconv.remote.server import Server

KEY_VARIABLE = "OPENAI_API_KEY"
_PATH = "/chat/completions"


@dataclass(frozen=True, slots=True)
class Completion:
    """What a server wrote, the tokens that it counted (0 where it says nothing), and seconds."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float


class ChatClient:
    """Asks ``model`` at ``url``, the base such as ``http://localhost:8000/v1``.

    The key is taken from the environment variable OPENAI_API_KEY, if it is set, and kept nowhere
    else. ``timeout`` (seconds), ``retries`` and ``pause`` are those of
    :class:`uniconv.remote.server.Server`.

    Raises:
        ConfigError: the URL isn't one of http or https.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        timeout: float = 120.0,
        retries: int = 4,
        pause: float = 1.0,
    ) -> None:
        base = url.rstrip("/").removesuffix(_PATH)
        self._server = Server(base, KEY_VARIABLE, timeout=timeout, retries=retries, pause=pause)
        self.url = f"{base}{_PATH}"
        self.model = model

    def complete(self, messages: Sequence[Message], max_tokens: int) -> Completion:
        """The reply to the messages, at temperature 0.

        Raises:
            UniConvError: the server refuses, replies something else, or can't be reached at all.
        """
        body = {
            "model": self.model,
            "messages": list(messages),
            "max_tokens": max_tokens,
            "temperature": 0,
        }
        started = time.perf_counter()
        try:
            reply = self._server.post(_PATH, body)
        except RemoteError as error:
            if not error.may_pass:
                raise
            raise UniConvError(
                f"{error}; what was done so far is kept, run the same command again when the "
                "server answers"
            ) from error
        return self._completion(reply, time.perf_counter() - started)

    def _completion(self, reply: bytes, seconds: float) -> Completion:
        try:
            value = json.loads(reply)
            text = value["choices"][0]["message"]["content"] or ""
            usage = value.get("usage") or {}
            if not isinstance(text, str):
                raise TypeError("the message's content is no text")
            return Completion(
                text.strip(),
                _count(usage, "prompt_tokens"),
                _count(usage, "completion_tokens"),
                seconds,
            )
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            start = reply[:200].decode("utf-8", "replace")
            raise UniConvError(
                f"{self.url}: the reply is no chat completion ({start!r}); is this the URL of an "
                "OpenAI-compatible server, with its /v1?"
            ) from error


def _count(usage: Any, name: str) -> int:
    value = usage.get(name)
    return value if isinstance(value, int) else 0
