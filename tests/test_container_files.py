"""What can be known of the container files without building an image."""

from __future__ import annotations

import json
import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from command import run

ROOT = Path(__file__).parents[1]
CONTAINERFILE = (ROOT / "Containerfile").read_text("utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))


def instructions(name: str) -> list[str]:
    joined = CONTAINERFILE.replace("\\\n", " ")
    return re.findall(rf"^{name} +(.*)$", joined, re.M)


def test_what_is_copied_exists_and_reaches_the_build() -> None:
    ignored = (ROOT / ".dockerignore").read_text("utf-8").split()
    assert ignored[0] == "*"
    let_in = {line[1:] for line in ignored if line.startswith("!")}
    copied = set()
    for line in instructions("COPY"):
        if not line.startswith("--from"):
            copied |= set(line.split()[:-1])
    assert copied == let_in
    assert all((ROOT / name).exists() for name in copied)


def test_what_is_installed_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = re.findall(r"--extra (\S+)", CONTAINERFILE)
    assert set(extras) == {"mcp", "serve"} <= set(project["optional-dependencies"])
    (script,) = project["scripts"]
    assert instructions("ENTRYPOINT") == [json.dumps([script])]


def test_it_does_not_run_as_root_and_is_checked() -> None:
    assert instructions("USER") == ["10001:10001"]
    last_stage = CONTAINERFILE[CONTAINERFILE.rindex("\nFROM ") :]
    assert last_stage.index("\nUSER ") < last_stage.index("\nENTRYPOINT ")
    assert "/readyz" in instructions("HEALTHCHECK")[0]


@pytest.mark.parametrize("service", ["uniconv", "index"])
def test_services_use_what_the_image_and_the_file_have(service: str) -> None:
    described = COMPOSE["services"][service]
    assert (ROOT / described["build"]["dockerfile"]).samefile(ROOT / "Containerfile")
    named = [mount.split(":")[0] for mount in described["volumes"] if fnmatch(mount, "[a-z]*")]
    assert set(named) <= set(COMPOSE["volumes"])


@pytest.mark.parametrize(
    "command", [*map(json.loads, instructions("CMD")), COMPOSE["services"]["index"]["command"]]
)
def test_the_commands_are_understood(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    # There is no such folder here, so each gets as far as looking for it.
    assert run(*command) == 2
    assert re.search(r"/(index|documents): ", capsys.readouterr().err)


def test_nothing_is_published_beyond_this_machine() -> None:
    ports = COMPOSE["services"]["uniconv"]["ports"]
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert "ports" not in COMPOSE["services"]["index"]
