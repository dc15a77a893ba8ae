"""The order of work: one thread takes all requests through the LM together.

Each step is one pass over the next tokens of every answer that is being written and some tokens of
every prompt that is being read, so that a long prompt holds nobody up; what room is left goes to
sequences that are only embedded.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from threading import Condition, Thread
from typing import NamedTuple

import torch

from uniconv.engine.jobs import Counts, Job
from uniconv.engine.ragged import Chunk, run
from uniconv.engine.sessions import SessionCache
from uniconv.errors import UniConvError
from uniconv.model import UniConv

log = logging.getLogger(__name__)


class EngineBusy(UniConvError):
    """More requests wait than the engine takes; try again later."""


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How an engine shares its time and memory.

    ``cache_bytes`` bound what is kept of conversations; ``running`` requests are worked on at once,
    ``waiting`` more may wait. A step takes about ``step_tokens`` (0: 512 on a CPU, 2048 on a GPU),
    of which ``draft_tokens`` may be guesses (0: none).
    """

    cache_bytes: int = 1 << 30
    running: int = 32
    waiting: int = 256
    step_tokens: int = 0
    draft_tokens: int = 32


@dataclass(frozen=True, slots=True)
class Statistics:
    """What an engine has done since it began (``counts``, ``steps``), and what it is at now."""

    counts: Counts
    steps: int
    cache_bytes: int
    sessions: int
    running: int
    waiting: int


_LEAST_READ = 16
"""Fewer tokens of a prompt at a time wouldn't be worth their place in a step."""


class Step(NamedTuple):
    """A job and the tokens that it reads next."""

    job: Job
    tokens: list[int]


class Scheduler:
    """Does jobs, many at a time, in a thread of its own."""

    def __init__(self, model: UniConv, settings: EngineSettings) -> None:
        self._model = model
        self._settings = settings
        on_gpu = model.device.type == "cuda"
        self._step_tokens = settings.step_tokens or (2048 if on_gpu else 512)
        self._cache = SessionCache(settings.cache_bytes)
        self._waiting: deque[Job] = deque()
        self._background: deque[Job] = deque()
        self._running: list[Job] = []
        self._steps = 0
        self.counts = Counts()
        self._closing = False
        self._changed = Condition()
        self._thread = Thread(target=self._work, name="uniconv-engine", daemon=True)
        self._thread.start()

    def submit(self, jobs: Iterable[Job], *, bounded: bool = False) -> None:
        """Adds jobs; what is only embedded comes after all else.

        Raises:
            EngineBusy: ``bounded``, and too many wait.
            UniConvError: the engine is closed.
        """
        with self._changed:
            if self._closing:
                raise UniConvError("the engine is closed and takes no more requests")
            if bounded and len(self._waiting) >= self._settings.waiting:
                raise EngineBusy(
                    f"{len(self._waiting)} requests wait already; try again in a moment"
                )
            for job in jobs:
                (self._background if job.background else self._waiting).append(job)
            self._changed.notify()

    @property
    def statistics(self) -> Statistics:
        """The counts as they are."""
        return Statistics(
            counts=replace(self.counts),
            steps=self._steps,
            cache_bytes=self._cache.nbytes,
            sessions=len(self._cache),
            running=len(self._running),
            waiting=len(self._waiting) + len(self._background),
        )

    def close(self) -> None:
        """Takes nothing more, and returns when all jobs are done."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    @torch.inference_mode()
    def _work(self) -> None:
        while self._wait():
            self._begin()
            steps = self._plan()
            try:
                if steps:
                    self._do(steps)
            except Exception as error:  # no memory, most likely: the others may still be served
                for step in steps:
                    _give_up(step.job, error)
            # One look at each: a job may be cancelled at any moment.
            over = [job for job in self._running if job.done or job.cancelled.is_set()]
            self._running = [job for job in self._running if job not in over]
            for job in over:
                job.end(self._cache)
                if not job.done:
                    _give_up(job, CancelledError())

    def _wait(self) -> bool:
        """Returns once there is work; false if there will be none."""
        with self._changed:
            while not (self._waiting or self._background or self._running):
                if self._closing:
                    return False
                self._changed.wait()
        return True

    def _begin(self) -> None:
        """Takes on what waits, up to the number of requests of either kind that may run."""
        background = sum(job.background for job in self._running)
        for queue, running in (
            (self._waiting, len(self._running) - background),
            (self._background, background),
        ):
            for _ in range(min(len(queue), self._settings.running - running)):
                job = queue.popleft()
                try:
                    if job.cancelled.is_set():
                        raise CancelledError
                    job.begin(self._cache)
                    self._running.append(job)
                except Exception as error:
                    _give_up(job, error)

    def _plan(self) -> list[Step]:
        """The next token of every answer, and what there is room for of what is to be read."""
        writing = [job for job in self._running if not job.reads]
        guesses = self._settings.draft_tokens // max(1, len(writing))
        steps = [Step(job, job.next(1 + guesses)) for job in writing]
        # However many answers are being written, something is read too.
        room = max(
            self._step_tokens - sum(len(one.tokens) for one in steps), self._step_tokens // 4
        )
        reading = sorted((job for job in self._running if job.reads), key=_unread)
        talks = [job for job in reading if not job.background]
        others = [job for job in reading if job.background]
        for_others = room // 4 if talks else room
        return (
            steps
            + _shares(talks, room - (for_others if others else 0))
            + _shares(others, for_others)
        )

    def _do(self, steps: Sequence[Step]) -> None:
        """One pass of the LM, and what comes of it for each job."""
        states = run(self._model, [Chunk(job.kv, tokens) for job, tokens in steps])
        wanted = [job.predictions(len(tokens)) for job, tokens in steps]
        predicting = [rows[len(rows) - last :] for rows, last in zip(states, wanted, strict=True)]
        logits = self._model.lm.get_output_embeddings()(torch.cat(predicting)).split(wanted)
        self._steps += 1
        for step, rows, predicted in zip(steps, states, logits, strict=True):
            try:
                step.job.advance(rows, predicted)
            except Exception as error:  # of one request alone
                _give_up(step.job, error)


def _shares(jobs: Sequence[Job], room: int) -> list[Step]:
    """What each job reads next if the room is divided evenly; the shortest come first."""
    steps = []
    for left, job in zip(range(len(jobs), 0, -1), jobs, strict=True):
        if room < 1:
            break
        steps.append(Step(job, job.next(max(room // left, min(room, _LEAST_READ)))))
        room -= len(steps[-1].tokens)
    return steps


def _unread(job: Job) -> int:
    return len(job.pending)


def _give_up(job: Job, error: Exception) -> None:
    if not isinstance(error, CancelledError):
        log.error("a request failed", exc_info=error)
    job.fail(error)
    job.done = True
