"""A search whose model runs in other servers, as the commands open it and as HTTP shows it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from vllm_server import VLLM, Refusal, vllm_server

from command import run
from tiny_index import tiny_index
from uniconv.cli.searches import open_search
from uniconv.engine import Engine
from uniconv.errors import ConfigError
from uniconv.model import UniConv
from uniconv.remote.embeddings import EmbeddingServer
from uniconv.remote.model import EMBEDDINGS_KEY, GENERATOR_KEY, RemoteModel
from uniconv.remote.settings import RemoteSettings
from uniconv.serving.app import create_app
from uniconv.types import Conversation

CHAT = "/v1/chat/completions"
QUESTION = {"messages": [{"role": "user", "content": "Who built the tower?"}], "max_tokens": 8}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_index(tmp_path_factory.mktemp("remote"))


@pytest.fixture
def vllm(folder: Path) -> Iterator[VLLM]:
    with vllm_server(UniConv.from_pretrained(folder.parent / "model", device="cpu")) as server:
        yield server


def said(folder: Path, remote: RemoteSettings) -> tuple[type, str]:
    with open_search(folder, None, 2, None, remote) as search:
        model = search.model
        answer = search.ask(Conversation.start("Why does bread rise?"))
        return type(model.reader if isinstance(model, RemoteModel) else model), answer.text


def test_options_choose_where_the_model_runs(folder: Path, vllm: VLLM) -> None:
    here = said(folder, RemoteSettings())
    writes = said(folder, RemoteSettings(generator_url=vllm.url))
    assert [path for path, _ in vllm.requests] == ["/v1/completions"] * 2  # one to try it
    both = said(folder, RemoteSettings(generator_url=vllm.url, embeddings_url=vllm.url))
    assert (here[0], writes[0], both[0]) == (Engine, Engine, EmbeddingServer)
    assert here[1] == writes[1] == both[1] != ""


def test_keys_come_from_the_environment(
    folder: Path, vllm: VLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    vllm.key = "secret"
    monkeypatch.setenv(GENERATOR_KEY, "secret")
    monkeypatch.setenv(EMBEDDINGS_KEY, "secret")
    assert said(folder, RemoteSettings(generator_url=vllm.url, embeddings_url=vllm.url))[1]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"embeddings_url": "http://a/v1"}, "embeddings_url needs generator_url"),
        ({"generator_model": "a"}, "generator_model needs generator_url"),
        ({"remote_timeout": 0.0}, "remote_timeout must be"),
    ],
)
def test_settings_that_do_not_fit(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        RemoteSettings(**settings)


def test_the_command_tells_a_server_that_is_no_such_server(
    folder: Path, vllm: VLLM, capsys: pytest.CaptureFixture[str]
) -> None:
    vllm.names = ("other",)
    options = ["--generator-url", vllm.url, "--generator-model", "tiny"]
    assert run("serve", folder, *options) == 2
    told = f"uniconv: {vllm.url}/models: its models are other; 'tiny' is not among them\n"
    assert capsys.readouterr().err == told


def test_what_fails_elsewhere_is_told_without_its_address(
    folder: Path, vllm: VLLM, caplog: pytest.LogCaptureFixture
) -> None:
    remote = RemoteSettings(generator_url=vllm.url, embeddings_url=vllm.url)
    with (
        open_search(folder, None, 2, None, remote) as search,
        TestClient(create_app(search)) as client,
    ):
        whole = client.post(CHAT, json=QUESTION)
        assert whole.status_code == 200 and whole.json()["usage"]["completion_tokens"] == 8
        vllm.refusals = [Refusal(404, "no such model")]
        failed = client.post(CHAT, json=QUESTION)
        assert failed.status_code == 502
        assert failed.json()["error"]["code"] == "upstream"
        vllm.refusals = [Refusal(500, "out of memory")] * 3
        vllm.refusals += [Refusal(429, "slow down", Retry_After="0")] * 3
        pauses = {"json": {"query": "tower"}}
        assert client.post("/v1/search", **pauses).status_code == 502
        busy = client.post("/v1/search", **pauses)
        assert (busy.status_code, busy.headers["Retry-After"]) == (429, "1")
        vllm.said_in_stream = "EngineCore died"
        streamed = client.post(CHAT, json=QUESTION | {"stream": True}).text
        assert json.loads(streamed.split("\n\n")[-3][6:])["error"]["code"] == "upstream"
        assert vllm.url not in failed.text + busy.text + streamed
    assert sum(record.message == "failed" for record in caplog.records) == 3
