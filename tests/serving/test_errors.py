"""Every mistake is told in OpenAI's form, with what is wrong and where."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripted import Scripted, question, searching

from uniconv.errors import ConfigError, IndexServerError
from uniconv.retrieval.index import FolderIndex
from uniconv.serving.app import create_app
from uniconv.serving.requests import CONVERSATION
from uniconv.serving.settings import ServerSettings

CHAT, SEARCH, EMBED = "/v1/chat/completions", "/v1/search", "/v1/embeddings"
USER = {"role": "user", "content": "Who?"}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    search = searching(tmp_path_factory.mktemp("errors"), Scripted())
    limits = ServerSettings(max_body=20_000, max_tokens=100, max_retrieve=20, max_inputs=3)
    with TestClient(create_app(search, limits)) as client:
        yield client


@pytest.mark.parametrize("sent", ["chat-abc123", None, "two words", "x" * 65])
def test_an_answer_names_its_conversation(client: TestClient, sent: str | None) -> None:
    headers = {} if sent is None else {CONVERSATION: sent}
    told = client.post(CHAT, json={"messages": [USER]}, headers=headers).headers[CONVERSATION]
    assert (told == sent) == (sent == "chat-abc123")
    assert told.replace("-", "").isalnum()


def error(response: Any) -> dict[str, Any]:
    assert response.headers["x-request-id"]
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert "\n" not in body["error"]["message"]
    return dict(body["error"])


@pytest.mark.parametrize(
    ("path", "body", "param", "message"),
    [
        (CHAT, {}, "messages", "Field required"),
        (CHAT, {"messages": []}, "messages", "at least 1 item"),
        (CHAT, {"messages": "hello"}, "messages", "valid list"),
        (CHAT, {"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role", "should be"),
        (CHAT, {"messages": [{"role": "user"}]}, "messages.0.content", "Field required"),
        (CHAT, {"messages": [{"role": "user", "content": None}]}, "messages.0.content", "string"),
        (CHAT, {"messages": [{"role": "user", "content": " "}]}, "messages.0", "not be empty"),
        (
            CHAT,
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages.0.content",
            "only parts of text",
        ),
        (CHAT, {"messages": [USER, {"role": "assistant", "content": "I."}]}, "messages", "last"),
        (CHAT, {"messages": [{"role": "assistant", "content": "I."}, USER]}, "messages", "follow"),
        (
            CHAT,
            {"messages": [{"role": "system", "content": "Be."}]},
            "messages",
            "nothing is asked",
        ),
        (CHAT, question(max_tokens=0), "max_tokens", "greater than or equal to 1"),
        (CHAT, question(max_tokens="many"), "max_tokens", "valid integer"),
        (CHAT, question(max_tokens=101), "max_tokens", "at most 100 tokens here, not 101"),
        (CHAT, question(max_completion_tokens=101), "max_tokens", "at most 100"),
        (CHAT, question(temperature=-1), "temperature", "greater than or equal to 0"),
        (CHAT, question(temperature=3), "temperature", "less than or equal to 2"),
        (CHAT, question(top_p=0), "top_p", "greater than 0"),
        (CHAT, question(seed=2**63), "seed", "less than"),
        (CHAT, question(stop=["x"] * 17), "stop", "at most 16"),
        (CHAT, question(stream="perhaps"), "stream", "valid boolean"),
        (CHAT, question(uniconv={"retriever": "best"}), "uniconv.retriever", "'dense'"),
        (CHAT, question(uniconv={"retrieve": 21}), "uniconv.retrieve", "at most 20"),
        (CHAT, question(uniconv={"read": 5, "retrieve": 2}), None, "read must be from 1 to"),
        (CHAT, question(uniconv={"rank": 5}), "uniconv.rank", "not permitted"),
        (CHAT, question("harbour " * 1200), "messages", "1024 tokens that the model reads"),
        (CHAT, question(uniconv={"filters": {"file": []}}), None, "'file' names no value"),
        (SEARCH, {"query": "a", "filters": {"file": []}}, None, "'file' names no value"),
        (SEARCH, {"query": "a", "filters": "file"}, "filters", "valid dictionary"),
        (SEARCH, {}, "query", "either a query or messages"),
        (SEARCH, {"query": "a", "messages": [USER]}, "query", "either a query or messages"),
        (SEARCH, {"query": ""}, "query", "must not be empty"),
        (SEARCH, {"query": "  "}, "query", "must not be empty"),
        (SEARCH, {"query": "a", "k": 0}, "k", "greater than or equal to 1"),
        (SEARCH, {"query": "a", "k": 21}, "k", "at most 20"),
        (SEARCH, {"query": "a", "top": 2}, "top", "not permitted"),
        (EMBED, {"input": []}, "input", "1 to 3 texts"),
        (EMBED, {"input": ["a"] * 4}, "input", "1 to 3 texts"),
        (EMBED, {"input": ["a", " "]}, "input", "a text is empty"),
        (EMBED, {"input": [[1, 2]]}, "input.0", "string"),
        (EMBED, {"input": "a", "role": "title"}, "role", "'passage'"),
        (EMBED, {"input": "a", "dimensions": 7}, "dimensions", "vectors have 32"),
        (EMBED, {"input": "a", "encoding_format": "hex"}, "encoding_format", "'float'"),
    ],
)
def test_what_is_wrong_and_where(
    client: TestClient, path: str, body: dict[str, Any], param: str | None, message: str
) -> None:
    response = client.post(path, json=body)
    assert response.status_code == 400
    told = error(response)
    assert message in told["message"]
    assert told["param"] == param
    assert told["type"] == "invalid_request_error"


def test_filters_on_metadata(client: TestClient) -> None:
    for path, body in (
        (SEARCH, {"query": "ice", "filters": {"file": ["tower.md", "bread.md"]}}),
        (CHAT, question("ice?", uniconv={"filters": {"file": ["tower.md", "bread.md"]}})),
    ):
        told = client.post(path, json=body).json()
        found = told.get("uniconv", told)["passages"]
        assert {one["metadata"]["file"] for one in found} == {"tower.md", "bread.md"}


def test_an_index_whose_server_is_gone(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def search(*_: Any) -> None:
        raise IndexServerError("http://milvus.internal:19530: can't be reached")

    monkeypatch.setattr(FolderIndex, "search", search)
    response = client.post(SEARCH, json={"query": "a"})
    assert response.status_code == 503
    assert "milvus.internal" not in error(response)["message"]
    assert "milvus.internal" in caplog.text


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1, 2",
        b'"text"',
        b"\xff\xfe",
        b"null",
        b"[" * 10_000,
        b'{"messages": [{"role": "user", "content": "\\ud800"}]}',
        b'{"messages": [{"role": "user", "content": "a"}], "temperature": NaN}',
        b'{"messages": [{"role": "user", "content": "a"}], "seed": 1e999}',
    ],
)
@pytest.mark.parametrize("path", [CHAT, SEARCH, EMBED])
def test_what_is_no_request(client: TestClient, path: str, body: bytes) -> None:
    response = client.post(path, content=body, headers={"content-type": "application/json"})
    assert response.status_code == 400
    error(response)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "text", "a"]), children, max_size=3)
    ),
    max_leaves=6,
)
fields = st.sampled_from(
    ["messages", "stream", "max_tokens", "temperature", "stop", "uniconv", "query", "k", "input"]
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(path=st.sampled_from([CHAT, SEARCH, EMBED]), body=st.dictionaries(fields, json_values))
def test_no_json_makes_it_fail(client: TestClient, path: str, body: dict[str, Any]) -> None:
    response = client.post(path, json=body)
    assert response.status_code in (200, 400), response.text
    if response.status_code == 400:
        error(response)


def test_addresses_that_are_not_there(client: TestClient) -> None:
    missing = client.get("/v1/nothing")
    assert missing.status_code == 404
    assert "no such address" in error(missing)["message"]
    assert client.get(CHAT).status_code in (404, 405)
    assert client.post("/healthz").status_code == 405
    assert client.get("/../settings.py").status_code == 404
    assert client.get("/%2e%2e/settings.py").status_code == 404


def test_a_body_that_is_too_large(client: TestClient) -> None:
    large = b"x" * 20_001
    for content in (large, iter([large[:9000], large[9000:]])):  # with a length, and in chunks
        response = client.post(CHAT, content=content)
        assert response.status_code == 413
        assert "20000 bytes" in error(response)["message"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"port": 70_000}, "port must be at most 65535"),
        ({"port": -1}, "port must be 0 or more"),
        ({"concurrency": 0}, "concurrency must be 1 or more"),
        ({"queue": -1}, "queue must be 0 or more"),
        ({"timeout": 0.0}, "timeout must be a number of seconds above 0"),
        ({"timeout": float("nan")}, "timeout must be"),
        ({"origins": ("example.org",)}, "must be a scheme and a host"),
        ({"origins": ("https://example.org/",)}, "must be a scheme and a host"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ServerSettings(**changes)


def test_a_question_that_is_far_too_long_is_not_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = searching(tmp_path, Scripted())
    template, read = search.model.template, []
    content = template.content
    monkeypatch.setattr(template, "content", lambda text: read.append(text) or content(text))
    with TestClient(create_app(search)) as client:
        told = error(client.post(CHAT, json=question("long " * 100_000)))
    assert told["code"] == "context_length_exceeded"
    assert str(template.limits.conversation) in told["message"]
    assert 0 < sum(map(len, read)) < 10_000
