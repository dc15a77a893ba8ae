"""What writes responses: a UniConv model, an OpenAI-compatible server, or the best sentence."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from uniconv.citations import Marks
from uniconv.evaluation.chat_api import ChatClient
from uniconv.evaluation.grounding import content_words
from uniconv.evaluation.prompts import CHECKSUM, answer_messages
from uniconv.sentences import sentences
from uniconv.types import Conversation, Passage

if TYPE_CHECKING:
    from uniconv.model import UniConv

EXTRACTIVE = "extractive"
"""The name of the generator that copies the best sentence of the first passage."""

NO_ANSWER = "I don't know."


@dataclass(frozen=True, slots=True)
class Response:
    """A response, the passages that were read for it, and seconds by stage.

    ``tokens`` are those that a server counted, ``found`` and ``confidence`` what a search says of
    the passages.
    """

    text: str
    read: Sequence[Passage]
    timings: Mapping[str, float]
    tokens: Mapping[str, int] = field(default_factory=dict)
    found: bool = True
    confidence: float | None = None


class Generator(Protocol):
    """What responds to the open question of a conversation with the passages it is given."""

    @property
    def identity(self) -> dict[str, Any]:
        """All that its responses depend on, as JSON; without paths, which say nothing of it."""

    def respond(self, conversation: Conversation, passages: Sequence[Passage]) -> Response:
        """The response; marks point to ``Response.read``."""


class ModelGenerator:
    """A UniConv model, or any causal LM that one can be made of. Greedy."""

    def __init__(self, model: UniConv, max_new_tokens: int, quote: bool | None = None) -> None:
        self._model = model
        self._max_new_tokens = max_new_tokens
        self._quote = model.quotes if quote is None else quote

    @property
    def identity(self) -> dict[str, Any]:
        """The weights' and template's fingerprint, the template's limits, whether it quotes."""
        return {**model_identity(self._model), "quote": self._quote}

    def respond(self, conversation: Conversation, passages: Sequence[Passage]) -> Response:
        """As search does: passages that the context can't hold are not read."""
        from uniconv.decoding import Decoding  # which bring torch, for which the help needn't wait
        from uniconv.quotations import respond

        started = time.perf_counter()
        reading = self._model.read(conversation)
        read = self._model.fitting(reading, passages, self._max_new_tokens)
        begun = time.perf_counter()
        decoding = Decoding(max_new_tokens=self._max_new_tokens, stop_loops=True)
        pieces = respond(self._model, conversation, reading, read, decoding, self._quote)
        text = "".join(Marks(len(read)).clean(pieces)).strip()
        timings = {"read": begun - started, "write": time.perf_counter() - begun}
        return Response(text, read, timings)


def model_identity(model: UniConv) -> dict[str, Any]:
    """What a model's responses depend on."""
    return {"fingerprint": model.fingerprint, "limits": asdict(model.template.limits)}


class ApiGenerator:
    """A model behind an OpenAI-compatible server, prompted as ``prompts.py`` says."""

    def __init__(self, client: ChatClient, max_new_tokens: int) -> None:
        self._client = client
        self._max_new_tokens = max_new_tokens

    @property
    def identity(self) -> dict[str, Any]:
        """Server, model and prompts. What weights the server holds can't be seen from here."""
        return {"url": self._client.url, "model": self._client.model, "prompts": CHECKSUM}

    def respond(self, conversation: Conversation, passages: Sequence[Passage]) -> Response:
        """Raises a UniConvError where the server fails for good."""
        reply = self._client.complete(answer_messages(conversation, passages), self._max_new_tokens)
        text = "".join(Marks(len(passages)).clean([reply.text])).strip()
        tokens = {"prompt": reply.prompt_tokens, "completion": reply.completion_tokens}
        return Response(text, passages, {"write": reply.seconds}, tokens)


class ExtractiveGenerator:
    """Copies the sentence of the first passage that shares most with the question.

    Sentences are compared by how many of the last question's content words they hold, then by how
    many of the whole conversation's; the first one wins. It declines without passages.
    """

    identity: dict[str, Any] = {"name": EXTRACTIVE, "version": 1}  # noqa: RUF012

    def respond(self, conversation: Conversation, passages: Sequence[Passage]) -> Response:
        """The sentence with the mark [1]."""
        started = time.perf_counter()
        found = sentences(passages[0].text) if passages else []
        if not found:
            return Response(NO_ANSWER, passages[:1], {"write": time.perf_counter() - started})
        question = set(content_words(conversation.turns[-1].query))
        said = [text for turn in conversation.turns for text in (turn.query, turn.response or "")]
        history = {word for text in said for word in content_words(text)}

        def overlap(sentence: str) -> tuple[int, int]:
            words = set(content_words(sentence))
            return len(words & question), len(words & history)

        best = max(found, key=overlap)
        return Response(f"{best} [1]", passages[:1], {"write": time.perf_counter() - started})
