"""The README's and the API page's examples run as they stand; their links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from warm import Command

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md"]
NEEDS_DOWNLOADS = ("downloads/", "config.yaml", "dev.jsonl", "notes/", "git clone", "make ")
INTERACTIVE = "uniconv chat"


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.S | re.M)


def commands(page: Path) -> list[list[str]]:
    """The commands of a page that need nothing but the project."""
    text = "\n".join(blocks(page, "console")).replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip()]
    return [
        shlex.split(line, comments=True)
        for line in lines
        if line.startswith("uniconv ") and not any(word in line for word in NEEDS_DOWNLOADS)
    ]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the project's docs, after the README's commands have run in it."""
    folder = tmp_path_factory.mktemp("newcomer")
    (folder / "docs").symlink_to(ROOT / "docs")
    ran = commands(ROOT / "README.md")
    assert len(ran) >= 4
    for command in ran:
        asked = "Who reads it?\n" if " ".join(command).startswith(INTERACTIVE) else ""
        done = Command(command, folder=folder, text=asked).finish(300)
        assert done.returncode == 0, f"{shlex.join(command)}: {done.stderr}"
        assert done.stdout.strip(), shlex.join(command)
    return folder


@pytest.mark.parametrize("page", ["README.md", "docs/python-api.md"])
def test_python_examples_run(page: str, workplace: Path) -> None:
    examples = blocks(ROOT / page, "python")
    assert examples
    for example in examples:
        script = workplace / "example.py"
        script.write_text(example, "utf-8")
        done = Command([script], folder=workplace).finish(300)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.S | re.M)
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist(page: Path) -> None:
    known = {
        "index", "search", "chat", "train", "distil", "calibrate", "evaluate", "data", "study",
        "mine", "export", "mcp", "serve",
    }  # fmt: skip
    text = "\n".join(blocks(page, "console"))
    for command in re.findall(r"^uniconv (\w+)", text, re.M):
        assert command in known
