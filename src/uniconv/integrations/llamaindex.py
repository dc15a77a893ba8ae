"""A retriever for LlamaIndex (extra ``llamaindex``).

retriever = UniConvRetriever(search, k=5)
retriever.retrieve(ConversationBundle("When was that?", history=memory.get()))
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from uniconv.integrations import needs, retrieve
from uniconv.plain import labels
from uniconv.search import ConversationalSearch

try:
    from llama_index.core.llms import ChatMessage
    from llama_index.core.retrievers import BaseRetriever
    from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
except ImportError as error:
    raise ImportError(needs("llamaindex")) from error


@dataclass
class ConversationBundle(QueryBundle):
    """A question and the messages before it; goes wherever LlamaIndex takes a ``QueryBundle``."""

    history: list[ChatMessage] = field(default_factory=list)


class UniConvRetriever(BaseRetriever):
    """Retrieves for a question and, given a :class:`ConversationBundle`, for its conversation.

    A node has the passage's id, text, title and metadata. ``k`` is how many passages are retrieved,
    by default as many as the search says.
    """

    def __init__(self, search: ConversationalSearch, k: int | None = None, **options: Any) -> None:
        self.search = search
        self.k = k
        super().__init__(**options)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        said = query_bundle.history if isinstance(query_bundle, ConversationBundle) else []
        history = [{"role": one.role.value, "content": one.content or ""} for one in said]
        return [
            NodeWithScore(
                node=TextNode(
                    id_=scored.passage.id, text=scored.passage.text, metadata=dict(labels(scored))
                ),
                score=scored.score,
            )
            for scored in retrieve(self.search, query_bundle.query_str, history, self.k)
        ]
