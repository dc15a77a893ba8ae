"""A client of OpenAI-compatible chat servers: one request at a time, with retries and timeouts."""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from uniconv.errors import ConfigError, UniConvError
from uniconv.evaluation.prompts import Message

KEY_VARIABLE = "OPENAI_API_KEY"
_PASSING = {408, 409, 425, 429, 500, 502, 503, 504}
_LONGEST_PAUSE = 60.0


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
    else. ``timeout`` is in seconds; after a failure that may pass (no connection, a timeout, HTTP
    408, 409, 425, 429 or 5xx) a request is sent again ``retries`` times, after ``pause`` seconds
    and then twice as long each time, or as long as the server asks for.

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
        if not url.startswith(("http://", "https://")):
            raise ConfigError(f"'{url}' is no URL of a server; expected http://… or https://…")
        base = url.rstrip("/")
        self.url = base if base.endswith("/chat/completions") else f"{base}/chat/completions"
        self.model = model
        self._timeout = timeout
        self._retries = retries
        self._pause = pause

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
        reply = self._post(json.dumps(body).encode())
        return self._completion(reply, time.perf_counter() - started)

    def _post(self, body: bytes) -> bytes:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        key = os.environ.get(KEY_VARIABLE)
        if key:
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(self.url, body, headers)
        pause = self._pause
        for tries_left in reversed(range(self._retries + 1)):
            asked: float | None = None
            try:
                with urllib.request.urlopen(request, timeout=self._timeout) as response:
                    return bytes(response.read())
            except urllib.error.HTTPError as error:
                problem = _http_problem(error)
                asked = _retry_after(error)
                if error.code not in _PASSING:
                    raise UniConvError(f"{self.url}: {problem}") from error
            except (OSError, http.client.HTTPException) as error:
                problem = f"can't be reached ({getattr(error, 'reason', None) or error})"
            if tries_left:
                time.sleep(min(_LONGEST_PAUSE, pause if asked is None else asked))
                pause *= 2
        raise UniConvError(
            f"{self.url}: {problem}, {self._retries + 1} times in a row; what was done so far is "
            "kept, run the same command again when the server answers"
        )

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


def _http_problem(error: urllib.error.HTTPError) -> str:
    """The status and what the server says of it, a key that it may repeat blotted out."""
    try:
        said = " ".join(error.read(2000).decode("utf-8", "replace").split())[:300]
    except OSError:
        said = ""
    key = os.environ.get(KEY_VARIABLE)
    if key:
        said = said.replace(key, "…")
    hint = f"; set {KEY_VARIABLE}" if error.code in (401, 403) and not key else ""
    return f"answers HTTP {error.code} {error.reason}{f': {said}' if said else ''}{hint}"


def _retry_after(error: urllib.error.HTTPError) -> float | None:
    """Seconds, where the server names some (a date is not understood)."""
    try:
        return max(0.0, float(error.headers.get("Retry-After", "")))
    except ValueError:
        return None
