"""What every request gets: an id, headers, a line in the log, its place in the metrics."""

from __future__ import annotations

import re
import time
from typing import Any
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from uniconv.serving.errors import as_api_error
from uniconv.serving.logs import LOG, LOGGER
from uniconv.serving.metrics import Metrics

CONVERSATION = "x-uniconv-conversation"
"""The header by which a proxy sends a conversation to the replica that has read it."""

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HEADERS = {
    # What a page without anything from elsewhere needs, and nothing else.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; font-src 'self'; connect-src 'self'; manifest-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


class Requests:
    """The outermost middleware: nothing that fails gets past it untold."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        sent = Headers(scope=scope)
        id = _own_or_new(sent.get("x-request-id"))
        conversation = _own_or_new(sent.get(CONVERSATION))
        fields: dict[str, Any] = {"request_id": id, "method": scope["method"]}
        scope[LOG] = fields
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = id
                if scope["path"].startswith("/v1/chat/"):
                    headers[CONVERSATION] = conversation
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception as error:
            LOGGER.error("failed", exc_info=error, extra={"fields": fields})
            if not status:
                await as_api_error(error).response()(scope, receive, send_with_headers)
        finally:
            seconds = time.perf_counter() - started
            path = _route(scope)
            self._metrics.request(scope["method"], path, status, seconds)
            fields |= {"path": path, "status": status, "seconds": round(seconds, 6)}
            LOGGER.info("request", extra={"fields": fields})


def _own_or_new(id: str | None) -> str:
    """A client's own id, if it is a short plain one."""
    return id if id is not None and _ID.fullmatch(id) else uuid4().hex


def _route(scope: Scope) -> str:
    """The path as the route has it, without what a client put in: labels must stay few."""
    return getattr(scope.get("route"), "path", None) or "other"
