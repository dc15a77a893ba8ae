"""Many conversations at once with a server of this machine, with accidents and kill -9 among them.

    pip install -e '.[serve]'
    uniconv index docs --out my-index
    python benchmarks/load.py my-index --seconds 120 --json load.json

For each number of simultaneous conversations, a fresh server is asked for so many seconds: streamed
answers to questions and follow-ups, and now and then a client that leaves in the middle, a body
that is no JSON, or one that is too large. Then servers are killed while they take documents and
talk, and started again: what they said they had must be there. The index is copied first.

A table ends the run. Growth is that of the memory beside the cache. An error is anything but the
answer, or the refusal, that a request must get; 429 is one only where there was room in the queue.
The exit status is 1 with errors or losses.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
from rich.console import Console
from rich.table import Table

from load_server import Server
from uniconv.retrieval.interface import Index

CHAT = "/v1/chat/completions"
FOLLOW_UPS = ("Can you say more about that?", "Why is that?", "And what follows from it?")
ACCIDENTS = ("leave", "no json", "large body", "long question")
QUEUE, CONCURRENCY = 64, 16
CACHE_MB = 64  # soon full, as after hours of use


@dataclass
class Level:
    """What came of one number of simultaneous conversations. Times are seconds."""

    conversations: int
    first_texts: list[float] = field(default_factory=list)
    tokens: int = 0
    seconds: float = 0.0
    accidents: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    memory: list[tuple[float, float, float]] = field(default_factory=list)
    """Twice a second: the time, what is resident and what of it the cache holds (MiB)."""

    def growth(self) -> tuple[float, float]:
        """How the memory beside the cache grows, which fills up to its limit meanwhile.

        MiB from the second quarter of the time, when all is warm, to the last; and MiB a minute in
        the second half, by least squares.
        """
        times, resident, cache = np.array(self.memory).T
        beside = resident - cache
        quarter, half = len(beside) // 4, len(beside) // 2
        grown = np.median(beside[-quarter:]) - np.median(beside[quarter : 2 * quarter])
        return float(grown), 60 * float(np.polyfit(times[half:], beside[half:], 1)[0])

    def row(self) -> dict[str, Any]:
        """The line of the table."""
        times = np.array(self.first_texts or [float("nan")])
        p50, p95, p99 = np.percentile(times, [50, 95, 99])
        grown, slope = self.growth()
        return {
            "at once": self.conversations,
            "answers": len(self.first_texts),
            "answers/s": round(len(self.first_texts) / self.seconds, 2),
            "tokens/s": round(self.tokens / self.seconds, 1),
            "first text p50": f"{p50:.3f}",
            "p95": f"{p95:.3f}",
            "p99": f"{p99:.3f}",
            "accidents": sum(self.accidents.values()),
            "429": self.refused,
            "errors": sum(self.errors.values()),
            "MiB": round(self.memory[-1][1]),
            "cache": round(self.memory[-1][2]),
            "growth": f"{grown:+.1f}",
            "MiB/min": f"{slope:+.1f}",
        }


class Talk:
    """One client that holds conversation after conversation until the time is over."""

    def __init__(self, client: httpx.AsyncClient, level: Level, topics: list[str], seed: int):
        self.client = client
        self.level = level
        self.topics = topics
        self.random = random.Random(seed)

    async def until(self, end: float, accidents: float) -> None:
        """Asks until ``end`` on the loop's clock; each turn may be an accident instead."""
        loop = asyncio.get_running_loop()
        while loop.time() < end:
            messages: list[dict[str, str]] = []
            question = f"What about {self.random.choice(self.topics)}?"
            for _ in range(self.random.randint(1, 4)):
                if loop.time() >= end:
                    return
                messages.append({"role": "user", "content": question})
                accident = self.random.random() < accidents and self.random.choice(ACCIDENTS)
                try:
                    if accident:
                        await self.cause(accident, messages)
                    answer = await self.ask(messages)
                except httpx.HTTPError as error:
                    self.level.errors[type(error).__name__] += 1
                    break
                if answer is None:
                    break
                messages.append({"role": "assistant", "content": answer})
                question = self.random.choice(FOLLOW_UPS)

    async def ask(self, messages: list[dict[str, str]]) -> str | None:
        """The streamed answer, measured; None where there is none."""
        started = time.perf_counter()
        text, done = "", False
        body = {"messages": messages, "stream": True, "max_tokens": 64}
        async with self.client.stream("POST", CHAT, json=body) as response:
            if response.status_code == 429:
                self.level.refused += 1
                if self.level.conversations <= QUEUE + CONCURRENCY:
                    self.level.errors["429 with room in the queue"] += 1
                await asyncio.sleep(min(1.0, float(response.headers["retry-after"])))
                return None
            if response.status_code != 200:
                self.level.errors[f"status {response.status_code}"] += 1
                return None
            async for line in response.aiter_lines():
                done = done or line == "data: [DONE]"
                if not line.startswith("data: {"):
                    continue
                chunk = json.loads(line[6:])
                if "error" in chunk:
                    self.level.errors[chunk["error"]["code"]] += 1
                    return None
                piece = chunk["choices"][0]["delta"].get("content", "")
                if piece and not text:
                    self.level.first_texts.append(time.perf_counter() - started)
                text += piece
                if usage := chunk["uniconv"].get("usage") if "uniconv" in chunk else None:
                    self.level.tokens += usage["completion_tokens"]
        if not done:
            self.level.errors["cut short"] += 1
        return text

    async def cause(self, accident: str, messages: list[dict[str, str]]) -> None:
        """Something that a server must bear, and what it must say to it."""
        self.level.accidents[accident] += 1
        if accident == "leave":
            body = {"messages": messages, "stream": True}
            async with self.client.stream("POST", CHAT, json=body) as response:
                lines = response.aiter_lines()
                for _ in range(self.random.randint(1, 9)):
                    await anext(lines, "")
            return
        long = [{"role": "user", "content": "word " * 50_000}]
        sent: dict[str, Any] = {
            "no json": {"content": b'{"messages": [' + self.random.randbytes(40)},
            "large body": {"content": b"x" * 2_000_000},
            "long question": {"json": {"messages": long}},
        }[accident]
        headers = {"content-type": "application/json"}
        response = await self.client.post(CHAT, headers=headers, **sent)
        expected = 413 if accident == "large body" else 400
        if response.status_code != expected or "error" not in response.json():
            self.level.errors[f"{accident}: status {response.status_code}"] += 1


async def hold(
    server: Server, level: Level, topics: list[str], options: argparse.Namespace
) -> None:
    """So many conversations at once, for so many seconds."""
    limits = httpx.Limits(max_connections=None)
    loop = asyncio.get_running_loop()
    async with httpx.AsyncClient(base_url=server.url, timeout=300, limits=limits) as client:
        started = loop.time()
        talks = [
            Talk(client, level, topics, options.seed + number).until(
                started + options.seconds, options.accidents
            )
            for number in range(level.conversations)
        ]
        talking = asyncio.gather(*talks)
        while not talking.done():
            text = (await client.get("/metrics")).text
            held = float(text.split("\nuniconv_engine_cache_bytes ")[1].split("\n")[0]) / 2**20
            level.memory.append((loop.time() - started, server.memory(), held))
            await asyncio.wait({talking}, timeout=0.5)
        await talking
        level.seconds = loop.time() - started


async def kill(folder: Path, topics: list[str], seconds: float, seed: int) -> list[str]:
    """Kills a server that takes documents and talks; the acknowledged documents that are lost."""
    told: list[str] = []
    level = Level(2)

    async def upload(client: httpx.AsyncClient) -> None:
        for number in range(10_000):
            name = f"killed-{seed}-{number}.md"
            file = {"files": (name, f"# Note {number}\n\nWritten before kill {seed}.")}
            if (await client.post("/v1/documents", files=file)).status_code == 200:
                told.append(name)

    with Server(folder, "--documents") as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            end = asyncio.get_running_loop().time() + 60
            work = [Talk(client, level, topics, seed + n).until(end, 0.0) for n in range(2)]
            tasks = [asyncio.ensure_future(one) for one in (upload(client), *work)]
            await asyncio.sleep(random.Random(seed).uniform(0.5, 1.0) * seconds)
            server.kill()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    with Server(folder, "--documents") as server:
        held = httpx.get(f"{server.url}/v1/documents", timeout=60).json()["documents"]
        asked = {"messages": [{"role": "user", "content": "Who wrote the note?"}], "max_tokens": 4}
        httpx.post(server.url + CHAT, json=asked, timeout=60).raise_for_status()
        if not told or server.failures():
            raise SystemExit(f"{len(told)} documents were taken, or the server failed after a kill")
    print(f"killed after {len(told)} documents; {len(held)} are in the index", file=sys.stderr)
    return sorted(set(told) - {one["name"] for one in held})


def print_table(rows: list[dict[str, Any]]) -> None:
    table = Table(*rows[0]) if rows else Table()
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console(width=140).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("index", type=Path)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument(
        "--conversations", type=int, nargs="*", default=[1, 4, 16, 64], help="how many at once"
    )
    parser.add_argument("--kills", type=int, default=3, help="how often a server is killed")
    parser.add_argument("--accidents", type=float, default=0.1, help="share of turns")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    sample = Index.open(options.index).sample_passages(200, seed=options.seed)
    topics = [passage.title or passage.text[:60] for passage in sample]
    limits = ["--queue", QUEUE, "--concurrency", CONCURRENCY, "--cache-mb", CACHE_MB]
    levels, lost, failures = [], [], 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "index"
        shutil.copytree(options.index, folder)
        for number in options.conversations:
            levels.append(Level(number))
            with Server(folder, *limits) as server:
                asyncio.run(hold(server, levels[-1], topics, options))
                failures += server.failures()
            print(levels[-1].row(), dict(levels[-1].errors), file=sys.stderr)
        for number in range(options.kills):
            seconds = min(10.0, options.seconds)
            lost += asyncio.run(kill(folder, topics, seconds, options.seed + number))
    print_table([level.row() for level in levels])
    print(f"killed {options.kills} times: {len(lost)} documents lost {lost}")
    print(f"failures in the logs: {failures}")
    if options.json:
        options.json.write_text(json.dumps([vars(level) for level in levels]) + "\n")
    sys.exit(bool(lost or failures or any(level.errors for level in levels)))


if __name__ == "__main__":
    main()
