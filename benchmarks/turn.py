"""What a turn costs, side by side: two models, one model, and one model that remembers.

    python benchmarks/turn.py [--size embedded | mistral-7b] [--histories 0 500 1000 2000 4000]

A conversation of so many tokens gets one more question, three passages and an answer:

two models      a retriever embeds the conversation, a generator of the same size reads it again
                with the passages and writes (transformers' generate): what people do today
one model       UniConv without an engine: one pass over the conversation serves both
engine          uniconv.engine: the turns before this one were asked through it

Times are medians over the repeats, taken in turn, each with a conversation of its own; tokens/s is
of decoding, after the first. Searching is left out, it is the same for all. All three must write
the same (float32; with --size mistral-7b, which has random weights in bfloat16 on a GPU, it is only
counted how often they do).
"""

from __future__ import annotations

import argparse
import copy
import random
import time
from collections.abc import Callable
from statistics import median
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from transformers.generation.streamers import BaseStreamer

import material
from material import talk_of, words
from uniconv.engine import Engine
from uniconv.model import UniConv
from uniconv.templates import Limits
from uniconv.types import Conversation, Passage

POSITIONS = 8192
SIDES = ("two models", "one model", "engine")


class Taken(NamedTuple):
    """Seconds to the first token and to the last, and what was written."""

    first: float
    whole: float
    text: str


def build(size: str) -> UniConv:
    """A model with room for long conversations."""
    model = material.build(size, Limits(conversation=POSITIONS - 2048), positions=POSITIONS)
    model.template.stop = frozenset()  # answers of the same length, whatever is said
    return model


class _First(BaseStreamer):
    """Notes when the first new token comes; the prompt is put first."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def put(self, value: Any) -> None:  # noqa: ARG002
        self.times.append(time.perf_counter())

    def end(self) -> None:
        pass


def two_models(
    retriever: UniConv, generator: UniConv, talk: Conversation, passages: list[Passage], new: int
) -> Taken:
    started = time.perf_counter()
    retriever.encode_conversations([talk])
    ids = torch.tensor([generator.template.prompt(talk, passages)], device=generator.device)
    first = _First()
    with torch.inference_mode():
        written = generator.lm.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=new,
            min_new_tokens=new,
            do_sample=False,
            streamer=first,
        )
    text = generator.tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True)
    return Taken(first.times[1] - started, time.perf_counter() - started, text)


def unified(
    model: UniConv | Engine, talk: Conversation, passages: list[Passage], new: int
) -> Taken:
    started = time.perf_counter()
    reading = model.read(talk)
    pieces = model.generate(reading, passages, max_new_tokens=new)
    text = next(pieces)
    first = time.perf_counter() - started
    text += "".join(pieces)
    return Taken(first, time.perf_counter() - started, text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=material.SIZES, default="embedded")
    parser.add_argument("--histories", type=int, nargs="+", default=[0, 500, 1000, 2000, 4000])
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    model = build(arguments.size)
    # The engine changes how its model is computed on a CPU, so the others have their own copies.
    retriever, generator = (
        UniConv(copy.deepcopy(model.network), model.tokenizer, model.template) for _ in range(2)
    )
    new = arguments.new_tokens
    chance = random.Random(0)
    passages = [Passage(str(n), words(chance, 100), words(chance, 3)) for n in range(3)]
    table = Table(
        "history", "turn by", "first token, s", "", "whole turn, s", "", "tokens/s", "same"
    )
    engine = Engine(model)
    run: dict[str, Callable[[Conversation], Taken]] = {
        "two models": lambda talk: two_models(retriever, generator, talk, passages, new),
        "one model": lambda talk: unified(generator, talk, passages, new),
        "engine": lambda talk: unified(engine, talk, passages, new),
    }
    for history in arguments.histories:
        taken: dict[str, list[Taken]] = {side: [] for side in SIDES}
        for repeat in range(arguments.repeats + 1):
            talk = talk_of(model, history, random.Random(1000 * history + repeat))
            if len(talk.turns) > 1:
                engine.read(talk.context(len(talk.turns) - 1))
            for side in SIDES:
                taken[side].append(run[side](talk))
        add_rows(table, history, {side: times[1:] for side, times in taken.items()}, new)
    console = Console(width=110)
    console.print(table)
    one = sum(weight.nbytes for weight in generator.network.parameters()) / 2**20
    console.print(
        f"weights: two models {2 * one:,.0f} MiB, one {one:,.0f} MiB, the engine's "
        f"{engine.weight_bytes / 2**20:,.0f} MiB; conversations that it keeps "
        f"{engine.statistics.cache_bytes / 2**20:,.0f} MiB"
    )
    engine.close()


def add_rows(table: Table, history: int, taken: dict[str, list[Taken]], new: int) -> None:
    """Medians, and ratios to what the first side takes."""
    base = {name: median(getattr(one, name) for one in taken[SIDES[0]]) for name in _TIMES}
    for side in SIDES:
        cells = []
        for name in _TIMES:
            seconds = median(getattr(one, name) for one in taken[side])
            cells += [f"{seconds:.3f}", f"{seconds / base[name]:.2f}x"]
        cells.append(f"{median((new - 1) / (one.whole - one.first) for one in taken[side]):.0f}")
        pairs = zip(taken[side], taken[SIDES[0]], strict=True)
        same = sum(one.text == other.text for one, other in pairs)
        table.add_row(f"{history:,}", side, *cells, f"{same} of {len(taken[side])}")
    table.add_section()


_TIMES = ("first", "whole")

if __name__ == "__main__":
    main()
