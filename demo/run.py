"""make demo: index documents that are on every machine and hold a short conversation with them.

Without a folder, the documents are Python's own documentation and UniConv's; with one
(`make demo DOCS=folder`) they are yours, and the questions are made from their titles.
"""

from __future__ import annotations

import hashlib
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.rule import Rule

if TYPE_CHECKING:
    from uniconv.retrieval.interface import Index

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / ".demo"

CONVERSATIONS = (
    ("How do I merge several sorted iterables?", "And how do I find the largest elements?"),
    ("How do I construct a date from an ISO 8601 string?", "And from a timestamp?"),
)


def main() -> None:
    console = Console(highlight=False)
    started = time.perf_counter()
    from uniconv.cli.terminal import print_answer, print_passages, print_sources
    from uniconv.model import UniConv
    from uniconv.retrieval.building import build_index
    from uniconv.retrieval.interface import Index
    from uniconv.search import ConversationalSearch
    from uniconv.types import Conversation

    model = UniConv.from_pretrained("embedded")
    if len(sys.argv) > 1:
        folder = Path(sys.argv[1])
        sources, out, told = [folder], WORK / f"index-{_short_name(folder)}", str(folder)
    else:
        from corpus import write_corpus

        documentation = WORK / f"python-{sys.version_info.major}.{sys.version_info.minor}"
        if not documentation.is_dir():
            console.print("Writing the documentation of Python's standard library ...")
            write_corpus(documentation)
        # What was tried and given up reads like an answer.
        guides = [page for page in sorted(ROOT.glob("docs/*.md")) if page.stem != "lab-log"]
        sources, out, told = [documentation, *guides], WORK / "index", f"{documentation}, docs"
    console.print(f"Indexing {told} ...")
    report = build_index(sources, out, model)
    console.print(str(report))

    index = Index.open(out)
    search = ConversationalSearch(model, index)
    conversations = CONVERSATIONS if len(sys.argv) == 1 else _questions(index)
    for number, questions in enumerate(conversations):
        console.print(Rule("a new conversation" if number else "", style="dim"))
        conversation: Conversation | None = None
        for question in questions:
            console.print(f"[bold green]>[/bold green] [bold]{escape(question)}[/bold]\n")
            asked = conversation.ask(question) if conversation else Conversation.start(question)
            stream = search.stream(asked)
            print_passages(stream.passages[: search.settings.read])
            console.print()
            print_answer(stream, console)
            print_sources(stream.answer, console)
            console.print()
            conversation = asked.answer(stream.answer.text)
    console.print(Rule(style="dim"))
    shown = out.relative_to(Path.cwd()) if out.is_relative_to(Path.cwd()) else out
    console.print(
        f"Done in {time.perf_counter() - started:.0f} s. The model is small and was trained on a "
        "CPU: see models/mini/README.md for what to expect of it.\n\nTry next:\n"
        f"  .venv/bin/uniconv chat {shown}\n"
        f'  .venv/bin/uniconv search {shown} "{conversations[0][0]}"\n'
        "  make demo DOCS=folder-with-your-documents",
        soft_wrap=True,
    )


def _short_name(folder: Path) -> str:
    """A folder's name and a checksum of its path, so that two folders don't share an index."""
    resolved = folder.resolve()
    return f"{resolved.name}-{hashlib.sha256(str(resolved).encode()).hexdigest()[:8]}"


def _questions(index: Index) -> tuple[tuple[str, ...], ...]:
    """Conversations about the titles of two passages drawn from the index."""
    titles: list[str] = []
    for passage in index.sample_passages(64, seed=0):
        title = passage.title.split(" > ")[-1].strip()
        if title and title not in titles:
            titles.append(title)
    first = [f"What is said about {title}?" for title in titles[:2]] or ["What is this about?"]
    return tuple((question, "Tell me more about it.") for question in first)


if __name__ == "__main__":
    from uniconv.errors import UniConvError

    try:
        main()
    except UniConvError as error:
        sys.exit(f"demo: {error}")
    except KeyboardInterrupt:
        sys.exit("\ndemo: interrupted; run it again to go on")
