"""The component with Haystack itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("haystack", reason="the extra haystack is not installed")

from haystack import Pipeline
from haystack.components.builders import PromptBuilder
from haystack.dataclasses import ChatMessage

from uniconv.errors import MessagesError
from uniconv.integrations.haystack import UniConvRetriever
from uniconv.search import ConversationalSearch
from uniconv.types import Conversation

HISTORY = [
    ChatMessage.from_user("Why does ice move?"),
    ChatMessage.from_assistant("Because of its weight."),
]


def test_documents_have_what_passages_have(search: ConversationalSearch) -> None:
    documents = UniConvRetriever(search).run("Who built the harbour tower?")["documents"]
    best = documents[0]
    assert best.id == "tower.md#1"
    assert best.content == "The tower of the old harbour was built in 1893 by engineers."
    assert best.meta["title"] == "Tower"
    assert best.meta["file"] == "tower.md"
    expected = search.retrieve(Conversation.start("Who built the harbour tower?"))
    assert [one.score for one in documents] == [one.score for one in expected]


def test_a_follow_up_is_retrieved_for_with_its_history(search: ConversationalSearch) -> None:
    retriever = UniConvRetriever(search, top_k=1)
    found = retriever.run("And when?", history=HISTORY)["documents"]
    assert [one.id for one in found] == ["ice.md#1"]
    assert len(retriever.run("the its glacier harbour yeast", top_k=2)["documents"]) == 2
    with pytest.raises(MessagesError, match="must follow a user"):
        retriever.run("And when?", history=HISTORY[1:])


def test_it_is_a_part_of_pipelines_that_can_be_saved(search: ConversationalSearch) -> None:
    search.settings = replace(search.settings, stop=("x",), temperature=0.25)
    pipeline = Pipeline()
    pipeline.add_component("retriever", UniConvRetriever(search, top_k=1))
    template = "{% for document in documents %}{{ document.content }}{% endfor %}"
    pipeline.add_component("prompt", PromptBuilder(template, required_variables=["documents"]))
    pipeline.connect("retriever.documents", "prompt.documents")
    trusted = ["uniconv.integrations.haystack"]
    loaded = Pipeline.loads(pipeline.dumps(), allowed_modules=trusted)
    for one in (pipeline, loaded):
        result = one.run({"retriever": {"query": "And when?", "history": HISTORY}})
        assert result["prompt"]["prompt"].startswith("A glacier moves slowly")
    again = loaded.get_component("retriever")
    assert again.search.settings == search.settings
    assert again.search.index.folder == search.index.folder
    assert again.top_k == 1
