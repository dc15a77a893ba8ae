"""The retriever and the chat model with LangChain itself."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, replace
from typing import Any

import pytest

pytest.importorskip("langchain_core", reason="the extra langchain is not installed")

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder

from uniconv.errors import MessagesError
from uniconv.integrations.langchain import ChatUniConv, UniConvRetriever
from uniconv.search import ConversationalSearch
from uniconv.types import Conversation, Turn

HISTORY = [HumanMessage("Why does ice move?"), AIMessage("Because of its weight.")]


def test_documents_have_what_passages_have(search: ConversationalSearch) -> None:
    documents = UniConvRetriever(search=search).invoke("Who built the harbour tower?")
    (best,) = (one for one in documents if one.id == "tower.md#1")
    assert documents[0] is best
    assert best.page_content == "The tower of the old harbour was built in 1893 by engineers."
    assert best.metadata["title"] == "Tower"
    assert best.metadata["file"] == "tower.md"
    expected = search.retrieve(Conversation.start("Who built the harbour tower?"))
    assert [one.metadata["score"] for one in documents] == [one.score for one in expected]


def test_a_follow_up_is_retrieved_for_with_its_history(search: ConversationalSearch) -> None:
    retriever = UniConvRetriever(search=search, k=1)
    assert [one.id for one in retriever.invoke("And when?", history=HISTORY)] == ["ice.md#1"]
    bound = retriever.bind(history=HISTORY)
    assert [one.id for one in bound.invoke("And when?")] == ["ice.md#1"]
    found = asyncio.run(retriever.ainvoke("And when?", history=HISTORY))
    assert [one.id for one in found] == ["ice.md#1"]


def test_a_batch_is_retrieved_as_one_by_one(search: ConversationalSearch) -> None:
    retriever = UniConvRetriever(search=search, k=1)
    found = retriever.batch(["bread dough", "harbour tower"])
    assert [[one.id for one in documents] for documents in found] == [
        ["bread.md#1"],
        ["tower.md#1"],
    ]


def test_an_answer_has_citations_passages_and_usage(search: ConversationalSearch) -> None:
    message = ChatUniConv(search=search).invoke([HumanMessage("Who built the harbour tower?")])
    assert type(message) is AIMessage
    assert message.content == "Engineers built it [1]."
    about = message.response_metadata
    assert about["citations"] == [{"number": 1, "id": "tower.md#1"}]
    assert about["passages"][0]["text"].startswith("The tower of the old harbour")
    assert about["found"] is True
    assert about["finish_reason"] == "stop"
    assert about["timings"]["total"] > 0
    answer = search.ask("Who built the harbour tower?")
    assert message.usage_metadata is not None
    assert message.usage_metadata["input_tokens"] == answer.usage.prompt_tokens > 0


def test_the_conversation_reaches_the_model(search: ConversationalSearch) -> None:
    model: Any = search.model
    said = [SystemMessage("Be kind."), *HISTORY, HumanMessage([{"type": "text", "text": "When?"}])]
    ChatUniConv(search=search).invoke(said)
    assert model.heard.turns == (
        Turn("Why does ice move?", "Because of its weight."),
        Turn("When?"),
    )
    with pytest.raises(MessagesError, match="role 'tool' is unknown"):
        ChatUniConv(search=search).invoke([*HISTORY, ToolMessage("x", tool_call_id="1")])
    with pytest.raises(MessagesError, match="nothing is asked"):
        ChatUniConv(search=search).invoke(HISTORY)


class Listener(BaseCallbackHandler):
    def __init__(self) -> None:
        self.tokens: list[str] = []

    def on_llm_new_token(self, token: str, **_: Any) -> None:
        self.tokens.append(token)


def test_an_answer_streams(search: ConversationalSearch) -> None:
    listener = Listener()
    chunks = list(
        ChatUniConv(search=search).stream("harbour tower", config={"callbacks": [listener]})
    )
    assert [chunk.content for chunk in chunks][:2] == ["Engineers", " built"]
    assert "".join(listener.tokens) == "Engineers built it [1]."
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    assert whole.content == "Engineers built it [1]."
    assert whole.response_metadata["citations"] == [{"number": 1, "id": "tower.md#1"}]
    assert [chunk.chunk_position for chunk in chunks].count("last") == 1


def test_leaving_a_stream_ends_the_writing(search: ConversationalSearch) -> None:
    model: Any = search.model
    streaming = ChatUniConv(search=search).stream("harbour tower")
    next(streaming)
    assert not model.closed
    streaming.close()
    assert model.closed


def test_an_answer_streams_without_blocking(search: ConversationalSearch) -> None:
    async def pieces() -> list[str]:
        model = ChatUniConv(search=search)
        return [str(chunk.content) async for chunk in model.astream("harbour tower")]

    assert "".join(asyncio.run(pieces())) == "Engineers built it [1]."


def test_a_call_may_change_how_text_is_written(search: ConversationalSearch) -> None:
    model: Any = search.model
    chat = ChatUniConv(search=search)
    chat.bind(temperature=0.5, max_tokens=7, seed=3, stop=["."]).invoke("harbour tower")
    changed = {"temperature": 0.5, "max_new_tokens": 7, "seed": 3, "stop": (".",)}
    assert {name: model.options[name] for name in changed} == changed
    chat.invoke("harbour tower")
    assert model.options == asdict(search.settings.decoding)


def test_what_is_not_found_is_told(search: ConversationalSearch) -> None:
    search.settings = replace(search.settings, threshold=50.0, nothing_found="Nothing.")
    message = ChatUniConv(search=search).invoke("harbour tower")
    assert message.content == "Nothing."
    assert message.response_metadata["found"] is False
    assert message.response_metadata["citations"] == []


def test_it_is_a_part_of_chains(search: ConversationalSearch) -> None:
    prompt = ChatPromptTemplate.from_messages(
        [("system", "Be kind."), MessagesPlaceholder("history"), ("user", "{question}")]
    )
    chain = prompt | ChatUniConv(search=search) | StrOutputParser()
    answer = chain.invoke({"history": HISTORY, "question": "When?"})
    assert answer == "Engineers built it [1]."
    model: Any = search.model
    assert [turn.query for turn in model.heard.turns] == ["Why does ice move?", "When?"]
