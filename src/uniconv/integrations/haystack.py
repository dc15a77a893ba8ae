"""A retriever component for Haystack pipelines (extra ``haystack``).

pipeline.add_component("retriever", UniConvRetriever(search, top_k=5))
pipeline.run({"retriever": {"query": "When was that?", "history": [ChatMessage.from_user("…"), …]}})
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from uniconv.integrations import needs, retrieve
from uniconv.model import UniConv
from uniconv.plain import labels
from uniconv.retrieval.interface import Index
from uniconv.search import ConversationalSearch, SearchSettings

try:
    from haystack import Document, component, default_to_dict
    from haystack.dataclasses import ChatMessage
except ImportError as error:
    raise ImportError(needs("haystack")) from error


@component
class UniConvRetriever:
    """Retrieves for a question and, with ``history``, for the conversation that it follows.

    A document has the passage's id, text, score, title and metadata. A saved pipeline names the
    index's folder and the model, which are opened again when it is loaded.
    """

    def __init__(self, search: ConversationalSearch, top_k: int | None = None) -> None:
        self.search = search
        self.top_k = top_k

    @component.output_types(documents=list[Document])
    def run(
        self, query: str, history: list[ChatMessage] | None = None, top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """The documents for ``query``, best first; ``top_k`` overrides the component's own."""
        said = [{"role": one.role.value, "content": one.text or ""} for one in history or ()]
        documents = [
            Document(
                id=scored.passage.id,
                content=scored.passage.text,
                meta=dict(labels(scored)),
                score=scored.score,
            )
            for scored in retrieve(self.search, query, said, top_k or self.top_k)
        ]
        return {"documents": documents}

    def to_dict(self) -> dict[str, Any]:
        """The component as plain values, for a saved pipeline."""
        saved = default_to_dict(
            self,
            index=str(self.search.index.path),
            model=self.search.model.name,
            settings=asdict(self.search.settings),
            top_k=self.top_k,
        )
        return dict(saved)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> UniConvRetriever:
        """The component that :meth:`to_dict` described."""
        saved = data["init_parameters"]
        settings = saved["settings"] | {"stop": tuple(saved["settings"]["stop"])}
        model, index = UniConv.from_pretrained(saved["model"]), Index.open(saved["index"])
        return cls(ConversationalSearch(model, index, SearchSettings(**settings)), saved["top_k"])
