"""The official client against a real server, with a model that really writes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import openai
import pytest
from openai import OpenAI
from scripted import running, searching

from tiny import tiny_uniconv
from uniconv.model import UniConv
from uniconv.search import ConversationalSearch
from uniconv.serving.app import create_app
from uniconv.types import Conversation, Passage, Turn

ASKED = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Who built the tower?"},
    {"role": "assistant", "content": "Engineers built it [1]."},
    {"role": "user", "content": "When was that?"},
]
CONVERSATION = Conversation(
    "c", (Turn("Who built the tower?", "Engineers built it [1]."), Turn("When was that?"))
)


@pytest.fixture(scope="module")
def model() -> UniConv:
    return tiny_uniconv()


@pytest.fixture(scope="module")
def search(model: UniConv, tmp_path_factory: pytest.TempPathFactory) -> ConversationalSearch:
    return searching(tmp_path_factory.mktemp("openai"), model, max_new_tokens=12, read=2)


@pytest.fixture(scope="module")
def url(search: ConversationalSearch) -> Iterator[str]:
    with running(create_app(search)) as url:
        yield url


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_an_answer(client: OpenAI, search: ConversationalSearch) -> None:
    said = client.chat.completions.create(model="uniconv", messages=ASKED)
    expected = search.ask(CONVERSATION)
    [choice] = said.choices
    assert choice.message.role == "assistant"
    assert choice.message.content == expected.text
    assert choice.finish_reason == expected.finish_reason
    assert said.usage is not None
    assert said.usage.prompt_tokens == expected.usage.prompt_tokens
    assert said.usage.completion_tokens == expected.usage.completion_tokens == 12
    assert said.usage.total_tokens == said.usage.prompt_tokens + 12
    assert said.usage.prompt_tokens_details.cached_tokens == 0
    about = said.model_extra["uniconv"]
    assert [one["id"] for one in about["passages"]] == [p.passage.id for p in expected.passages]
    assert [one["read"] for one in about["passages"]] == [True, True, False]
    first = expected.passages[0]
    assert about["passages"][0] == {
        "number": 1,
        "id": first.passage.id,
        "title": first.passage.title,
        "text": first.passage.text,
        "score": first.score,
        "metadata": dict(first.passage.metadata),
        "read": True,
    }
    assert about["found"] is True
    assert isinstance(about["confidence"], float)
    assert set(about["timings"]) == {"read", "retrieve", "first_text", "write", "total"}
    warning = "system and developer messages are not used: the model was not trained with any"
    assert about["warnings"] == [warning]


def test_a_streamed_answer_is_the_same(client: OpenAI, search: ConversationalSearch) -> None:
    expected = search.ask(CONVERSATION)
    stream = client.chat.completions.create(
        model="uniconv", messages=ASKED, stream=True, stream_options={"include_usage": True}
    )
    first, *pieces, last, usage = list(stream)
    assert first.choices[0].delta.role == "assistant"
    assert first.choices[0].delta.content == ""
    about = first.model_extra["uniconv"]
    assert [one["id"] for one in about["passages"]] == [p.passage.id for p in expected.passages]
    assert set(about) == {"passages", "found", "confidence", "warnings", "timings"}
    assert set(about["timings"]) == {"read", "retrieve"}
    assert len(pieces) > 1
    text = "".join(one.choices[0].delta.content or "" for one in pieces)
    assert text.strip() == expected.text
    assert all(one.choices[0].finish_reason is None for one in (first, *pieces))
    assert last.choices[0].finish_reason == expected.finish_reason
    about = last.model_extra["uniconv"]
    assert set(about) == {"citations", "timings", "usage"}
    assert about["usage"]["completion_tokens"] == 12
    assert usage.choices == []
    assert usage.usage.completion_tokens == 12


def test_settings_of_a_request_are_the_searchs(
    client: OpenAI, search: ConversationalSearch
) -> None:
    said = client.chat.completions.create(
        model="uniconv",
        messages=ASKED,
        max_completion_tokens=5,
        temperature=1.5,
        top_p=0.9,
        seed=7,
        extra_body={"uniconv": {"retriever": "bm25", "retrieve": 2, "read": 1}},
    )
    about = said.model_extra["uniconv"]
    assert said.usage.completion_tokens <= 5
    found = search.index.search_text(
        ["Who built the tower? Engineers built it [1]. When was that?"], 2
    )
    assert [one["id"] for one in about["passages"]] == [one.passage.id for one in found[0]]
    assert [one["read"] for one in about["passages"]] == [True, False][: len(found[0])]
    again = client.chat.completions.create(
        model="uniconv", messages=ASKED, max_tokens=5, temperature=1.5, top_p=0.9, seed=7,
        extra_body={"uniconv": {"retriever": "bm25", "retrieve": 2, "read": 1}},
    )  # fmt: skip
    assert again.choices[0].message.content == said.choices[0].message.content
    declined = client.chat.completions.create(
        model="uniconv", messages=ASKED, extra_body={"uniconv": {"threshold": 99}}
    )
    assert declined.choices[0].message.content == search.settings.nothing_found
    assert declined.model_extra["uniconv"]["found"] is False
    quoting = client.chat.completions.create(
        model="uniconv", messages=ASKED, max_tokens=40, extra_body={"uniconv": {"quote": True}}
    )
    settings = replace(search.settings, quote=True, max_new_tokens=40)
    assert quoting.choices[0].message.content == search.stream(CONVERSATION, settings).answer.text
    assert quoting.model_extra["uniconv"]["citations"]


@pytest.mark.parametrize("encoding", ["float", "base64", None])
def test_embeddings(client: OpenAI, model: UniConv, encoding: str | None) -> None:
    texts = ["Bread rises.", "Ice moves."]
    given = {"encoding_format": encoding} if encoding else {}
    made = client.embeddings.create(model="uniconv", input=texts, **given)
    vectors = [one.embedding for one in made.data]
    if encoding == "base64":
        import base64

        vectors = [np.frombuffer(base64.b64decode(one), "<f4") for one in vectors]
    expected = model.encode_passages([Passage("", text) for text in texts])
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    assert [one.index for one in made.data] == [0, 1]
    tokens = sum(len(model.template.passage(Passage("", text))) for text in texts)
    assert made.usage.prompt_tokens == made.usage.total_tokens == tokens


def test_embeddings_of_questions(client: OpenAI, model: UniConv) -> None:
    made = client.embeddings.create(
        model="uniconv", input="Why does ice move?", extra_body={"role": "query"}
    )
    expected = model.encode_conversations([Conversation.start("Why does ice move?")])
    np.testing.assert_allclose(made.data[0].embedding, expected[0], atol=1e-6)
    assert not np.allclose(expected, model.encode_passages([Passage("", "Why does ice move?")]))


def test_models(client: OpenAI, search: ConversationalSearch) -> None:
    [model] = client.models.list().data
    assert model.model_extra["uniconv"] == {
        "passages": 3,
        "documents": False,
        "dimension": 32,
        "max_tokens": 512 - 256 - len(search.model.template.answer_suffix()),
        "retriever": "hybrid",
        "retrieve": 10,
        "read": 2,
    }


def test_errors_are_the_clients_own(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="uniconv", messages=ASKED[:3])
    assert refused.value.param == "messages"
    assert "the last message must be the user's" in refused.value.message
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="uniconv", messages=ASKED, max_tokens=100_000)
    assert refused.value.code == "max_tokens_exceeded"
    with pytest.raises(openai.NotFoundError):
        client.files.list()


def test_every_event_is_one_line(url: str, client: OpenAI) -> None:
    """Whatever passages and answers hold, an event ends where it should."""
    answer = client.chat.completions.with_raw_response.create(
        model="uniconv", messages=ASKED, stream=True
    )
    assert answer.headers["content-type"].startswith("text/event-stream")
    *events, done, end = answer.http_response.read().decode().split("\n\n")
    assert (done, end) == ("data: [DONE]", "")
    assert all(json.loads(one.removeprefix("data: "))["id"] for one in events)
