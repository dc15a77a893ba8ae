"""The retriever with LlamaIndex itself."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("llama_index.core", reason="the extra llamaindex is not installed")

from llama_index.core.llms import ChatMessage, MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import MetadataMode

from uniconv.errors import MessagesError
from uniconv.integrations.llamaindex import ConversationBundle, UniConvRetriever
from uniconv.search import ConversationalSearch
from uniconv.types import Conversation

HISTORY = [
    ChatMessage(role="user", content="Why does ice move?"),
    ChatMessage(role="assistant", content="Because of its weight."),
]


def test_nodes_have_what_passages_have(search: ConversationalSearch) -> None:
    nodes = UniConvRetriever(search).retrieve("Who built the harbour tower?")
    best = nodes[0]
    assert best.node.node_id == "tower.md#1"
    text = "The tower of the old harbour was built in 1893 by engineers."
    assert best.node.get_content(MetadataMode.NONE) == text
    assert best.node.metadata["title"] == "Tower"
    assert best.node.metadata["file"] == "tower.md"
    expected = search.retrieve(Conversation.start("Who built the harbour tower?"))
    assert [one.score for one in nodes] == [one.score for one in expected]


def test_a_follow_up_is_retrieved_for_with_its_history(search: ConversationalSearch) -> None:
    retriever = UniConvRetriever(search, k=1)
    asked = ConversationBundle("And when?", history=HISTORY)
    assert [one.node.node_id for one in retriever.retrieve(asked)] == ["ice.md#1"]
    found = asyncio.run(retriever.aretrieve(asked))
    assert [one.node.node_id for one in found] == ["ice.md#1"]
    with pytest.raises(MessagesError, match="role 'tool' is unknown"):
        retriever.retrieve(ConversationBundle("x", history=[ChatMessage(role="tool", content="y")]))


def test_it_is_a_part_of_query_engines(search: ConversationalSearch) -> None:
    engine = RetrieverQueryEngine.from_args(UniConvRetriever(search, k=2), llm=MockLLM())
    response = engine.query(ConversationBundle("And when?", history=HISTORY))
    assert response.source_nodes[0].node.node_id == "ice.md#1"
    assert "ice deforms under its own weight" in str(response)  # the mock repeats its prompt
