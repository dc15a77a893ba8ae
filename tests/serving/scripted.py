"""A model that says what a test wants when it may, and a server that runs in the test's process."""

from __future__ import annotations

import multiprocessing
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from tiny import tiny_uniconv
from uniconv.decoding import Generation
from uniconv.model import UniConv
from uniconv.retrieval.building import build_index
from uniconv.retrieval.interface import Index
from uniconv.search import ConversationalSearch, SearchSettings
from uniconv.serving.run import serve
from uniconv.serving.settings import ServerSettings
from uniconv.serving.shared_model import SharedUniConv
from uniconv.types import Passage
from waiting import until

TEXTS = {
    "tower.md": "# Tower\n\nThe tower of the old harbour was built in 1893 by engineers.\n",
    "ice.md": "# Glacier\n\nA glacier moves slowly because ice deforms under its own weight.\n",
    "bread.md": "# Bread\n\nBread rises because yeast makes gas while the dough rests.\n",
}


class Pieces(Iterator[str]):
    """Pieces of text, each of which waits for ``may``; closing ends the wait."""

    def __init__(self, said: Sequence[str], may: threading.Event) -> None:
        self._said = iter(said)
        self._may = may
        self.closed = False

    def __next__(self) -> str:
        while not self._may.wait(0.005) and not self.closed:
            pass
        if self.closed:
            raise StopIteration
        return next(self._said)

    def close(self) -> None:
        self.closed = True


class Scripted(SharedUniConv):
    """Writes ``said``; ``asked`` keeps what it was given to read, ``pieces`` what it writes."""

    def __init__(self) -> None:
        super().__init__(tiny_uniconv())
        self.name = "scripted"
        self.said: Sequence[str] = ("Engineers ", "built it [1].")
        self.may = threading.Event()
        self.may.set()
        self.asked: list[tuple[Any, Sequence[Passage], dict[str, Any]]] = []
        self.pieces: list[Pieces] = []

    def generate(
        self, conversation: Any, passages: Sequence[Passage] = (), **options: Any
    ) -> Generation:
        self.asked.append((conversation, passages, options))
        self.pieces.append(Pieces(self.said, self.may))
        return Generation(self.pieces[-1], None, len(conversation.tokens))


def make_index(folder: Path, model: UniConv, texts: dict[str, str] = TEXTS) -> Index:
    documents = folder / "source"
    documents.mkdir()
    for name, text in texts.items():
        (documents / name).write_text(text)
    build_index([documents], folder / "index", model, quiet=True)
    return Index.open(folder / "index")


def searching(folder: Path, model: UniConv, **settings: Any) -> ConversationalSearch:
    return ConversationalSearch(model, make_index(folder, model), SearchSettings(**settings))


@contextmanager
def running(app: FastAPI) -> Iterator[str]:
    """The address of a server on a free port."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


@contextmanager
def forked(
    search: ConversationalSearch, folder: Path, **settings: Any
) -> Iterator[tuple[str, BaseProcess]]:
    """A server as ``uniconv serve`` runs it, in a process that can be killed.

    What it prints is in ``folder``: ``out`` and ``log``.
    """

    def work() -> None:
        with (folder / "out").open("w") as sys.stdout, (folder / "log").open("w") as sys.stderr:
            serve(search, ServerSettings(port=0, **settings))

    (folder / "out").touch()
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    try:
        until(lambda: "\n" in (folder / "out").read_text() or not process.is_alive())
        yield (folder / "out").read_text().split()[0], process
    finally:
        process.kill()
        process.join(10)


def question(text: str = "Who built the tower?", **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **more}
