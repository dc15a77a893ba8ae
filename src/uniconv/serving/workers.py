"""Threads that work for requests, so many at once, with a bounded queue before them."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from uniconv.serving.errors import ApiError

T = TypeVar("T")


class Workers:
    """Belongs to one event loop. ``waiting`` requests are in the queue, ``busy`` are worked on."""

    def __init__(self, threads: int, queue: int, name: str = "answering") -> None:
        self.waiting = 0
        self.busy = 0
        self._threads = threads
        self._queue = queue
        self._free = asyncio.Semaphore(threads)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._seconds = 1.0  # that a request takes, of late

    async def place(self) -> None:
        """Waits for a thread to be free.

        Raises:
            ApiError: the queue is full (429).
        """
        if self._free.locked() and self.waiting >= self._queue:
            wait = math.ceil(self._seconds * (self.waiting + 1) / self._threads)
            raise ApiError(
                429,
                "the server has as many requests as it can take; try again later",
                "busy",
                headers={"Retry-After": str(min(max(wait, 1), 60))},
            )
        self.waiting += 1
        try:
            await self._free.acquire()
        finally:
            self.waiting -= 1

    def start(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Works in the place that was waited for, which is free again when the work is over.

        That is so whether or not anyone still waits for the outcome.
        """
        self.busy += 1
        started = time.monotonic()

        def over(future: asyncio.Future[Any]) -> None:
            if not future.cancelled():
                future.exception()  # asyncio would log it if nobody else looks
            self._seconds += 0.1 * (time.monotonic() - started - self._seconds)
            self.busy -= 1
            self._free.release()

        future = asyncio.get_running_loop().run_in_executor(self._pool, work)
        future.add_done_callback(over)
        return future

    async def run(self, work: Callable[[], T], seconds: float | None = None) -> T:
        """Waits for a place and for the outcome.

        Raises:
            ApiError: the queue is full (429).
            TimeoutError: it took longer than ``seconds``; the thread still ends what it began.
        """
        async with asyncio.timeout(seconds):
            await self.place()
            return await asyncio.shield(self.start(work))

    def close(self) -> None:
        """Waits for what is being worked on."""
        self._pool.shutdown(wait=True, cancel_futures=True)
