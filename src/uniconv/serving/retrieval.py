"""``/v1/search``, ``/v1/embeddings`` and ``/v1/models``."""

from __future__ import annotations

import base64
import time
from asyncio import to_thread
from typing import Any

import numpy as np
from fastapi import APIRouter, Request

from uniconv.messages import from_messages
from uniconv.plain import plain_passages
from uniconv.serving.answering import unless_gone
from uniconv.serving.errors import ApiError
from uniconv.serving.schemas import EmbeddingsRequest, SearchRequest
from uniconv.serving.service import service_of
from uniconv.types import Conversation, Passage

router = APIRouter()


@router.post("/v1/search")
async def search(request: Request, body: SearchRequest) -> dict[str, Any]:
    """The passages for a question, or for the last question of a conversation."""
    service = service_of(request)
    conversation = from_messages(one.model_dump() for one in body.conversation_messages())
    settings = body.settings(service.search.settings, service.settings)
    await to_thread(service.check_question, conversation)
    started = time.perf_counter()
    passages = await unless_gone(request, service.retrieve(conversation, settings))
    seconds = round(time.perf_counter() - started, 6)
    return {"passages": plain_passages(passages), "timings": {"total": seconds}}


@router.post("/v1/embeddings")
async def embeddings(request: Request, body: EmbeddingsRequest) -> dict[str, Any]:
    """The vectors of passages, or of questions that start a conversation."""
    service = service_of(request)
    model = service.search.model
    texts = body.texts(service.settings.max_inputs)
    dimension = service.search.index.dimension
    if (body.model_extra or {}).get("dimensions") not in (None, dimension):
        raise ApiError(
            400, f"dimensions: vectors have {dimension} here", "invalid_value", param="dimensions"
        )

    def work() -> tuple[np.ndarray, int]:
        if body.role == "query":
            questions = [Conversation.start(text) for text in texts]
            sequences = map(model.template.conversation_query, questions)
            return model.encode_conversations(questions), sum(map(len, sequences))
        passages = [Passage(str(number), text) for number, text in enumerate(texts)]
        return model.encode_passages(passages), sum(map(len, map(model.template.passage, passages)))

    running = service.workers.run(work, service.settings.timeout)
    vectors, tokens = await unless_gone(request, running)
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": _encoded(vector, body)}
            for index, vector in enumerate(vectors)
        ],
        "model": service.model_id,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


@router.get("/v1/models")
async def models(request: Request) -> dict[str, Any]:
    """The one model, and what this server does with it."""
    service = service_of(request)
    search = service.search
    about = {
        "passages": len(search.index),
        "documents": service.settings.documents,
        "dimension": search.index.dimension,
        "max_tokens": service.max_tokens,
        "retriever": search.settings.retriever,
        "retrieve": search.settings.retrieve,
        "read": search.settings.read,
    }
    entry = {
        "id": service.model_id,
        "object": "model",
        "created": service.created,
        "owned_by": "uniconv",
        "uniconv": about,
    }
    return {"object": "list", "data": [entry]}


def _encoded(vector: np.ndarray, body: EmbeddingsRequest) -> str | list[float]:
    if body.encoding_format == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    values: list[float] = vector.tolist()
    return values
