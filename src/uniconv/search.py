"""Conversational search: read the conversation once, retrieve, answer, cite.

search = ConversationalSearch(UniConv.from_pretrained("models/mini"), Index.open("my-index"))
answer = search.ask(Conversation.start("Who built the tower?"))
print(answer.text, [citation.passage.title for citation in answer.citations])
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Literal, get_args

import numpy as np

from uniconv.citations import Marks, marked_numbers
from uniconv.decoding import Decoding, Generation
from uniconv.engine import Engine
from uniconv.errors import ConfigError
from uniconv.model import UniConv
from uniconv.quotations import respond
from uniconv.remote.model import RemoteModel
from uniconv.retrieval.filters import MetadataFilters, wanted
from uniconv.retrieval.interface import Index
from uniconv.retrieval.queries import fuse, fused_depth, history_text
from uniconv.types import (
    NOTHING_FOUND,
    Answer,
    Citation,
    Conversation,
    Passage,
    ScoredPassage,
    Usage,
)

Retriever = Literal["dense", "bm25", "hybrid"]


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """How a question is answered.

    ``retrieve`` passages are retrieved, the best ``read`` of them are read. ``hybrid`` fuses the
    model's scores with BM25's for the conversation and BM25's for the last question alone,
    because the history helps a follow-up and hurts a new topic. ``threshold`` overrides the model's
    calibrated one (see :meth:`ConversationalSearch.ranked`); ``nothing_found`` is what is said
    below it. ``quote`` overrides the model's setting of whether an answer is a sentence of
    the passages (:mod:`uniconv.quotations`). ``filters`` leave only passages whose metadata has
    the value, or one of the values, that they name for a field.
    """

    retriever: Retriever = "hybrid"
    retrieve: int = 10
    read: int = 3
    threshold: float | None = None
    quote: bool | None = None
    max_new_tokens: int = 128
    temperature: float = 0.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    nothing_found: str = NOTHING_FOUND
    filters: MetadataFilters = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.retriever not in get_args(Retriever):
            raise ConfigError(
                f"retriever '{self.retriever}' is unknown; choose one of "
                f"{', '.join(get_args(Retriever))}"
            )
        if not 1 <= self.read <= self.retrieve:
            raise ConfigError(
                f"read must be from 1 to retrieve ({self.retrieve}) passages, not {self.read}"
            )
        if self.max_new_tokens < 1:
            raise ConfigError(f"max_new_tokens must be 1 or more, not {self.max_new_tokens}")
        try:
            wanted(self.filters)
            _ = self.decoding
        except ValueError as error:
            raise ConfigError(str(error)) from error

    @property
    def decoding(self) -> Decoding:
        """How answers are written.

        Raises:
            ValueError: a value is out of range.
        """
        names = ("max_new_tokens", "temperature", "top_p", "stop", "seed")
        return Decoding(stop_loops=True, **{name: getattr(self, name) for name in names})


@dataclass(slots=True)
class AnswerStream:
    """An answer while it is written: iterate for its text, then take ``answer``.

    ``passages`` are known before the first piece of text; of them the model reads ``read``, which
    its marks point to. ``confidence``, the model's own score of the first passage, a cosine,
    decided on ``found``; it is None where there are no passages. ``cached_tokens`` of the
    conversation had been read for an earlier turn. Marks that point nowhere never show.
    :meth:`close` ends it early.
    """

    passages: tuple[ScoredPassage, ...]
    found: bool
    confidence: float | None
    read: Sequence[Passage]
    cached_tokens: int
    _generation: Generation
    _timings: dict[str, float]
    _started: float
    _text: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[str]:
        begun = time.perf_counter()
        for piece in Marks(len(self.read)).clean(self._generation):
            shown = piece if self._text else piece.lstrip()
            if shown:
                self._timings.setdefault("first_text", time.perf_counter() - self._started)
                self._text.append(shown)
                yield shown
        now = time.perf_counter()
        self._timings |= {"write": now - begun, "total": now - self._started}

    @property
    def answer(self) -> Answer:
        """The whole answer; writes what isn't written yet."""
        if "total" not in self._timings:
            for _ in self:
                pass
        text = "".join(self._text).strip()
        cited = marked_numbers(text)
        cached = self._generation.cached_tokens
        return Answer(
            text=text,
            citations=tuple(Citation(number, self.read[number - 1]) for number in cited),
            passages=self.passages,
            found=self.found,
            timings=dict(self._timings),
            usage=Usage(
                self._generation.prompt_tokens,
                self.cached_tokens if cached is None else cached,
                self._generation.completion_tokens,
            ),
            finish_reason=self._generation.finish_reason,
        )

    @property
    def timings(self) -> Mapping[str, float]:
        """Seconds by stage, of the stages that are over."""
        return dict(self._timings)

    def close(self) -> None:
        """Stops writing; what is there is the answer."""
        self._generation.close()


class ConversationalSearch:
    """Answers the open question of a conversation from an index, with one model.

    With an :class:`uniconv.engine.Engine` in the model's place, several threads can ask at once,
    and what was read of a conversation serves its next turn. So it is with a
    :class:`uniconv.remote.model.RemoteModel`, of which other servers run the LM.

    Raises:
        IndexFolderError: the index was made by another model.
    """

    def __init__(
        self,
        model: UniConv | Engine | RemoteModel,
        index: Index,
        settings: SearchSettings | None = None,
    ) -> None:
        index.check_model(model)
        self.model = model
        self.index = index
        self.settings = settings or SearchSettings()

    def ask(self, conversation: Conversation | str) -> Answer:
        """The answer to the conversation's open question, or to a question that starts one."""
        return self.stream(conversation).answer

    def stream(
        self,
        conversation: Conversation | str,
        settings: SearchSettings | None = None,
        cancelled: Event | None = None,
    ) -> AnswerStream:
        """Retrieves at once; the answer is written as the result is iterated.

        ``settings`` hold for this question, in place of the search's own. ``cancelled``, set by
        another thread, ends an engine's reading with :class:`concurrent.futures.CancelledError`.
        """
        started = time.perf_counter()
        settings = settings or self.settings
        if isinstance(conversation, str):
            conversation = Conversation.start(conversation)
        reading = self.model.read(conversation, cancelled)
        read = time.perf_counter()
        passages, scores = self.ranked(conversation, reading.embedding, settings)
        timings = {"read": read - started, "retrieve": time.perf_counter() - read}
        confidence = scores[0] if passages else None
        found = bool(passages) and self._is_found(confidence, settings)
        cited: Sequence[Passage] = ()
        if found:
            best = [scored.passage for scored in passages[: settings.read]]
            cited = self.model.fitting(reading, best, settings.max_new_tokens)
            generation = respond(
                self.model, conversation, reading, cited, settings.decoding, settings.quote
            )
        else:
            generation = Generation.fixed(settings.nothing_found, len(reading.tokens))
        return AnswerStream(
            tuple(passages), found, confidence, cited, reading.cached, generation, timings, started
        )

    def retrieve(
        self, conversation: Conversation, settings: SearchSettings | None = None
    ) -> list[ScoredPassage]:
        """The passages for the conversation's open question, best first."""
        settings = settings or self.settings
        if settings.retriever == "bm25":
            return self._retrieve(conversation, [], settings)
        embedding = self.model.read(conversation).embedding
        return self.ranked(conversation, embedding, settings)[0]

    def ranked(
        self, conversation: Conversation, embedding: np.ndarray, settings: SearchSettings
    ) -> tuple[list[ScoredPassage], list[float]]:
        """The passages for a conversation of this embedding, best first, and the model's scores.

        The model's own score of the first, whatever retrieved it, is the confidence in an answer:
        it tells more than the score of the model's own best, than sums of fused scores, and than
        how far it stands out from those of other passages (docs/lab-log.md). Of passages that
        are not among the model's first hundred it is the lowest of these.
        """
        depth = settings.retrieve
        if settings.retriever != "dense":
            depth = fused_depth(depth)
        dense = self.index.search(embedding[None], depth, settings.filters)[0]
        passages = self._retrieve(conversation, dense, settings)
        own = {scored.passage.id: scored.score for scored in dense}
        return passages, [own.get(one.passage.id, dense[-1].score) for one in passages]

    def _retrieve(
        self, conversation: Conversation, dense: list[ScoredPassage], settings: SearchSettings
    ) -> list[ScoredPassage]:
        k, filters = settings.retrieve, settings.filters
        if settings.retriever == "dense":
            return dense
        if settings.retriever == "bm25":
            return self.index.search_text([history_text(conversation)], k, filters)[0]
        return fuse(self.index, [conversation], [dense], k, filters)[0]

    def _is_found(self, confidence: float | None, settings: SearchSettings) -> bool:
        threshold = settings.threshold
        if threshold is None:
            threshold = self.model.settings.threshold
        return threshold is None or (confidence is not None and confidence >= threshold)
