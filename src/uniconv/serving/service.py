"""What the routes share: the search, the threads that work for it, and the figures."""

from __future__ import annotations

import time
from asyncio import sleep
from collections.abc import AsyncIterator, Collection, Sequence
from pathlib import Path
from typing import Any

from fastapi import Request

from uniconv.config.milvus import is_milvus
from uniconv.engine import Engine
from uniconv.errors import UniConvError
from uniconv.model import UniConv
from uniconv.remote.model import RemoteModel
from uniconv.retrieval.index import current_version, index_folder
from uniconv.retrieval.interface import Index
from uniconv.retrieval.making import BuildReport
from uniconv.search import ConversationalSearch, SearchSettings
from uniconv.serving.answering import Answering, Happening
from uniconv.serving.errors import ApiError
from uniconv.serving.logs import LOG, LOGGER
from uniconv.serving.metrics import Gauges, Metrics
from uniconv.serving.settings import ServerSettings
from uniconv.serving.shared_model import SharedUniConv
from uniconv.serving.uploads import Upload, update
from uniconv.serving.workers import Workers
from uniconv.types import Answer, Conversation

FOLLOW_SECONDS = 5.0
"""Between two looks at what other processes made of the index."""


class Service:
    """One index and one model at work. ``search`` is replaced when the index changes.

    Raises:
        IndexFolderError: documents may be changed, and the index is not a folder.
    """

    def __init__(self, search: ConversationalSearch, settings: ServerSettings) -> None:
        if settings.documents:
            index_folder(search.index.path)
        self.search = search
        # An engine takes requests of many threads at once; a model by itself needs a lock.
        if isinstance(search.model, UniConv) and not isinstance(search.model, SharedUniConv):
            self.search = ConversationalSearch(
                SharedUniConv(search.model), search.index, search.settings
            )
        self.settings = settings
        self.max_tokens = _longest_answer(self.search.model, settings.max_tokens)
        self.workers = Workers(settings.concurrency, settings.queue)
        self.updates = Workers(1, 4, "updating")
        self.metrics = Metrics()
        self.metrics.registry.register(Gauges(self))
        self.created = int(time.time())
        self.ready = False

    @property
    def model_id(self) -> str:
        """The model's name, without the folders of this machine."""
        name = self.search.model.name
        return (Path(name).name if Path(name).is_absolute() else name) or "uniconv"

    def warm_up(self) -> None:
        """Answers one question, so that no client pays for what is done only once."""
        stream = self.search.stream(Conversation.start("What is this about?"))
        next(iter(stream), None)
        stream.close()
        self.ready = True

    def close(self) -> None:
        """Waits for what is at work."""
        self.ready = False
        self.workers.close()
        self.updates.close()

    async def answer(
        self, request: Request, answering: Answering, conversation: Conversation
    ) -> AsyncIterator[Happening]:
        """An answer's events, counted and logged."""
        fields: dict[str, Any] = request.scope[LOG]
        if self.settings.log_content:
            fields["question"] = conversation.turns[-1].query
        try:
            async for event in answering.events(self.workers, self.settings.timeout):
                if isinstance(event, Answer):
                    self.metrics.answer(event, answering.queued)
                    fields |= _logged(event, self.settings.log_content)
                yield event
                del event  # as in Answering.events
        finally:
            if not answering.finished:
                self.metrics.cancelled()
                fields["cancelled"] = True

    def check_question(self, conversation: Conversation) -> None:
        """Refuses a question of which the model could read the end only.

        Raises:
            ApiError: the last question has more tokens than a conversation may have.
        """
        template = self.search.model.template
        question, limit = conversation.turns[-1].query, template.limits.conversation
        if len(question.encode()) <= limit:  # a token is a byte or more
            return
        # The beginning tells of most that are too long; a megabyte takes seconds and much memory.
        beginning = question[: 8 * limit]
        if any(len(template.content(text)) > limit for text in (beginning, question)):
            raise ApiError(
                400,
                f"messages: the question has more than the {limit} tokens that the model reads of "
                "a conversation",
                "context_length_exceeded",
                param="messages",
            )

    async def retrieve(self, conversation: Conversation, settings: SearchSettings) -> Any:
        """The passages for a conversation, in a thread."""
        search = self.search
        return await self.workers.run(
            lambda: search.retrieve(conversation, settings), self.settings.timeout
        )

    async def update(self, add: Sequence[Upload] = (), remove: Collection[str] = ()) -> BuildReport:
        """Changes the index's documents; questions that come after it see the new index.

        Those that are being answered keep the old one. It goes on if its client leaves.

        Raises:
            UniConvError: nothing was changed, and why.
        """

        def work() -> BuildReport:
            self.search, report = update(self.search, add, remove)
            return report

        return await self.updates.run(work)

    async def follow(self) -> None:
        """Shows what other processes make of the index, such as a replica that took documents."""
        told = ""
        while not is_milvus(self.search.index.path):  # there the alias is what readers follow
            await sleep(FOLLOW_SECONDS)
            try:
                await self.updates.run(self._renew)
            except (ApiError, UniConvError) as error:
                if str(error) != told:
                    LOGGER.error("not renewed", exc_info=error, extra={"fields": {}})
                told = str(error)

    def _renew(self) -> None:
        """Runs in the thread that updates."""
        index = self.search.index
        if current_version(index.path) != index.version:
            renewed = Index.open(index.path)
            self.search = ConversationalSearch(self.search.model, renewed, self.search.settings)


def service_of(request: Request) -> Service:
    """The service of the app that a request is for."""
    service: Service = request.app.state.service
    return service


def _longest_answer(model: UniConv | Engine | RemoteModel, limit: int) -> int:
    """``limit``, or what the model's context leaves beside a conversation of the longest kind."""
    positions = model.max_positions
    if positions is None:
        return limit
    conversation = min(model.template.limits.conversation, positions // 2)
    room = positions - conversation - len(model.template.answer_suffix())
    return max(1, min(limit, room))


def _logged(answer: Answer, with_content: bool) -> dict[str, Any]:
    return {
        "prompt_tokens": answer.usage.prompt_tokens,
        "cached_tokens": answer.usage.cached_tokens,
        "completion_tokens": answer.usage.completion_tokens,
        "finish_reason": answer.finish_reason,
        "found": answer.found,
        "stages": {name: round(seconds, 6) for name, seconds in answer.timings.items()},
        **({"answer": answer.text} if with_content else {}),
    }
