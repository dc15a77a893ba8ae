"""The client of chat servers against a real server on this machine."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

import pytest
from chat_server import Reply, chat_server

from uniconv.errors import ConfigError, UniConvError
from uniconv.evaluation.chat_api import KEY_VARIABLE, ChatClient

MESSAGES = [{"role": "user", "content": "Hello?"}]


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)


def test_a_reply_with_its_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "sk-secret")
    with chat_server(lambda *_: Reply(" Hi. ")) as server:
        reply = ChatClient(server.url, "big").complete(MESSAGES, 50)
    assert (reply.text, reply.prompt_tokens, reply.completion_tokens) == ("Hi.", 7, 3)
    assert reply.seconds > 0
    [(path, headers, body)] = server.requests
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == "Bearer sk-secret"
    assert body == {"model": "big", "messages": MESSAGES, "max_tokens": 50, "temperature": 0}


def test_without_a_key_none_is_sent() -> None:
    with chat_server(lambda *_: Reply("Hi.")) as server:
        ChatClient(f"{server.url}/chat/completions", "big").complete(MESSAGES, 50)
    assert "Authorization" not in server.requests[0][1]


def test_passing_failures_are_tried_again() -> None:
    replies = [
        Reply(status=429, body=b"slow down", headers={"Retry-After": "0"}),
        Reply(status=503, body=b"loading"),
        Reply("Hi."),
    ]
    with chat_server(lambda number, _: replies[number]) as server:
        assert ChatClient(server.url, "big", pause=0.01).complete(MESSAGES, 50).text == "Hi."
    assert len(server.requests) == 3


def test_a_server_that_stays_down_is_told() -> None:
    with chat_server(lambda *_: Reply(status=500, body=b"out of memory")) as server:
        client = ChatClient(server.url, "big", retries=2, pause=0.01)
        with pytest.raises(UniConvError, match=r"HTTP 500.*out of memory, 3 times in a row"):
            client.complete(MESSAGES, 50)
    assert len(server.requests) == 3


def test_the_server_says_how_long_to_wait() -> None:
    replies = [Reply(status=429, headers={"Retry-After": "0.2"}), Reply("Hi.")]
    with chat_server(lambda number, _: replies[number]) as server:
        started = time.perf_counter()
        ChatClient(server.url, "big", pause=0.0).complete(MESSAGES, 50)
        assert time.perf_counter() - started >= 0.2


def test_a_refusal_is_told_at_once_and_never_with_the_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with chat_server(lambda *_: Reply(status=401, body=b"no key given")) as server:
        with pytest.raises(UniConvError, match=rf"401.*no key given; set {KEY_VARIABLE}"):
            ChatClient(server.url, "big").complete(MESSAGES, 50)
        monkeypatch.setenv(KEY_VARIABLE, "sk-secret")
    refusal = Reply(status=401, body=b"wrong key sk-secret")
    with chat_server(lambda *_: refusal) as server:
        with pytest.raises(UniConvError, match="wrong key …") as raised:
            ChatClient(server.url, "big").complete(MESSAGES, 50)
        assert "sk-secret" not in str(raised.value)
        assert len(server.requests) == 1


def test_a_slow_server_runs_into_the_timeout() -> None:
    given_up = threading.Event()

    def answer(number: int, body: dict[str, Any]) -> Reply:
        given_up.wait(30)
        return Reply("Hi.")

    with chat_server(answer) as server:
        impatient = ChatClient(server.url, "big", timeout=0.05, retries=0)
        with pytest.raises(UniConvError, match=r"can't be reached \(timed out\), 1 times"):
            impatient.complete(MESSAGES, 50)
        given_up.set()
        assert ChatClient(server.url, "big", retries=0).complete(MESSAGES, 50).text == "Hi."


def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        with pytest.raises(UniConvError, match="can't be reached"):
            ChatClient(url, "big", retries=1, pause=0.01).complete(MESSAGES, 50)


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"[]", b'{"choices": []}', b'{"choices": [{"message": {"content": 3}}]}', b"\xff"],
)
def test_other_replies_are_no_completions(body: bytes) -> None:
    with (
        chat_server(lambda *_: Reply(body=body)) as server,
        pytest.raises(UniConvError, match="is no chat completion"),
    ):
        ChatClient(server.url, "big").complete(MESSAGES, 50)


def test_an_empty_message_is_an_empty_text() -> None:
    body = b'{"choices": [{"message": {"content": null}}]}'
    with chat_server(lambda *_: Reply(body=body)) as server:
        reply = ChatClient(server.url, "big").complete(MESSAGES, 50)
    assert (reply.text, reply.prompt_tokens) == ("", 0)


def test_a_path_is_no_url() -> None:
    with pytest.raises(ConfigError, match=r"'localhost:8000' is no URL"):
        ChatClient("localhost:8000", "big")
