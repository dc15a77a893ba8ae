"""Chat completions: what becomes of answers that are awaited, cut short, or too many."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import ExitStack
from threading import Event
from typing import Any

import httpx2 as httpx
import pytest
from scripted import Scripted, question, running, searching

from tiny import tiny_uniconv
from uniconv.conversational import Reading
from uniconv.engine import Engine, EngineBusy
from uniconv.search import ConversationalSearch, SearchSettings
from uniconv.serving.app import create_app
from uniconv.serving.settings import ServerSettings
from uniconv.types import Conversation
from waiting import until

CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def model() -> Scripted:
    return Scripted()


@pytest.fixture(scope="module")
def search(model: Scripted, tmp_path_factory: pytest.TempPathFactory) -> ConversationalSearch:
    return searching(tmp_path_factory.mktemp("chat"), model)


@pytest.fixture(scope="module")
def client(search: ConversationalSearch) -> Iterator[httpx.Client]:
    """Of a server that works on two requests and lets one wait."""
    app = create_app(search, ServerSettings(concurrency=2, queue=1))
    with running(app) as url, httpx.Client(base_url=url, timeout=20) as client:
        client.service = app.state.service  # type: ignore[attr-defined]
        yield client


@pytest.fixture(autouse=True)
def afresh(model: Scripted, client: Any) -> Iterator[None]:
    model.asked.clear()
    model.pieces.clear()
    model.said = ("Engineers ", "built it [1].")
    yield
    model.may.set()
    until(lambda: client.service.workers.busy == client.service.workers.waiting == 0)


def events(text: str) -> list[dict[str, Any]]:
    *lines, done, end = text.split("\n\n")
    assert (done, end) == ("data: [DONE]", "")
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def test_citations_point_to_passages(client: httpx.Client) -> None:
    said = client.post(CHAT, json=question()).json()
    first = said["uniconv"]["passages"][0]
    assert said["uniconv"]["citations"] == [{"number": 1, "id": first["id"]}]
    chunks = events(client.post(CHAT, json=question(stream=True)).text)
    assert chunks[-1]["uniconv"]["citations"] == [{"number": 1, "id": first["id"]}]
    assert "".join(one["choices"][0]["delta"].get("content", "") for one in chunks) == (
        "Engineers built it [1]."
    )


def test_user_messages_in_a_row_are_one_question(client: httpx.Client, model: Scripted) -> None:
    talk = [("user", "Hello."), ("user", "Who built it?")]
    parts = [{"type": "text", "text": "Hello.\n\nWho built"}, {"type": "text", "text": "it?"}]
    client.post(CHAT, json={"messages": [{"role": r, "content": c} for r, c in talk]})
    client.post(CHAT, json={"messages": [{"role": "user", "content": parts}]})
    [one, two] = [model.tokenizer.decode(asked[0].tokens) for asked in model.asked]
    assert "Hello.\n\nWho built it?" in one
    assert "Hello.\n\nWho built\nit?" in two


def test_what_is_not_used_is_said(client: httpx.Client) -> None:
    said = client.post(CHAT, json=question(model="gpt-5", n=2, tools=[], metadata=None)).json()
    assert said["model"] == "scripted"
    assert said["uniconv"]["warnings"] == [
        "not used here: n, tools",
        "the only model here is scripted, and it answered",
    ]


def test_options_reach_the_model(client: httpx.Client, model: Scripted) -> None:
    asked = question(temperature=0.5, top_p=0.8, seed=3, stop=["x", "y"], max_tokens=9)
    client.post(CHAT, json=asked | {"uniconv": {"read": 1}})
    client.post(CHAT, json=question(temperature=None, stop=None, stream=None, max_tokens=None))
    client.post(CHAT, json=question(stop="x"))
    [(_, passages, options), (_, _, defaults), (_, _, stopped)] = model.asked
    assert (defaults["stop"], stopped["stop"]) == ((), ("x",))
    assert (defaults["temperature"], defaults["max_new_tokens"]) == (0.0, 128)
    assert len(passages) == 1
    assert options == {
        "temperature": 0.5,
        "top_p": 0.8,
        "seed": 3,
        "stop": ("x", "y"),
        "max_new_tokens": 9,
        "stop_loops": True,
    }


def test_a_client_that_leaves_ends_its_answer(client: Any, model: Scripted) -> None:
    """Streaming or not, in the middle of the answer: the model stops, and the place is free."""
    workers = client.service.workers
    model.may.clear()
    with client.stream("POST", CHAT, json=question(stream=True)) as response:
        assert next(response.iter_lines()).startswith("data: ")
        assert workers.busy == 1
    until(lambda: workers.busy == 0)
    with pytest.raises(httpx.ReadTimeout):
        client.post(CHAT, json=question(), timeout=1)
    until(lambda: workers.busy == 0)
    assert [pieces.closed for pieces in model.pieces] == [True, True]


def test_a_client_that_leaves_ends_the_reading_of_its_conversation(
    client: Any, model: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(_: Conversation, cancelled: Event) -> Reading:
        assert cancelled.wait(10)
        raise CancelledError

    begun = len(model.pieces)
    monkeypatch.setattr(model, "read", read)
    with pytest.raises(httpx.ReadTimeout):
        client.post(CHAT, json=question(), timeout=0.2)
    until(lambda: client.service.workers.busy == 0)
    assert len(model.pieces) == begun


def test_the_queue_is_bounded(client: Any, model: Scripted) -> None:
    model.may.clear()
    workers = client.service.workers
    with ThreadPoolExecutor(3) as threads:
        taken = [threads.submit(client.post, CHAT, json=question()) for _ in range(3)]
        until(lambda: workers.busy == 2 and workers.waiting == 1)
        refused = client.post(CHAT, json=question(stream=True))
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["error"]["type"] == "rate_limit_error"
        assert client.post("/v1/search", json={"query": "ice"}).status_code == 429
        assert client.get("/healthz").status_code == 200
        model.may.set()
        assert [one.result().status_code for one in taken] == [200, 200, 200]


def test_one_that_leaves_the_queue_is_never_begun(client: Any, model: Scripted) -> None:
    model.may.clear()
    workers = client.service.workers
    with ThreadPoolExecutor(2) as threads:
        taken = [threads.submit(client.post, CHAT, json=question()) for _ in range(2)]
        until(lambda: workers.busy == 2)
        with pytest.raises(httpx.ReadTimeout):
            client.post(CHAT, json=question(), timeout=0.2)
        until(lambda: workers.waiting == 0)
        model.may.set()
        assert [one.result().status_code for one in taken] == [200, 200]
    assert len(model.asked) == 2


def test_an_answer_that_takes_too_long_is_ended(
    client: Any, model: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client.service, "settings", ServerSettings(timeout=1))
    model.may.clear()
    late = client.post(CHAT, json=question())
    assert late.status_code == 504
    assert late.json()["error"]["code"] == "timeout"
    chunks = events(client.post(CHAT, json=question(stream=True)).text)
    assert "passages" in chunks[0]["uniconv"]
    assert chunks[1]["error"]["code"] == "timeout"
    until(lambda: client.service.workers.busy == 0)


def test_an_engine_that_is_full_is_a_server_that_is(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise EngineBusy("256 requests wait; try again later")

    monkeypatch.setattr(Scripted, "read_tokens", refuse)
    for stream in (True, False):
        refused = client.post(CHAT, json=question(stream=stream))
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")


def test_a_failure_says_nothing_of_itself(
    client: httpx.Client, search: ConversationalSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr("scripted.Pieces.__next__", fail)
    failed = client.post(CHAT, json=question())
    chunks = events(client.post(CHAT, json=question(stream=True)).text)
    assert failed.status_code == 500
    assert failed.json() == chunks[-1]
    assert failed.json()["error"]["type"] == "server_error"
    assert "secret" not in failed.text


@pytest.mark.parametrize("way", ["model", "engine"])
def test_many_conversations_at_once(search: ConversationalSearch, way: str) -> None:
    """Each gets the answer to its own question; of clients that leave nothing stays behind."""
    settings = SearchSettings(max_new_tokens=6)
    alone = ConversationalSearch(tiny_uniconv(), search.index, settings)
    asked = [f"Who built the tower number {number}?" for number in range(16)]
    expected = [alone.ask(one).text for one in asked]
    with ExitStack() as stack:
        model = tiny_uniconv()
        shared = stack.enter_context(Engine(model)) if way == "engine" else model
        real = ConversationalSearch(shared, search.index, settings)
        app = create_app(real, ServerSettings(concurrency=8))
        url = stack.enter_context(running(app))
        client = stack.enter_context(httpx.Client(base_url=url, timeout=60))

        def ask(text: str) -> Any:
            with client.stream("POST", CHAT, json=question(text, stream=True)) as left:
                next(left.iter_lines())
            return client.post(CHAT, json=question(text))

        with ThreadPoolExecutor(16) as threads:
            said = list(threads.map(ask, asked))
        until(lambda: app.state.service.workers.busy == 0)
    texts = [one.json()["choices"][0]["message"]["content"] for one in said]
    assert texts == expected
    assert len(set(texts)) > 1


def test_what_was_read_is_freed_at_once(search: ConversationalSearch) -> None:
    """KV caches are large: none waits for the garbage collector, least of all an abandoned one."""
    real = ConversationalSearch(tiny_uniconv(), search.index, SearchSettings(max_new_tokens=4))
    app = create_app(real)
    gc.collect()
    gc.disable()
    try:
        with running(app) as url, httpx.Client(base_url=url, timeout=20) as client:
            for _ in range(3):
                client.post(CHAT, json=question())
                client.post(CHAT, json=question(stream=True))
                with client.stream("POST", CHAT, json=question(stream=True)) as response:
                    next(response.iter_lines())
            until(lambda: app.state.service.workers.busy == 0)
            until(lambda: not [one for one in gc.get_objects() if type(one) is Reading], 2)
    finally:
        gc.enable()
