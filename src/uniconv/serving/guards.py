"""Who may ask, and how much may be sent."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from uniconv.errors import ConfigError
from uniconv.serving.errors import ApiError
from uniconv.serving.settings import ServerSettings

TOKENS_VARIABLE = "UNICONV_TOKENS"
BODY_SECONDS = 30.0
"""How long a client may keep us waiting for the next part of a body."""
_SAFE = ("GET", "HEAD", "OPTIONS")


class Guard:
    """Refuses what has no token, comes from another site's page, or is too large.

    Without ``tokens`` none is asked for. ``hosts`` are the names by which the server may be called,
    any if there are none: a page elsewhere can have its own name point here, but not change it.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: ServerSettings,
        tokens: Sequence[str] = (),
        hosts: Sequence[str] = (),
    ) -> None:
        self._app = app
        self._settings = settings
        self._tokens = [_digest(token.encode()) for token in tokens]
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        limit = self._settings.max_body
        if self._settings.documents and scope["path"] == "/v1/documents":
            limit = self._settings.max_upload
        try:
            if scope["path"] not in ("/healthz", "/readyz"):
                self._check_host(headers)
            if scope["method"] not in _SAFE:
                self._check_origin(headers)
            if scope["path"].startswith(("/v1/", "/metrics")):
                self._check_token(headers)
            if int(headers.get("content-length", "0")) > limit:  # the server checked the number
                raise _too_large(limit)
        except ApiError as error:
            await error.response()(scope, receive, send)
            return
        await self._app(scope, _limited(receive, limit), send)

    def _check_host(self, headers: Headers) -> None:
        host = urlsplit(f"//{headers.get('host', '')}").hostname
        if self._hosts and host not in self._hosts:
            raise ApiError(
                403, f"this server is called {' or '.join(self._hosts)}, not {host}", "wrong_host"
            )

    def _check_origin(self, headers: Headers) -> None:
        """A page may send forms to any server without asking it first; its origin tells."""
        origin = headers.get("origin")
        allowed = self._settings.origins
        if origin is None or "*" in allowed or origin in allowed:
            return
        if urlsplit(origin).netloc != headers.get("host"):
            raise ApiError(
                403,
                f"pages from {origin} may not call this server; start it with --origins {origin}",
                "wrong_origin",
            )

    def _check_token(self, headers: Headers) -> None:
        if not self._tokens:
            return
        scheme, _, token = headers.get("authorization", "").partition(" ")
        digest = _digest(token.strip().encode("latin-1"))  # as headers are decoded
        # All are compared, whole, so that time tells nothing of which is near.
        known = sum([hmac.compare_digest(digest, one) for one in self._tokens])
        if scheme.lower() != "bearer" or not known:
            raise ApiError(
                401,
                "this server wants a token: send the header 'Authorization: Bearer TOKEN'",
                "invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )


def read_tokens(settings: ServerSettings) -> list[str]:
    """The tokens of the environment and of the file.

    Raises:
        ConfigError: the file can't be read or holds no token.
    """
    tokens = os.environ.get(TOKENS_VARIABLE, "").split(",")
    path = settings.token_file
    if path is not None:
        try:
            lines = path.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: the tokens can't be read ({error})") from error
        if not any(line.strip() for line in lines):
            raise ConfigError(f"{path}: holds no token; write one a line")
        tokens += lines
    return [token.strip() for token in tokens if token.strip()]


def _limited(receive: Receive, limit: int) -> Receive:
    """Bodies without a length are counted as they come, and may not come too slowly."""
    length = 0
    complete = False

    async def receive_within_limit() -> Message:
        nonlocal length, complete
        if complete:
            return await receive()
        try:
            message = await asyncio.wait_for(receive(), BODY_SECONDS)
        except TimeoutError as error:
            raise ApiError(408, "the body did not arrive in time", "timeout") from error
        length += len(message.get("body", b""))
        complete = not message.get("more_body", False)
        if length > limit:
            raise _too_large(limit)
        return message

    return receive_within_limit


def _too_large(limit: int) -> ApiError:
    return ApiError(413, f"the body is larger than the {limit} bytes allowed", "too_large")


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
