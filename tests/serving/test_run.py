"""How the server starts, stops and keeps strangers out, as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from scripted import Scripted, forked, question, searching

from uniconv.errors import ConfigError, UniConvError
from uniconv.search import ConversationalSearch
from uniconv.serving.guards import read_tokens
from uniconv.serving.run import serve
from uniconv.serving.settings import ServerSettings
from waiting import until

CHAT = "/v1/chat/completions"


class Slow(Scripted):
    """Starts to write only once a file is there: the test is in another process."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file

    def generate(self, *given: Any, **options: Any) -> Any:
        generation = super().generate(*given, **options)
        self.pieces[-1]._may = self  # type: ignore[assignment]
        return generation

    def wait(self, seconds: float) -> bool:
        time.sleep(seconds)
        return self.file.exists()


@pytest.fixture
def search(tmp_path: Path) -> ConversationalSearch:
    return searching(tmp_path, Slow(tmp_path / "go"))


def logged(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log").read_text().splitlines()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopping_finishes_what_is_being_answered(
    search: ConversationalSearch, tmp_path: Path, number: int
) -> None:
    (tmp_path / "go").touch()  # for the question that warms up
    with forked(search, tmp_path) as (url, server), ThreadPoolExecutor(2) as threads:
        until(lambda: "startup complete" in (tmp_path / "log").read_text())
        assert httpx.get(f"{url}/readyz").json() == {"status": "ready"}
        (tmp_path / "go").unlink()
        whole = threads.submit(httpx.post, url + CHAT, json=question())
        stream = threads.submit(httpx.post, url + CHAT, json=question(stream=True))
        metrics = f"{url}/metrics"
        until(lambda: "uniconv_working 2.0" in httpx.get(metrics).text)
        os.kill(server.pid or 0, number)
        until(lambda: "Shutting down" in (tmp_path / "log").read_text())
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/healthz")
        assert server.is_alive()
        (tmp_path / "go").touch()
        assert (
            whole.result().json()["choices"][0]["message"]["content"] == "Engineers built it [1]."
        )
        assert stream.result().text.endswith("data: [DONE]\n\n")
        server.join(10)
        assert server.exitcode == 0


def test_a_log_line_a_request_without_its_content(
    search: ConversationalSearch, tmp_path: Path
) -> None:
    (tmp_path / "go").touch()
    asked = question("What is the password?")
    with forked(search, tmp_path) as (url, _):
        httpx.post(url + CHAT, json=asked, headers={"x-request-id": "mine-1"})
        given = httpx.post(url + CHAT, json=asked, headers={"x-request-id": "not\tmine"})
        httpx.get(f"{url}/v1/documents/password")
        until(lambda: len(logged(tmp_path)) >= 6)
    [first, second, third] = [one for one in logged(tmp_path) if one["event"] == "request"]
    assert first["request_id"] == "mine-1"
    assert second["request_id"] == given.headers["x-request-id"] != "not\tmine"
    assert (first["method"], first["path"], first["status"]) == ("POST", CHAT, 200)
    assert first["found"] is True
    assert set(first["stages"]) == {"read", "retrieve", "first_text", "write", "total"}
    assert third["status"] == 404
    text = (tmp_path / "log").read_text()
    assert "password" not in text
    assert "Engineers" not in text


def test_content_is_logged_where_asked_for(search: ConversationalSearch, tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    with forked(search, tmp_path, log_content=True) as (url, _):
        httpx.post(url + CHAT, json=question("What is it?"))
        until(lambda: logged(tmp_path)[-1]["event"] == "request")
    line = logged(tmp_path)[-1]
    assert (line["question"], line["answer"]) == ("What is it?", "Engineers built it [1].")


def test_on_this_machine_only_its_own_names_are_answered(
    search: ConversationalSearch, tmp_path: Path
) -> None:
    (tmp_path / "go").touch()
    with forked(search, tmp_path) as (url, _):
        port = url.rsplit(":", 1)[1]
        rebound = httpx.get(f"{url}/v1/models", headers={"host": f"evil.example:{port}"})
        assert (rebound.status_code, rebound.json()["error"]["code"]) == (403, "wrong_host")
        local = httpx.get(f"{url}/v1/models", headers={"host": f"localhost:{port}"})
        assert local.status_code == 200


@pytest.mark.parametrize(("token", "warns"), [("", True), ("secret", False)])
def test_it_warns_when_anyone_may_ask(
    search: ConversationalSearch,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    token: str,
    warns: bool,
) -> None:
    monkeypatch.setenv("UNICONV_TOKENS", token)
    (tmp_path / "go").touch()
    with forked(search, tmp_path, host="0.0.0.0") as (url, _):
        port = url.rsplit(":", 1)[1]
        local = f"http://127.0.0.1:{port}"
        until(lambda: "startup complete" in (tmp_path / "log").read_text())
        assert httpx.get(f"{local}/v1/models").status_code == (200 if warns else 401)
    assert ("no token is set" in (tmp_path / "log").read_text()) == warns


def test_a_port_that_is_taken(search: ConversationalSearch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UniConvError, match=f"127.0.0.1:{port}: can't be listened on"):
            serve(search, ServerSettings(port=port))


def test_tokens_come_from_a_file_and_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "tokens"
    file.write_text("one\n\n two \n")
    monkeypatch.setenv("UNICONV_TOKENS", "three, four,")
    assert read_tokens(ServerSettings(token_file=file)) == ["three", "four", "one", "two"]
    monkeypatch.delenv("UNICONV_TOKENS")
    assert read_tokens(ServerSettings()) == []
    file.write_text("\n")
    with pytest.raises(ConfigError, match="holds no token"):
        read_tokens(ServerSettings(token_file=file))
    with pytest.raises(ConfigError, match="can't be read"):
        read_tokens(ServerSettings(token_file=tmp_path / "none"))
