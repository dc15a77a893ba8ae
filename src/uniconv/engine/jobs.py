"""What the engine does for a request, a few tokens at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Event
from typing import Any

import numpy as np
import torch
from torch import Tensor

from uniconv.conversational import Reading
from uniconv.decoding import Sampler, Writer
from uniconv.engine.drafts import PromptLookup
from uniconv.engine.kv import KVBuffer
from uniconv.engine.sessions import Session, SessionCache
from uniconv.model import UniConv


@dataclass(slots=True)
class Counts:
    """What jobs did; only the engine's thread counts.

    Conversations of which a beginning was found (``hits``) or not, and their tokens. Tokens of
    answers: of those ``written``, ``guessed_right`` took no pass of their own.
    """

    hits: int = 0
    misses: int = 0
    reused: int = 0
    read: int = 0
    written: int = 0
    guessed: int = 0
    guessed_right: int = 0


class Job(ABC):
    """A sequence of tokens to read, and what becomes of it.

    The engine asks for the next tokens, reads them into ``kv``, and tells what came of it, until
    the job is ``done``. ``cancelled`` may be set from any thread. The ``session`` that it goes on
    with, if any, is given back at the end.
    """

    kv: KVBuffer
    session: Session | None = None
    background: bool = False
    """Whether it comes after all else."""

    def __init__(self, tokens: list[int], cancelled: Event | None = None) -> None:
        self.pending = tokens
        self.cancelled = cancelled or Event()
        self.done = False

    @property
    def reads(self) -> bool:
        """Whether there are tokens left that are known beforehand."""
        return bool(self.pending)

    @abstractmethod
    def begin(self, cache: SessionCache) -> None:
        """Finds out what has been read already."""

    def next(self, room: int) -> list[int]:
        """The next tokens to read, at most ``room``; at least one."""
        return self.pending[:room]

    def predictions(self, count: int) -> int:
        """After how many of the last of ``count`` tokens the next one is asked for."""
        del count
        return 0

    @abstractmethod
    def advance(self, states: Tensor, logits: Tensor) -> None:
        """Takes the states [n, d] of tokens that were read, and logits [m, v] after the last m."""

    @abstractmethod
    def fail(self, error: BaseException) -> None:
        """Tells whoever waits that there will be no result."""

    def end(self, cache: SessionCache) -> None:
        """Gives back what it took."""
        if self.session is not None:
            cache.give_back(self.session)


class Embedding(Job):
    """Embeds a sequence that ends with the marker; nothing of it is kept."""

    def __init__(
        self,
        model: UniConv,
        tokens: list[int],
        cancelled: Event | None = None,
        *,
        background: bool = False,
    ) -> None:
        super().__init__(tokens, cancelled)
        self.background = background
        self.result: Future[Any] = Future()
        self._model = model
        self._states: list[Tensor] = []

    def begin(self, cache: SessionCache) -> None:
        del cache
        self.kv = KVBuffer(len(self.pending))

    def advance(self, states: Tensor, logits: Tensor) -> None:
        del logits
        self.pending = self.pending[len(states) :]
        if self._model.settings.pooling == "last":
            states = states[-1:]
            self._states.clear()
        self._states.append(states)
        if not self.pending:
            self.done = True
            self.result.set_result(self._value())

    def fail(self, error: BaseException) -> None:
        self.result.set_exception(error)

    def _value(self) -> Any:
        return self._embedding()

    def _embedding(self) -> np.ndarray:
        """float32 [d]."""
        hidden = torch.cat(self._states)
        path = torch.arange(len(hidden), device=hidden.device)
        return self._model.pool(hidden, [path])[0].cpu().numpy()


class ReadingJob(Embedding):
    """Reads a conversation and the marker, which is a branch that isn't kept."""

    def __init__(
        self, model: UniConv, tokens: list[int], counts: Counts, cancelled: Event | None
    ) -> None:
        super().__init__(model, [*tokens, model.template.marker], cancelled)
        self._tokens = tokens
        self._counts = counts
        self._cached = 0

    def begin(self, cache: SessionCache) -> None:
        # Other poolings need the states of all tokens, which a cache of keys and values lacks.
        reuses = self._model.settings.pooling == "last"
        self.session = cache.take(self._tokens) if reuses else cache.fresh()
        self.kv = self.session.kv
        self._cached = self.kv.length
        self._counts.hits += self._cached > 0
        self._counts.misses += self._cached == 0
        self._counts.reused += self._cached
        self._counts.read += len(self._tokens) - self._cached
        self.kv.reserve(len(self.pending))
        self.pending = self.pending[self._cached :]

    def advance(self, states: Tensor, logits: Tensor) -> None:
        assert self.session is not None
        self.session.know(self._tokens)
        super().advance(states, logits)

    def _value(self) -> Reading:
        return Reading(self._tokens, self._embedding(), self._cached)


class Writing(Job):
    """Goes on from a conversation with a suffix, token by token; ``pieces`` of text come out.

    After the last piece comes None, after a failure the error.
    """

    def __init__(
        self,
        tokens: list[int],
        suffix: list[int],
        writer: Writer,
        sampler: Sampler,
        drafts: PromptLookup | None,
        counts: Counts,
    ) -> None:
        super().__init__(tokens + suffix)
        self.pieces: SimpleQueue[str | BaseException | None] = SimpleQueue()
        self._conversation = tokens
        self._prompt = self.pending
        self._writer = writer
        self._sampler = sampler
        self._drafts = drafts
        self._counts = counts
        self._last = 0
        self._guess: list[int] = []

    def begin(self, cache: SessionCache) -> None:
        self.session = cache.take(self._conversation)
        self.kv = self.session.kv
        # The state after the last token of the prompt is wanted, even if it has been read.
        self.kv.crop(len(self._prompt) - 1)
        self.kv.reserve(len(self._prompt) + self._writer.max_new_tokens)
        self.pending = self._prompt[self.kv.length :]

    def next(self, room: int) -> list[int]:
        if self.pending:
            return self.pending[:room]
        self._guess = []
        if self._drafts is not None and room > 1:
            self._guess = self._drafts.guess(self._writer.tokens, room - 1)
        return [self._last, *self._guess]

    def predictions(self, count: int) -> int:
        if self.pending:
            return 1 if count == len(self.pending) else 0
        return count

    def advance(self, states: Tensor, logits: Tensor) -> None:
        assert self.session is not None
        self.session.know(self._conversation)
        if self.pending:
            self.pending = self.pending[len(states) :]
        if self.pending:
            return
        right = 0
        for place, row in enumerate(logits):
            self._last = self._sampler(row)
            piece = self._writer.push(self._last)
            if piece:
                self.pieces.put(piece)
            if self._writer.finish_reason is not None:
                self.done = True
                self.pieces.put(None)
                break
            if place < len(self._guess) and self._guess[place] == self._last:
                right += 1
            else:
                break
        self._check(right)

    def _check(self, right: int) -> None:
        """Forgets the guessed tokens that turned out wrong."""
        self.kv.crop(self.kv.length - len(self._guess) + right)
        if self._drafts is not None:
            self._drafts.learn(len(self._guess), right)
        self._counts.written += 1 + right
        self._counts.guessed += len(self._guess)
        self._counts.guessed_right += right
        self._guess = []

    def fail(self, error: BaseException) -> None:
        self.pieces.put(error)


class Pieces(Iterator[str]):
    """The pieces of an answer as they come; whoever stops listening ends the writing."""

    def __init__(self, job: Writing) -> None:
        self._job = job

    def __next__(self) -> str:
        piece = None if self._job.cancelled.is_set() else self._job.pieces.get()
        if isinstance(piece, BaseException):
            self.close()
            raise piece
        if piece is None:
            self.close()
            raise StopIteration
        return piece

    def close(self) -> None:
        """Frees the answer's place at the engine's next step; any thread may do it."""
        self._job.cancelled.set()
        self._job.pieces.put(None)  # wakes the one that listens

    __del__ = close
