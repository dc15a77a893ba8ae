"""A search whose model says what a test wants; retrieval is the real thing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import pytest

from tiny_index import tiny_index
from uniconv.decoding import Generation
from uniconv.model import UniConv
from uniconv.retrieval.interface import Index
from uniconv.search import ConversationalSearch, SearchSettings
from uniconv.types import Conversation, Passage

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"
os.environ["LANGSMITH_TRACING"] = "false"


class Scripted(UniConv):
    """Writes ``said`` and remembers the conversation and the options that it was given."""

    said: Sequence[str] = ("Engineers ", "built ", "it [1].")
    heard: Conversation
    read_passages: Sequence[Passage] = ()
    options: dict[str, Any]
    closed: bool

    def open_question(self, conversation: Conversation) -> list[int]:
        self.heard = conversation
        return super().open_question(conversation)

    def generate(
        self, conversation: Any, passages: Sequence[Passage] = (), **options: Any
    ) -> Generation:
        self.options, self.read_passages = options, passages
        self.closed = False

        def pieces() -> Any:
            try:
                yield from self.said
            finally:
                self.closed = True

        return Generation(pieces(), None, len(conversation.tokens))


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An index and, beside it, the model that made it."""
    return str(tiny_index(tmp_path_factory.mktemp("integrations")))


@pytest.fixture
def search(folder: str) -> ConversationalSearch:
    index = Index.open(folder)
    tiny = UniConv.from_pretrained(index.model_name, device="cpu")
    model = Scripted(tiny.network, tiny.tokenizer, tiny.template, tiny.settings, name=tiny.name)
    return ConversationalSearch(model, index, SearchSettings(retriever="bm25", retrieve=3))
