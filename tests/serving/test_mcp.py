"""The MCP server with the protocol's own client: in the process, and over stdio as agents do."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.server.mcpserver import MCPServer

from command import run
from tiny_index import tiny_index
from uniconv.decoding import Generation
from uniconv.engine import Engine
from uniconv.errors import ModelError
from uniconv.model import UniConv
from uniconv.retrieval.interface import Index
from uniconv.search import ConversationalSearch, SearchSettings
from uniconv.serving.mcp import create_server
from uniconv.types import Conversation, Turn

HISTORY = [
    {"role": "user", "content": "Why does ice move?"},
    {"role": "assistant", "content": "Because of its weight."},
]
TALK = Conversation("t", (Turn("Why does ice move?", "Because of its weight."), Turn("When?")))

Call = tuple[str, dict[str, Any]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_index(tmp_path_factory.mktemp("mcp"))


class Scripted(UniConv):
    """Always says the same."""

    def generate(self, conversation: Any, *_: Any, **__: Any) -> Generation:
        return Generation(iter(["Engineers [1]", "[9]."]), None, len(conversation.tokens))


@pytest.fixture
def search(folder: Path) -> ConversationalSearch:
    index = Index.open(folder)
    tiny = UniConv.from_pretrained(index.model_name, device="cpu")
    model = Scripted(tiny.network, tiny.tokenizer, tiny.template, tiny.settings)
    return ConversationalSearch(model, index, SearchSettings(retriever="bm25"))


def calls(server: Any, wanted: Sequence[Call]) -> list[Any]:
    """What the server answers to calls of its tools, one after another."""

    async def ask() -> list[Any]:
        async with Client(server) as client:
            return [await client.call_tool(name, given) for name, given in wanted]

    return asyncio.run(ask())


def test_tools_say_what_they_take_and_give(search: ConversationalSearch) -> None:
    async def listed() -> Any:
        async with Client(create_server(search)) as client:
            return client.instructions, (await client.list_tools()).tools

    instructions, tools = asyncio.run(listed())
    assert "3 passages" in instructions
    assert [tool.name for tool in tools] == ["search", "ask"]
    given = [set(tool.input_schema["properties"]) for tool in tools]
    assert given == [{"query", "k"}, {"question", "history"}]
    assert [tool.input_schema["required"] for tool in tools] == [["query"], ["question"]]
    assert set(tools[1].output_schema["properties"]) == {"answer", "citations", "found", "passages"}
    assert all(tool.annotations.read_only_hint for tool in tools)


def test_search_gives_the_passages(search: ConversationalSearch) -> None:
    (found,) = calls(create_server(search), [("search", {"query": "harbour tower", "k": 1})])
    (passage,) = found.structured_content["passages"]
    (expected,) = search.retrieve(Conversation.start("harbour tower"), SearchSettings("bm25", 1, 1))
    assert passage == {
        "number": 1,
        "id": "tower.md#1",
        "title": "Tower",
        "text": "The tower of the old harbour was built in 1893 by engineers.",
        "score": expected.score,
        "metadata": dict(expected.passage.metadata),
    }
    assert "tower.md#1" in found.content[0].text  # for clients that only read text


def test_ask_gives_the_cited_answer(search: ConversationalSearch) -> None:
    (answered,) = calls(create_server(search), [("ask", {"question": "the harbour tower?"})])
    about = answered.structured_content
    assert about["answer"] == "Engineers [1]."
    assert about["citations"] == [{"number": 1, "id": "tower.md#1"}]
    assert about["passages"][0]["id"] == "tower.md#1"
    assert about["found"] is True


def test_ask_follows_the_history(search: ConversationalSearch) -> None:
    alone, following = calls(
        create_server(search),
        [("ask", {"question": "When?"}), ("ask", {"question": "When?", "history": HISTORY})],
    )
    assert alone.structured_content["passages"] == []
    assert following.structured_content["passages"][0]["id"] == "ice.md#1"


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (("search", {"query": ""}), "at least 1 character"),
        (("search", {"query": "x", "k": 0}), "greater than or equal to 1"),
        (("search", {"query": "x", "k": 101}), "less than or equal to 100"),
        (("ask", {"question": "x", "history": HISTORY[1:]}), "message 1: an assistant's message"),
        (("ask", {"question": "x", "history": [{"role": "tool", "content": ""}]}), "'user' or"),
    ],
)
def test_mistakes_are_told_to_the_agent(
    call: Call, problem: str, search: ConversationalSearch
) -> None:
    (answer,) = calls(create_server(search), [call])
    assert answer.is_error
    assert problem in answer.content[0].text
    assert "Traceback" not in answer.content[0].text


@pytest.fixture(scope="module")
def over_stdio(folder: Path) -> list[Any]:
    """What ``uniconv mcp`` answers; several calls wait at the same time."""
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "uniconv", "mcp", str(folder), "--read", "2"],
        env={"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
    )

    async def ask() -> list[Any]:
        async with Client(stdio_client(server)) as client:
            return await asyncio.gather(
                client.call_tool("search", {"query": "Why does ice move?"}),
                client.call_tool("ask", {"question": "When?", "history": HISTORY}),
                client.call_tool("ask", {"question": "Who built the harbour tower?"}),
            )

    return asyncio.run(ask())


@pytest.fixture(scope="module")
def expected(folder: Path) -> Iterator[ConversationalSearch]:
    index = Index.open(folder)
    with Engine(UniConv.from_pretrained(index.model_name)) as engine:
        yield ConversationalSearch(engine, index, SearchSettings(read=2))


def test_agents_get_what_the_library_gives(
    over_stdio: list[Any], expected: ConversationalSearch
) -> None:
    found, follow_up, first = (answer.structured_content for answer in over_stdio)
    passages = expected.retrieve(Conversation.start("Why does ice move?"))
    assert [one["id"] for one in found["passages"]] == [one.passage.id for one in passages]
    for about, question in ((follow_up, TALK), (first, "Who built the harbour tower?")):
        answer = expected.ask(question)  # type: ignore[arg-type]
        assert about["answer"] == answer.text
        assert [one["id"] for one in about["passages"]] == [
            one.passage.id for one in answer.passages
        ]


def test_a_model_that_the_engine_refuses_is_served_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[MCPServer] = []

    def refuse(*_: Any) -> None:
        raise ModelError("no attention interface")

    monkeypatch.setattr("uniconv.cli.searches.Engine", refuse)
    monkeypatch.setattr(MCPServer, "run", lambda self, _: served.append(self))
    assert run("mcp", folder) == 0
    (found,) = calls(served[0], [("search", {"query": "harbour tower", "k": 1})])
    assert len(found.structured_content["passages"]) == 1


def test_a_mistake_at_the_start_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("mcp", tmp_path) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "there is no index here" in told.err


def test_a_missing_extra_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in [name for name in sys.modules if name.split(".")[0] == "mcp"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "mcp", None)
    monkeypatch.delitem(sys.modules, "uniconv.serving.mcp")
    assert run("mcp", folder) == 2
    assert "the MCP server needs the extra mcp: pip install 'uniconv[mcp]'" in (
        capsys.readouterr().err
    )
