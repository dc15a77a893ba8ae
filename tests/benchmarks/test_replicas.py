"""Two replicas behind nginx, as deploy/nginx.conf has it, and one of them killed."""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

import httpx2 as httpx
import pytest

from nginx import NGINX, nginx
from replicas import HEADER, hold
from tiny_index import tiny_index
from uniconv.engine import Engine
from uniconv.model import UniConv
from uniconv.retrieval.interface import Index
from uniconv.search import ConversationalSearch
from uniconv.serving.run import serve
from uniconv.serving.settings import ServerSettings
from waiting import until

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
TOPICS = ("the tower", "a glacier", "bread", "the harbour")


@contextmanager
def replica(folder: Path, model: UniConv, out: Path) -> Iterator[tuple[str, BaseProcess]]:
    """A server with an engine, as ``uniconv serve`` runs it, in a process of its own."""

    def work() -> None:
        with out.open("w") as sys.stdout, Path("/dev/null").open("w") as sys.stderr:
            search = ConversationalSearch(Engine(model), Index.open(folder))
            serve(search, ServerSettings(port=0))

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    try:
        until(lambda: not process.is_alive() or (out.exists() and "\n" in out.read_text()))
        assert process.is_alive()
        yield out.read_text().split()[0], process
    finally:
        process.kill()
        process.join(10)


def test_conversations_stick_and_survive_their_replica(tmp_path: Path) -> None:
    folder = tiny_index(tmp_path)
    model = UniConv.from_pretrained(folder.parent / "model", device="cpu")
    with ExitStack() as stack:
        replicas = [
            stack.enter_context(replica(folder, model, tmp_path / f"out{number}"))
            for number in range(2)
        ]
        url, log = stack.enter_context(nginx([url for url, _ in replicas]))
        told = httpx.post(
            f"{url}/v1/chat/completions",
            json={"messages": [{"role": "user", "content": "Who built it?"}], "max_tokens": 1},
            headers={HEADER: "mine"},
        )
        assert told.headers[HEADER] == "mine"

        outcome = asyncio.run(hold(url, TOPICS, 4, tokens=8))
        assert outcome.requests == {"answered": 16}
        served = defaultdict(set)
        for line in log.read_text().splitlines():
            conversation, replicas_tried, status = line.split("|")
            assert status == "200"
            served[conversation].add(replicas_tried)
        assert len(served) == 5 and all(len(one) == 1 for one in served.values())
        assert sum(count > 0 for count in outcome.cached) >= 12  # all but first turns

        (_, first), (left, _) = replicas
        outcome = asyncio.run(hold(url, TOPICS * 2, 4, tokens=8, halfway=first.kill))
        assert outcome.requests["answered"] == 32
        assert set(outcome.requests) <= {"answered", "cut"}
        last = log.read_text().splitlines()[-1]
        assert last.split("|")[1].endswith(left.removeprefix("http://"))
