"""A retriever and a chat model for LangChain (extra ``langchain``).

retriever = UniConvRetriever(search=search, k=5)
retriever.invoke("When was that?", history=[HumanMessage("Who built it?"), AIMessage("She did.")])
model = ChatUniConv(search=search)
model.invoke([HumanMessage("Who built it?")]).response_metadata["citations"]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from uniconv.integrations import needs, retrieve
from uniconv.messages import from_messages
from uniconv.plain import labels, plain_citations, plain_passages
from uniconv.search import ConversationalSearch, SearchSettings
from uniconv.types import Answer

try:
    from langchain_core.callbacks import (
        AsyncCallbackManagerForRetrieverRun,
        CallbackManagerForLLMRun,
        CallbackManagerForRetrieverRun,
    )
    from langchain_core.documents import Document
    from langchain_core.language_models import BaseChatModel
    from langchain_core.language_models.chat_models import generate_from_stream
    from langchain_core.messages import AIMessageChunk, BaseMessage, convert_to_openai_messages
    from langchain_core.messages.ai import UsageMetadata
    from langchain_core.outputs import ChatGenerationChunk, ChatResult
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.runnables import run_in_executor
    from pydantic import ConfigDict
except ImportError as error:
    raise ImportError(needs("langchain")) from error

_SETTINGS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "seed": "seed",
    "max_tokens": "max_new_tokens",
}
"""What a call may change, by LangChain's names."""


class UniConvRetriever(BaseRetriever):
    """Retrieves for a question and, with ``history``, for the conversation that it follows.

    A document has the passage's id, text, title and metadata; ``score`` is among the latter.
    ``k`` is how many passages are retrieved, by default as many as the search says.
    """

    search: ConversationalSearch
    k: int | None = None

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,  # noqa: ARG002
        history: Sequence[BaseMessage] = (),
    ) -> list[Document]:
        return self._documents(query, history)

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,  # noqa: ARG002
        history: Sequence[BaseMessage] = (),
    ) -> list[Document]:
        found: list[Document] = await run_in_executor(None, self._documents, query, history)
        return found

    def _documents(self, query: str, history: Sequence[BaseMessage]) -> list[Document]:
        return [
            Document(
                id=scored.passage.id,
                page_content=scored.passage.text,
                metadata={**labels(scored), "score": scored.score},
            )
            for scored in retrieve(self.search, query, _plain(history), self.k)
        ]


class ChatUniConv(BaseChatModel):
    """Answers a conversation from an index: retrieval happens inside.

    ``response_metadata`` holds ``passages``, ``citations``, ``found``, ``finish_reason`` and
    ``timings``. System messages are not used: no prompt of UniConv has a place for them.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    search: ConversationalSearch

    @property
    def _llm_type(self) -> str:
        return "uniconv"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **options: Any,
    ) -> ChatResult:
        return generate_from_stream(self._stream(messages, stop, run_manager, **options))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **options: Any,
    ) -> Iterator[ChatGenerationChunk]:
        conversation = from_messages(_plain(messages))
        answering = self.search.stream(conversation, self._settings(stop, options))
        try:
            for piece in answering:
                chunk = ChatGenerationChunk(message=AIMessageChunk(piece))
                if run_manager is not None:
                    run_manager.on_llm_new_token(piece, chunk=chunk)
                yield chunk
            yield _last_chunk(answering.answer)
        finally:
            answering.close()

    def _settings(self, stop: list[str] | None, options: dict[str, Any]) -> SearchSettings:
        changes: dict[str, Any] = {
            _SETTINGS[name]: value for name, value in options.items() if name in _SETTINGS
        }
        if stop:
            changes["stop"] = tuple(stop)
        return replace(self.search.settings, **changes)


def _last_chunk(answer: Answer) -> ChatGenerationChunk:
    used = answer.usage
    message = AIMessageChunk(
        "",
        chunk_position="last",
        response_metadata={
            "passages": plain_passages(answer.passages),
            "citations": plain_citations(answer.citations),
            "found": answer.found,
            "finish_reason": answer.finish_reason,
            "timings": dict(answer.timings),
        },
        usage_metadata=UsageMetadata(
            input_tokens=used.prompt_tokens,
            output_tokens=used.completion_tokens,
            total_tokens=used.prompt_tokens + used.completion_tokens,
            input_token_details={"cache_read": used.cached_tokens},
        ),
    )
    return ChatGenerationChunk(message=message)


def _plain(messages: Sequence[BaseMessage]) -> list[dict[str, str]]:
    return convert_to_openai_messages(list(messages), text_format="string")  # type: ignore[no-any-return]
