"""An answer that a thread writes while the event loop sends it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from threading import Event
from typing import Any, TypeVar

from fastapi import Request

from uniconv.search import AnswerStream, ConversationalSearch, SearchSettings
from uniconv.serving.errors import ClientGone
from uniconv.serving.workers import Workers
from uniconv.types import Answer, Conversation

T = TypeVar("T")
Happening = AnswerStream | str | Answer
"""First the stream, with its passages; then pieces of text; last the whole answer."""


class Answering:
    """One question at work. ``close`` ends it early and frees its place."""

    def __init__(
        self, search: ConversationalSearch, conversation: Conversation, settings: SearchSettings
    ) -> None:
        self._search = search
        self._conversation = conversation
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._told: asyncio.Queue[Happening | Exception] = asyncio.Queue()
        self._stream: AnswerStream | None = None
        self._closed = Event()
        self.finished = False
        self.queued = 0.0  # seconds

    async def events(self, workers: Workers, seconds: float) -> AsyncIterator[Happening]:
        """What happens, as it happens.

        Raises:
            ApiError: the queue is full.
            TimeoutError: it is not over after ``seconds``.
            Exception: what the search raised.
        """
        begun = self._loop.time()
        async with asyncio.timeout(seconds):
            await workers.place()
        self.queued = self._loop.time() - begun
        workers.start(self._work)
        try:
            while not self.finished:
                async with asyncio.timeout_at(begun + seconds):
                    event = await self._told.get()
                if isinstance(event, Exception):
                    raise event
                self.finished = isinstance(event, Answer)
                yield event
                del event  # the traceback of a cancellation keeps frames, and this holds a KV cache
        finally:
            self.close()

    def close(self) -> None:
        """Stops writing. It is safe to call more than once, and after the end."""
        self._closed.set()
        if (stream := self._stream) is not None:
            stream.close()

    def _work(self) -> None:
        """Runs in a thread."""
        try:
            if self._closed.is_set():
                return
            stream = self._search.stream(self._conversation, self._settings, self._closed)
            self._stream = stream
            if (
                self._closed.is_set()
            ):  # while the conversation was being read, when there was no stream
                stream.close()
            self._tell(stream)
            for piece in stream:
                self._tell(piece)
            self._tell(stream.answer)
        except Exception as error:
            self._tell(error)
        finally:
            self._stream = None  # for the same reason

    def _tell(self, event: Happening | Exception) -> None:
        with suppress(RuntimeError):  # the loop is closed: the server stopped without waiting
            self._loop.call_soon_threadsafe(self._told.put_nowait, event)


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The outcome of ``work``, which is cancelled if the client leaves before it is there.

    The request's body must have been read.

    Raises:
        ClientGone: the client left.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_leaving(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGone
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()


async def _leaving(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
