"""Answers that another server writes, of prompts sent as tokens to ``/v1/completions``.

Only so is a prompt exactly UniConv's, with the conversation as its prefix, which a server with
prefix caching reads once; and text in a passage stays text. vLLM also tells the tokens that it
writes (``return_token_ids``, since 0.10.2), so an answer ends where the model itself would end it,
and goes on where a connection was lost.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from uniconv.decoding import Writer
from uniconv.errors import RemoteError
from uniconv.remote.listing import served
from uniconv.remote.server import Events, Server
from uniconv.templates import Template
from uniconv.types import Conversation, FinishReason

_PATH = "/completions"
_REFUSED = (400, 404, 405, 422)
_NEUTRAL = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
"""vLLM would take these from the model's generation_config.json."""


class Generator:
    """The LM of ``server``, under ``model`` or the only name that it serves.

    ``tells_tokens`` is found by trying: whether the server, as vLLM does, tells the tokens that it
    writes. Where it doesn't, it must end answers itself, loops are not noticed, and an answer whose
    connection is lost can't go on.

    Raises:
        RemoteError: the server can't be reached, doesn't serve the model, takes no tokens, or
            writes other tokens than the template's.
    """

    def __init__(self, server: Server, template: Template, model: str | None = None) -> None:
        self._server = server
        found = served(server, model)
        self.name = found.name
        self.max_tokens = found.max_tokens
        self.tells_tokens = self._try(template)

    def write(self, prompt: Sequence[int], writer: Writer) -> Pieces:
        """Text after ``prompt``, as it comes, until the writer has finished."""
        return Pieces(self, prompt, writer)

    def begin(self, prompt: Sequence[int], writer: Writer) -> Events:
        """What the server tells while it writes after ``prompt`` and what the writer has."""
        decoding = writer.decoding
        written = [] if not self.tells_tokens else list(writer.tokens)
        body = {
            "model": self.name,
            "prompt": [*prompt, *written],
            "max_tokens": decoding.max_new_tokens - len(written),
            "temperature": decoding.temperature,
            "top_p": decoding.top_p,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if decoding.seed is not None:
            body["seed"] = decoding.seed
        if self.tells_tokens:
            body |= _with_tokens(writer.ends)
        elif decoding.stop:
            body["stop"] = list(decoding.stop)[:4]  # all of them are found in the text, too
        return self._server.stream(_PATH, body)

    def _try(self, template: Template) -> bool:
        """Has a few tokens written; tells whether the server told them."""
        body = {
            "model": self.name,
            "prompt": template.prompt(Conversation.start("What is this about?")),
            "max_tokens": 8,
            "temperature": 0,
        }
        try:
            choice = self._choice(body | _with_tokens(template.stop))
        except RemoteError as error:
            if error.status not in _REFUSED:
                raise
            choice = self._plainly(body)  # some servers refuse fields that they don't know
        tokens = choice.get("token_ids")
        if not isinstance(tokens, list):
            return False
        text = str(template.tokenizer.decode(tokens, skip_special_tokens=True))
        if text.strip("\ufffd \n") != str(choice["text"]).strip("\ufffd \n"):
            raise RemoteError(
                self._server.url + _PATH,
                "its tokens mean something else: it serves a model with another tokenizer; export "
                "the index's model for it ('uniconv export')",
            )
        return True

    def _plainly(self, body: dict[str, Any]) -> dict[str, Any]:
        try:
            return self._choice(body)
        except RemoteError as error:
            if error.status not in _REFUSED:
                raise
            raise RemoteError(
                self._server.url + _PATH,
                "takes no prompts of tokens, which UniConv's are, so that the conversation is "
                "their prefix; vLLM and llama.cpp's server take them at /v1/completions, and a "
                f"chat endpoint alone is not enough ({error.problem})",
                status=error.status,
            ) from error

    def _choice(self, body: dict[str, Any]) -> dict[str, Any]:
        reply = self._server.post(_PATH, body)
        try:
            choice = json.loads(reply)["choices"][0]
            if not isinstance(choice["text"], str):
                raise TypeError("its text is none")
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise RemoteError(
                self._server.url + _PATH, "the reply is no completion", repr(reply[:200])
            ) from error
        found: dict[str, Any] = choice
        return found


class Pieces(Iterator[str]):
    """An answer's text as it comes; it may be closed from another thread."""

    def __init__(self, generator: Generator, prompt: Sequence[int], writer: Writer) -> None:
        self._generator = generator
        self._prompt = prompt
        self._writer = writer
        self._closed = False
        self._known = 0
        self._events: Events | None = None
        if writer.finish_reason is None:
            self._events = generator.begin(prompt, writer)

    def __next__(self) -> str:
        while self._events is not None and not self._closed:
            try:
                event = next(self._events)
            except StopIteration:
                self._events = None
                if self._writer.finish_reason is None and not self._closed:
                    return self._writer.end("stop")
            except RemoteError as error:
                self._go_on(error)
            else:
                if piece := self._take(event):
                    return piece
        raise StopIteration

    def close(self) -> None:
        """The server stops writing; what has come stays."""
        self._closed = True
        if (events := self._events) is not None:
            events.close()

    def _take(self, event: dict[str, Any]) -> str:
        """The text of one event. Counts come last, after the end of the text."""
        writer, tells_tokens = self._writer, self._generator.tells_tokens
        _note(writer, event.get("usage"), tells_tokens)
        text = ""
        ended: str | None = None
        for choice in event.get("choices") or []:
            ended = choice.get("finish_reason")
            for token in choice.get("token_ids") or [] if tells_tokens else []:
                if writer.finish_reason is None:
                    text += writer.push(int(token))
            if not tells_tokens and writer.finish_reason is None:
                text += writer.push_text(choice.get("text") or "")
        if ended and writer.finish_reason is None:
            text += writer.end(_reason(ended))
        elif writer.finish_reason and event.get("choices") and not ended and self._events:
            self._events.close()  # we see the end before the server does
        return text

    def _go_on(self, error: RemoteError) -> None:
        """Begins again after what is written, where a connection was lost that had brought some."""
        length = len(self._writer.tokens)
        if self._writer.finish_reason is not None:  # only the counts are missing
            self._events = None
        elif error.lost and length > self._known:
            self._known = length
            self._events = self._generator.begin(self._prompt, self._writer)
        else:
            raise error


def _with_tokens(ends: frozenset[int]) -> dict[str, Any]:
    """What vLLM knows beyond OpenAI's protocol: it is to stop where the template does."""
    return {
        "return_token_ids": True,
        "stop_token_ids": sorted(ends),
        "ignore_eos": True,
        **_NEUTRAL,
    }


def _reason(told: str) -> FinishReason:
    return "length" if told == "length" else "stop"


def _note(writer: Writer, usage: Any, tells_tokens: bool) -> None:
    """Keeps a server's counts. Of an answer that was begun again, the prompt is the first one's."""
    if not isinstance(usage, dict):
        return
    if not tells_tokens:
        writer.told.completion_tokens = usage.get("completion_tokens")
    if writer.told.cached_tokens is None:
        writer.told.cached_tokens = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
