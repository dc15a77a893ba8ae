"""Two replicas behind nginx: conversations that stick against turns, and one replica killed.

    apt-get install nginx-light
    pip install -e '.[serve]'
    uniconv index docs --out my-index
    python benchmarks/replicas.py my-index

Several conversations at once go through nginx (deploy/nginx.conf, on free ports of this machine),
half of the answers streamed. First each conversation sticks to its replica; then, with other
conversations, replicas take turns; then conversations stick again, and in their middle one replica
is killed (SIGKILL). Of each it prints how many tokens of conversations the replicas read, and how
many they knew, seconds to the first text, and what became of every request: answered, cut (a stream
that had begun when its replica was killed, asked again), or failed. The exit status is 1 if any
failed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2 as httpx
import numpy as np

from load_server import Server
from nginx import nginx
from uniconv.retrieval.interface import Index

HEADER = "X-UniConv-Conversation"
FOLLOW_UPS = ("Can you say more about that?", "Why is that?", "And what follows from it?")


@dataclass
class Outcome:
    """What became of all requests; ``cached`` are the known tokens of each answered one."""

    requests: Counter[str] = field(default_factory=Counter)
    cached: list[int] = field(default_factory=list)
    first_texts: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{dict(self.requests)}; {sum(self.cached)} tokens known; first text "
            f"{np.median(self.first_texts):.2f} s (median of streams)"
        )


async def hold(
    url: str,
    topics: Sequence[str],
    turns: int,
    *,
    tokens: int = 48,
    halfway: Callable[[], None] | None = None,
) -> Outcome:
    """A conversation on each topic, all at once; ``halfway`` is called in their middle."""
    outcome = Outcome()
    timeout = httpx.Timeout(300)
    async with httpx.AsyncClient(base_url=url, timeout=timeout) as client:
        talks = [_talk(client, topic, turns, tokens, outcome) for topic in topics]
        talking = asyncio.gather(*talks)
        if halfway is not None:
            while outcome.requests["answered"] < len(topics) * turns // 2:
                await asyncio.sleep(0.005)
            halfway()
        await talking
    return outcome


async def _talk(
    client: httpx.AsyncClient, topic: str, turns: int, tokens: int, outcome: Outcome
) -> None:
    """Every second answer is streamed. A client that sees its stream cut asks again."""
    headers = {HEADER: f"test-{uuid4().hex}"}
    messages: list[dict[str, str]] = []
    for turn in range(turns):
        question = FOLLOW_UPS[turn % 3] if turn else f"What about {topic}?"
        messages.append({"role": "user", "content": question})
        body = {"messages": messages, "max_tokens": tokens, "stream": turn % 2 == 0}
        for _ in range(3):
            ask = _stream if body["stream"] else _whole
            try:
                text, usage = await ask(client, body, headers, outcome)
            except httpx.TransportError as error:
                cut = body["stream"] and not isinstance(error, httpx.ConnectError)
                outcome.requests["cut" if cut else f"failed: {type(error).__name__}"] += 1
                continue
            if usage is not None:
                outcome.requests["answered"] += 1
                outcome.cached.append(usage["prompt_tokens_details"]["cached_tokens"])
                break
        else:
            return
        messages.append({"role": "assistant", "content": text})


async def _whole(
    client: httpx.AsyncClient, body: dict[str, Any], headers: dict[str, str], outcome: Outcome
) -> tuple[str, dict[str, Any] | None]:
    response = await client.post("/v1/chat/completions", json=body, headers=headers)
    if response.status_code != 200:
        outcome.requests[f"failed: status {response.status_code}"] += 1
        return "", None
    answer = response.json()
    return answer["choices"][0]["message"]["content"], answer["usage"]


async def _stream(
    client: httpx.AsyncClient, body: dict[str, Any], headers: dict[str, str], outcome: Outcome
) -> tuple[str, dict[str, Any] | None]:
    """Raises a ReadError where the stream ends before its end."""
    started, text, usage = time.perf_counter(), "", None
    path = "/v1/chat/completions"
    async with client.stream("POST", path, json=body, headers=headers) as response:
        if response.status_code != 200:
            outcome.requests[f"failed: status {response.status_code}"] += 1
            return "", None
        async for line in response.aiter_lines():
            if line == "data: [DONE]":
                return text, usage
            if line.startswith("data: "):
                chunk = json.loads(line[6:])
                piece = chunk["choices"][0]["delta"].get("content", "")
                if piece and not text:
                    outcome.first_texts.append(time.perf_counter() - started)
                text += piece
                usage = chunk.get("uniconv", {}).get("usage", usage)
    raise httpx.ReadError("the stream ended before its end")


def tokens_read(urls: Sequence[str]) -> int:
    """Tokens of conversations that the engines read so far, without those that they knew."""
    lines = [line for url in urls for line in httpx.get(f"{url}/metrics").text.splitlines()]
    found = [line.split()[1] for line in lines if line.startswith("uniconv_engine_read ")]
    return int(sum(map(float, found)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("index", type=Path)
    parser.add_argument("--conversations", type=int, default=12)
    parser.add_argument("--turns", type=int, default=8)
    options = parser.parse_args()
    passages = Index.open(options.index).sample_passages(3 * options.conversations, seed=0)
    topics = [passage.title or passage.text[:60] for passage in passages]
    part = options.conversations
    with ExitStack() as stack:
        replicas = [stack.enter_context(Server(options.index)) for _ in range(2)]
        urls = [replica.url for replica in replicas]
        sticky, log = stack.enter_context(nginx(urls))
        turns, _ = stack.enter_context(nginx(urls, sticky=False))
        for name, url in (("sticky", sticky), ("in turns", turns)):
            before = tokens_read(urls)
            outcome = asyncio.run(hold(url, topics[:part], options.turns))
            print(f"{name}: {outcome}; {tokens_read(urls) - before} read", flush=True)
            topics = topics[part:]
        outcome = asyncio.run(hold(sticky, topics, options.turns, halfway=replicas[0].kill))
        print(f"one killed: {outcome}")
        sent = Counter(line.split("|")[1] for line in log.read_text().splitlines())
        print(f"requests by replica, of the sticky ones: {dict(sent)}")
    sys.exit(any(name.startswith("failed") for name in outcome.requests))


if __name__ == "__main__":
    main()
