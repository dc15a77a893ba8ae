"""The FastAPI app of a conversational search.

search = ConversationalSearch(UniConv.from_pretrained("embedded"), Index.open("my-index"))
uvicorn.run(create_app(search))
"""

from __future__ import annotations

from asyncio import create_task, to_thread
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from os import PathLike, stat_result
from pathlib import Path

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import Scope

from uniconv.search import ConversationalSearch
from uniconv.serving import chat, documents, retrieval
from uniconv.serving.errors import add_handlers
from uniconv.serving.guards import Guard
from uniconv.serving.memory import stay_small
from uniconv.serving.requests import CONVERSATION, Requests
from uniconv.serving.service import Service, service_of
from uniconv.serving.settings import ServerSettings

PAGE = Path(__file__).parent / "page"


def create_app(
    search: ConversationalSearch,
    settings: ServerSettings | None = None,
    *,
    tokens: Sequence[str] = (),
    hosts: Sequence[str] = (),
) -> FastAPI:
    """The app; ``settings.host`` and ``port`` are for who runs it.

    ``search.model`` is a model or an engine. With ``tokens``, one of them must come with every
    request. ``hosts`` are the names that the server may be called by, any where there are none.
    """
    settings = settings or ServerSettings()
    service = Service(search, settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await to_thread(service.warm_up)
        meanwhile = [create_task(stay_small()), create_task(service.follow())]
        yield
        for task in meanwhile:
            task.cancel()
        await to_thread(service.close)

    # FastAPI's own pages of documentation load scripts from elsewhere.
    app = FastAPI(title="UniConv", docs_url=None, redoc_url=None, lifespan=lifespan)
    app.state.service = service
    add_handlers(app)
    for router in (chat.router, retrieval.router, documents.router, _operations):
        app.include_router(router)
    app.mount("/", _Page(directory=PAGE, html=True), name="page")
    # The last one is the outermost.
    app.add_middleware(Guard, settings=settings, tokens=tokens, hosts=hosts)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["authorization", "content-type", "x-request-id", CONVERSATION],
            expose_headers=["x-request-id", "retry-after", CONVERSATION],
        )
    app.add_middleware(Requests, metrics=service.metrics)
    return app


class _Page(StaticFiles):
    """The page's files, which browsers keep but ask for each time whether they are still the same.

    Their content tells: the dates of installed files may be those of an earlier version, or older.
    """

    def file_response(
        self,
        full_path: str | PathLike[str],
        stat_result: stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        content = Path(full_path).read_bytes()
        tags = {"etag": f'"{sha256(content).hexdigest()[:32]}"', "cache-control": "no-cache"}
        response = FileResponse(full_path, status_code, tags, stat_result=stat_result)
        del response.headers["last-modified"]
        if self.is_not_modified(response.headers, Headers(scope=scope)):
            return NotModifiedResponse(response.headers)
        return response


_operations = APIRouter()


@_operations.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@_operations.get("/readyz")
async def readyz(request: Request) -> JSONResponse:
    """Questions are answered: the model is warm, and the server isn't stopping."""
    ready = service_of(request).ready
    return JSONResponse({"status": "ready" if ready else "not ready"}, 200 if ready else 503)


@_operations.get("/metrics")
async def metrics(request: Request) -> Response:
    """Prometheus' text format."""
    text = service_of(request).metrics.text().decode()
    return PlainTextResponse(text, media_type="text/plain; version=0.0.4")
