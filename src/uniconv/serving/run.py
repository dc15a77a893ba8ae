"""Runs the server until it is told to stop; what is being answered then is finished first."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from uniconv.errors import UniConvError
from uniconv.search import ConversationalSearch
from uniconv.serving.app import create_app
from uniconv.serving.guards import TOKENS_VARIABLE, read_tokens
from uniconv.serving.logs import configure
from uniconv.serving.service import Service
from uniconv.serving.settings import ServerSettings

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def serve(search: ConversationalSearch, settings: ServerSettings) -> None:
    """Serves until SIGINT or SIGTERM; a second SIGINT doesn't wait for answers.

    Raises:
        UniConvError: the address can't be listened on, or the tokens can't be read.
    """
    tokens = read_tokens(settings)
    local = settings.host in LOOPBACK
    listening = _listen(settings)
    app = create_app(search, settings, tokens=tokens, hosts=LOOPBACK if local else ())
    configure(settings.log_content)
    if not local and not tokens:
        print(
            f"uniconv: whoever reaches {settings.host} can ask this server, because no token is "
            f"set; name a --token-file, or set {TOKENS_VARIABLE}",
            file=sys.stderr,
        )
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    print(
        f"http://{host}:{listening.getsockname()[1]}  {len(search.index):,} passages; Ctrl-C stops",
        flush=True,
    )
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(settings.timeout) + 1,
    )
    asyncio.run(_Server(config, app).serve(sockets=[listening]))


def _listen(settings: ServerSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family)
    except OSError as error:
        raise UniConvError(
            f"{settings.host}:{settings.port}: can't be listened on ({error.strerror or error}); "
            "choose another --port or --host"
        ) from error


class _Server(uvicorn.Server):
    """Stops by itself when told to, where uvicorn would have the signal end the process."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._service: Service = app.state.service

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        def stop(number: int, _: object) -> None:
            self._service.ready = False
            self.handle_exit(number, None)

        before = {one: signal.signal(one, stop) for one in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)
