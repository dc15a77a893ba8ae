"""A client of OpenAI-compatible servers, for many threads: retries, streams, cancellation.

Requests run in the event loop of one thread, where ending one closes its connection at once.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import CancelledError, Future, wait
from contextlib import asynccontextmanager
from functools import cache
from http import HTTPStatus
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any, TypeVar

import httpx2 as httpx

from uniconv.errors import ConfigError, RemoteError

T = TypeVar("T")
_PASSING = {408, 409, 425, 429, 500, 502, 503, 504}
_LONGEST_PAUSE = 60.0
_LOOK_SECONDS = 0.02
"""How often a thread that waits for a reply looks whether it is still wanted."""


class Server:
    """The server at ``url``, the base such as ``http://localhost:8000/v1``.

    A key is taken from the environment variable ``key_variable``, if it is set, and kept nowhere
    else. ``timeout`` bounds the seconds to the next part of a reply. After a failure that may pass
    (no connection, a timeout, HTTP 408, 409, 425, 429 or 5xx) a request is sent again ``retries``
    times, after ``pause`` seconds and then twice as long each time, or as long as the server asks.

    Raises:
        ConfigError: the URL isn't one of http or https.
    """

    def __init__(
        self,
        url: str,
        key_variable: str,
        *,
        timeout: float = 120.0,
        retries: int = 2,
        pause: float = 0.5,
    ) -> None:
        if not (url.startswith(("http://", "https://")) and _is_url(url)):
            raise ConfigError(f"'{url}' is no URL of a server; expected http://… or https://…")
        self.url = url.rstrip("/")
        self.key_variable = key_variable
        self._retries = retries
        self._pause = pause
        self._client = httpx.AsyncClient(
            timeout=timeout, limits=httpx.Limits(max_connections=None, keepalive_expiry=5)
        )

    def get(self, path: str) -> bytes:
        """The body of the reply.

        Raises:
            RemoteError: the server refuses, fails for good, or can't be reached at all.
        """
        return self._outcome("GET", path, None, None)

    def post(self, path: str, body: dict[str, Any], cancelled: Event | None = None) -> bytes:
        """The body of the reply; ``cancelled``, set by another thread, closes the connection.

        Raises:
            CancelledError: it was set.
            RemoteError: as for :meth:`get`.
        """
        return self._outcome("POST", path, body, cancelled)

    def stream(self, path: str, body: dict[str, Any]) -> Events:
        """The server-sent events of the reply, as they come."""
        told: SimpleQueue[Any] = SimpleQueue()
        begun = False

        async def take(response: httpx.Response) -> None:
            nonlocal begun
            async for event in _events(response, f"{self.url}{path}"):
                begun = True
                told.put(event)

        async def run() -> None:
            try:
                await self._tries("POST", path, body, take, lambda: not begun)
                told.put(None)
            except Exception as error:
                told.put(error)

        return Events(told, _started(run()))

    def _outcome(
        self, method: str, path: str, body: dict[str, Any] | None, cancelled: Event | None
    ) -> bytes:
        async def take(response: httpx.Response) -> bytes:
            return await response.aread()

        working = _started(self._tries(method, path, body, take))
        try:
            while cancelled is not None and not wait([working], _LOOK_SECONDS).done:
                if cancelled.is_set():
                    raise CancelledError
            return working.result()
        finally:
            working.cancel()

    async def _tries(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None,
        take: Callable[[httpx.Response], Awaitable[T]],
        may_repeat: Callable[[], bool] = lambda: True,
    ) -> T:
        """What ``take`` makes of the reply; nothing is sent twice once ``may_repeat`` forbids."""
        pause, where = self._pause, f"{self.url}{path}"
        for tries_left in reversed(range(self._retries + 1)):
            asked: float | None = None
            try:
                async with self._sent(method, path, body) as response:
                    if response.status_code == HTTPStatus.OK:
                        return await take(response)
                    asked = _retry_after(response)
                    status: int | None = response.status_code
                    problem = f"answers HTTP {status} {response.reason_phrase}".rstrip()
                    said = self._said(response.status_code, await response.aread())
                    if status not in _PASSING:
                        raise RemoteError(where, problem, said, status=status)
            except (httpx.TransportError, OSError) as error:
                if not may_repeat():
                    raise RemoteError(where, f"was lost ({_why(error)})", lost=True) from error
                problem, said, status = f"can't be reached ({_why(error)})", "", None
            if tries_left:
                await asyncio.sleep(min(_LONGEST_PAUSE, pause if asked is None else asked))
                pause *= 2
        times = f"{self._retries + 1} times in a row"
        if said:
            said = f"{said}, {times}"
        else:
            problem = f"{problem}, {times}"
        raise RemoteError(where, problem, said, status=status, may_pass=True)

    @asynccontextmanager
    async def _sent(
        self, method: str, path: str, body: dict[str, Any] | None
    ) -> AsyncIterator[httpx.Response]:
        headers = {"Accept": "application/json, text/event-stream"}
        if key := os.environ.get(self.key_variable):
            headers["Authorization"] = f"Bearer {key}"
        url = f"{self.url}{path}"
        async with self._client.stream(method, url, headers=headers, json=body) as response:
            yield response

    def _said(self, status: int, body: bytes) -> str:
        """What the server says in a few words, without the key that it may repeat."""
        said = " ".join(body[:2000].decode("utf-8", "replace").split())[:300]
        key = os.environ.get(self.key_variable)
        if key:
            return said.replace(key, "…")
        return f"{said}; set {self.key_variable}" if status in (401, 403) else said


class Events(Iterator[dict[str, Any]]):
    """Events of a reply as they come; :meth:`close`, from any thread, closes the connection.

    So does forgetting them.

    Raises:
        RemoteError: the server refuses, fails, or is lost in the middle (``lost``).
    """

    def __init__(self, told: SimpleQueue[Any], working: Future[None]) -> None:
        self._told = told
        self._working = working

    def __next__(self) -> dict[str, Any]:
        event = self._told.get()
        if event is None or isinstance(event, Exception):
            self._told.put(None)  # whoever asks again gets the same
            raise event or StopIteration
        found: dict[str, Any] = event
        return found

    def close(self) -> None:
        """What has come can still be read."""
        self._working.cancel()
        self._told.put(None)

    __del__ = close


async def _events(response: httpx.Response, where: str) -> AsyncIterator[dict[str, Any]]:
    """The data of the events up to ``[DONE]``.

    Raises:
        ReadError: it is missing.
        RemoteError: they are no JSON objects, or tell of an error.
    """
    try:
        async for one in httpx.EventSource(response):
            if one.data == "[DONE]":
                return
            event = json.loads(one.data)
            if problem := event.get("error"):
                said = problem.get("message") if isinstance(problem, dict) else problem
                raise RemoteError(where, "failed in the middle of the answer", str(said)[:300])
            yield event
    except (httpx.SSEError, ValueError, AttributeError) as error:
        raise RemoteError(where, f"its stream can't be understood ({error})") from error
    raise httpx.ReadError("the stream ended too early")


def _started(work: Coroutine[Any, Any, T]) -> Future[T]:
    """Work that has begun in the event loop; cancelling it ends it there."""
    return asyncio.run_coroutine_threadsafe(work, _loop())


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """It runs in a thread of its own, which ends with the process."""
    loop = asyncio.new_event_loop()
    Thread(target=loop.run_forever, name="uniconv-remote", daemon=True).start()
    return loop


def _is_url(text: str) -> bool:
    try:
        return bool(httpx.URL(text).host)
    except httpx.InvalidURL:
        return False


def _why(error: Exception) -> str:
    if isinstance(error, httpx.TimeoutException | TimeoutError):
        return "timed out"
    return str(error) or type(error).__name__


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds, where the server names some (a date is not understood)."""
    try:
        return max(0.0, float(response.headers.get("Retry-After", "")))
    except ValueError:
        return None
