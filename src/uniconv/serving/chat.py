"""``POST /v1/chat/completions``: retrieval happens inside, the answer may be streamed."""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from uniconv.messages import UNUSED_ROLES, from_messages
from uniconv.search import AnswerStream
from uniconv.serving.answering import Answering, Happening, unless_gone
from uniconv.serving.errors import as_api_error
from uniconv.serving.logs import LOG, LOGGER
from uniconv.serving.replies import DONE, Reply, event
from uniconv.serving.schemas import ChatRequest
from uniconv.serving.service import Service, service_of
from uniconv.types import Answer

router = APIRouter()


@router.post("/v1/chat/completions", response_model=None)
async def chat(request: Request, body: ChatRequest) -> Response:
    """The answer to a conversation's last question, with citations."""
    service = service_of(request)
    conversation = from_messages(one.model_dump() for one in body.messages)
    settings = body.settings(service.search.settings, service.settings, service.max_tokens)
    await to_thread(service.check_question, conversation)
    reply = Reply(service.model_id, _warnings(body, service))
    answering = Answering(service.search, conversation, settings)
    events = service.answer(request, answering, conversation)
    try:
        # Until the passages are there, an error can still have a status of its own.
        stream = await unless_gone(request, _first(events))
        if body.stream:
            with_usage = bool(body.stream_options and body.stream_options.include_usage)
            chunks = _chunks(request, reply, reply.first(stream), events, with_usage)
            return _EventStream(chunks, answering)
        answer = await unless_gone(request, _last(events))
    except BaseException:
        answering.close()
        raise
    return JSONResponse(reply.whole(stream, answer))


class _EventStream(StreamingResponse):
    """Server-sent events; a client that leaves while something is being sent ends the answer."""

    media_type = "text/event-stream"

    def __init__(self, chunks: AsyncIterator[str], answering: Answering) -> None:
        super().__init__(chunks, headers={"X-Accel-Buffering": "no"})
        self._answering = answering

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._answering.close()


async def _chunks(
    request: Request,
    reply: Reply,
    first: str,
    events: AsyncIterator[Happening],
    with_usage: bool,
) -> AsyncIterator[str]:
    """The stream as server-sent events; an error takes the place of what it prevents."""
    yield first
    try:
        async for one in events:
            if isinstance(one, str):
                yield reply.piece(one)
            elif isinstance(one, Answer):
                yield reply.last(one)
                if with_usage:
                    yield reply.usage(one)
    except Exception as error:
        told = as_api_error(error)
        if told.status_code in (500, 502):
            LOGGER.error("failed", exc_info=error, extra={"fields": request.scope[LOG]})
        yield event(told.body())
    yield DONE


async def _first(events: AsyncIterator[Happening]) -> AnswerStream:
    stream = await anext(events)
    assert isinstance(stream, AnswerStream)
    return stream


async def _last(events: AsyncIterator[Happening]) -> Answer:
    answer = [one async for one in events][-1]
    assert isinstance(answer, Answer)
    return answer


def _warnings(body: ChatRequest, service: Service) -> list[str]:
    """What was sent and made no difference."""
    warnings = []
    if any(message.role in UNUSED_ROLES for message in body.messages):
        warnings.append(
            "system and developer messages are not used: the model was not trained with any"
        )
    if body.ignored:
        warnings.append(f"not used here: {', '.join(body.ignored)}")
    if body.model not in (None, service.model_id):
        warnings.append(f"the only model here is {service.model_id}, and it answered")
    return warnings
