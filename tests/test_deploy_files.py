"""What can be known of the files in deploy/ without containers or a cluster."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from command import run
from uniconv.remote.model import EMBEDDINGS_KEY, GENERATOR_KEY
from uniconv.serving.requests import CONVERSATION

DEPLOY = Path(__file__).parents[1] / "deploy"
NGINX = (DEPLOY / "nginx.conf").read_text("utf-8")
COMPOSE = {path.name: yaml.safe_load(path.read_text("utf-8")) for path in DEPLOY.glob("*.yaml")}
KUBERNETES = {
    path.name: list(yaml.safe_load_all(path.read_text("utf-8")))
    for path in (DEPLOY / "kubernetes").glob("*.yaml")
}
REPLICAS = {"uniconv-1", "uniconv-2"}


def containers() -> list[dict[str, Any]]:
    resources = [one for file in KUBERNETES.values() for one in file]
    pods = [
        one["spec"]["template"]["spec"] for one in resources if "template" in one.get("spec", {})
    ]
    return [container for pod in pods for container in pod["containers"]]


def named(file: str, kind: str) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in KUBERNETES[file] if one["kind"] == kind}


def test_nginx_hashes_the_header_that_servers_and_pages_use() -> None:
    assert f"$http_{CONVERSATION.replace('-', '_')}" in NGINX
    page = DEPLOY.parent / "src" / "uniconv" / "serving" / "page" / "api.js"
    assert CONVERSATION in page.read_text("utf-8").lower()


def test_the_replicas_are_called_the_same_everywhere() -> None:
    assert set(re.findall(r"server (uniconv-\d):8000", NGINX)) == REPLICAS
    assert set(COMPOSE["compose.replicas.yaml"]["services"]) >= REPLICAS
    services = named("replicas.yaml", "Service")
    assert set(services) == {*REPLICAS, "uniconv"}
    replicas = named("replicas.yaml", "StatefulSet")["uniconv"]["spec"]
    first = replicas["ordinals"]["start"]
    pods = {f"uniconv-{first + number}" for number in range(replicas["replicas"])}
    chosen = "statefulset.kubernetes.io/pod-name"
    assert {services[name]["spec"]["selector"][chosen] for name in REPLICAS} == pods


@pytest.mark.parametrize("name", ["vllm.yaml", "replicas.yaml"])
def test_services_find_their_pods(name: str) -> None:
    labels = [
        one["spec"]["template"]["metadata"]["labels"]
        for one in KUBERNETES[name]
        if "template" in one.get("spec", {})
    ]
    for service in named(name, "Service").values():
        selector = service["spec"]["selector"]
        assert "statefulset.kubernetes.io/pod-name" in selector or selector in labels


COMMANDS = [
    COMPOSE["compose.vllm.yaml"]["services"]["uniconv"]["command"],
    COMPOSE["compose.replicas.yaml"]["services"]["index"]["command"],
    *(one["args"] for one in containers() if one["name"] == "uniconv"),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_are_understood(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    # There is no such folder here, so each gets as far as looking for it.
    assert run(*command) == 2
    assert re.search(r"/(index|documents): ", capsys.readouterr().err)


def test_keys_are_called_what_the_server_looks_for() -> None:
    environment = COMPOSE["compose.vllm.yaml"]["services"]["uniconv"]["environment"]
    assert {GENERATOR_KEY, EMBEDDINGS_KEY} <= set(environment)
    given = [{one["name"] for one in container.get("env", [])} for container in containers()]
    assert {GENERATOR_KEY, EMBEDDINGS_KEY} in given


def test_nothing_is_published_beyond_this_machine() -> None:
    for file in COMPOSE.values():
        ports = [port for service in file["services"].values() for port in service.get("ports", [])]
        assert ports and all(port.startswith("127.0.0.1:") for port in ports)
