"""Answers as OpenAI's objects, with what UniConv adds in the field ``uniconv``."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from uniconv.plain import plain_citations, plain_passages
from uniconv.search import AnswerStream
from uniconv.types import Answer, Usage


def usage_json(usage: Usage) -> dict[str, Any]:
    """OpenAI's ``usage``."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }


@dataclass(frozen=True, slots=True)
class Reply:
    """A chat completion, whole or in chunks."""

    model: str
    warnings: Sequence[str] = ()
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, stream: AnswerStream, answer: Answer) -> dict[str, Any]:
        """The answer in one object."""
        message = {"role": "assistant", "content": answer.text, "refusal": None}
        about = self._found(stream) | _cited(answer) | {"timings": _rounded(answer.timings)}
        return {
            **self._object("chat.completion", message=message, finish=answer.finish_reason),
            "usage": usage_json(answer.usage),
            "uniconv": about,
        }

    def first(self, stream: AnswerStream) -> str:
        """The chunk that is sent when the passages are there and no text yet."""
        known = {name: stream.timings[name] for name in ("read", "retrieve")}
        about = self._found(stream) | {"timings": _rounded(known)}
        return self._chunk({"role": "assistant", "content": ""}, uniconv=about)

    def piece(self, text: str) -> str:
        """A chunk of text."""
        return self._chunk({"content": text})

    def last(self, answer: Answer) -> str:
        """The chunk that ends the text."""
        about = _cited(answer) | {
            "timings": _rounded(answer.timings),
            "usage": usage_json(answer.usage),
        }
        return self._chunk({}, finish=answer.finish_reason, uniconv=about)

    def usage(self, answer: Answer) -> str:
        """The chunk without a choice that ``stream_options.include_usage`` asks for."""
        chunk = self._object("chat.completion.chunk", delta={}) | {"choices": []}
        return event(chunk | {"usage": usage_json(answer.usage)})

    def _found(self, stream: AnswerStream) -> dict[str, Any]:
        passages = plain_passages(stream.passages)
        read = len(stream.read)
        return {
            "passages": [passage | {"read": passage["number"] <= read} for passage in passages],
            "found": stream.found,
            "confidence": stream.confidence,
            "warnings": list(self.warnings),
        }

    def _chunk(self, delta: Mapping[str, Any], finish: str | None = None, **more: Any) -> str:
        return event(self._object("chat.completion.chunk", delta=delta, finish=finish) | more)

    def _object(self, kind: str, *, finish: str | None = None, **content: Any) -> dict[str, Any]:
        choice = {"index": 0, **content, "logprobs": None, "finish_reason": finish}
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": [choice],
        }


def event(value: Mapping[str, Any]) -> str:
    """A server-sent event; JSON has no line ends that could end it early."""
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


DONE = "data: [DONE]\n\n"


def _cited(answer: Answer) -> dict[str, Any]:
    return {"citations": plain_citations(answer.citations)}


def _rounded(timings: Mapping[str, float]) -> dict[str, float]:
    """Seconds, to the microsecond."""
    return {name: round(seconds, 6) for name, seconds in timings.items()}
