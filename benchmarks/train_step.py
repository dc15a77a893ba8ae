"""A training step by several ways, side by side: separate sequences, trees, trees with GradCache.

    python benchmarks/train_step.py SET [--size embedded] [--conversations 8] [--repeats 5]
    python benchmarks/train_step.py SET --retrieval-only     # and sentence-transformers' step

SET is a folder that ``uniconv data convert`` wrote. Conversations are taken by chance as they are,
with the turns and passages that they have. All ways compute the same loss (it is compared); a step
is forward and backward of everything, the passages' encoding included. Times are medians of steps
taken in turn, each after another of its way; peak memory is what one step needs beyond weights and
batch.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

import material
from machine import forked_bytes
from uniconv.config import Adapter, DataConfig, ModelConfig, Objectives, Source
from uniconv.model import UniConv
from uniconv.states import padded
from uniconv.templates import Limits
from uniconv.training.batch import Batch
from uniconv.training.collate import Collator
from uniconv.training.examples import POOL, read_examples
from uniconv.training.forwards import Forward, Separate, Shared
from uniconv.training.gradcache import Cached
from uniconv.training.network import unfreeze
from uniconv.training.objective import Objective

Step = Callable[[], float]
"""Runs forward and backward and gives the loss."""


class Unsorted(Separate):
    """Separate sequences in batches of eight, in the order in which they come."""

    def _groups(self, lengths: Sequence[int]) -> list[list[int]]:
        rows = range(len(lengths))
        return [list(rows[start : start + 8]) for start in rows[::8]] or [[]]


WAYS: dict[str, Callable[[UniConv, int], Forward]] = {
    "separate, unsorted": Unsorted,
    "separate, by length": Separate,
    "tree": Shared,
    "tree, GradCache": lambda model, budget: Cached(model, min(budget, 4096), Shared),
}
PEER = "sentence-transformers"


def build(size: str) -> UniConv:
    """A model to train: wholly, or by an adapter where it is large."""
    model = material.build(size, Limits(conversation=1024, passage=384, response=256))
    # A lower precision has oneDNN compile kernels for each length, and ways differ in these.
    torch.set_float32_matmul_precision("highest")
    if size == "mistral-7b":
        unfreeze(model, ModelConfig("", "lora", Adapter(dropout=0.0)))
    return model


def batch_of(model: UniConv, arguments: argparse.Namespace) -> tuple[Batch, Objectives]:
    """What some conversations of the set make a step learn from."""
    source = Source(set=arguments.set, split=(arguments.split,))
    every = 0.0 if arguments.retrieval_only else 1.0
    weights = Objectives(1.0, every, every, every * arguments.gamma, temperature=0.05)
    data = DataConfig((source,), hard_negatives=0, grounded_passages=3)
    pool = POOL if weights.gamma else 0
    examples = read_examples((source,), weights, pool=pool, seed=arguments.seed)
    every_position = range(len(examples.examples))
    talks = groupby(every_position, key=lambda place: id(examples.examples[place].conversation))
    chosen = random.Random(arguments.seed).sample(
        [list(talk) for _, talk in talks], arguments.conversations
    )
    picks = [(place, random.Random(place)) for talk in chosen for place in talk]
    return Collator(model.template, examples, data, weights)(picks), weights


def step_of(name: str, model: UniConv, batch: Batch, weights: Objectives, budget: int) -> Step:
    """A step by a way."""
    if name == PEER:
        return _peer(model, batch, weights)
    objective = Objective(model, weights, forward_tokens=budget, way=WAYS[name])
    scale = [1 / count if count else 0.0 for count in batch.counts]

    def step() -> float:
        loss, _ = objective(batch, scale)
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    return step


def _peer(model: UniConv, batch: Batch, weights: Objectives) -> Step:
    """The same texts through CachedMultipleNegativesRankingLoss, on the same backbone."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.losses import CachedMultipleNegativesRankingLoss
    from sentence_transformers.models import Pooling, Transformer

    with tempfile.TemporaryDirectory() as folder:
        model.lm.base_model.save_pretrained(folder)
        model.tokenizer.save_pretrained(folder)
        transformer = Transformer(folder)
    pooling = Pooling(model.dimension, pooling_mode="lasttoken")
    encoder = SentenceTransformer(modules=[transformer, pooling], device=str(model.device))
    cached = CachedMultipleNegativesRankingLoss(
        encoder, scale=1 / weights.temperature, mini_batch_size=16
    )
    part = batch.retrieval
    documents = [part.documents[label] for label in part.labels]
    columns = [_padded(tokens, model.device) for tokens in (part.queries, documents)]

    def step() -> float:
        loss: Tensor = cached(columns, torch.empty(0))
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    return step


def _padded(sequences: Sequence[list[int]], device: torch.device) -> dict[str, Tensor]:
    ids, mask = padded([torch.tensor(tokens) for tokens in sequences])
    return {"input_ids": ids.to(device), "attention_mask": mask.long().to(device)}


def tokens_of(name: str, model: UniConv, batch: Batch, budget: int) -> int:
    """The tokens that a way computes, padding included, counted at the LM's door."""
    counted = 0

    def count(_module: Any, _positional: Any, given: dict[str, Any]) -> None:
        nonlocal counted
        counted += given["input_ids"].numel()

    hook = model.lm.base_model.register_forward_pre_hook(count, with_kwargs=True)
    try:
        parts = {part: getattr(batch, part) for part in ("retrieval", "generation", "cii")}
        with torch.no_grad():
            WAYS[name](model, budget)({**parts, "grounded": batch.grounded})
    finally:
        hook.remove()
    return counted


def peak(step: Step) -> float:
    """What one step needs beyond what is there before it, in MiB; on a CPU in a forked process."""
    if torch.cuda.is_available():
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    return forked_bytes(step) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("set", type=Path)
    parser.add_argument("--split", default="train")
    parser.add_argument("--size", choices=material.SIZES, default="embedded")
    parser.add_argument("--conversations", type=int, default=8)
    parser.add_argument(
        "--clock", choices=("wall", "cpu"), default="wall", help="cpu: of a busy machine"
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--gamma", type=float, default=1.0, help="of grounded answers")
    parser.add_argument("--forward-tokens", type=int, default=16_384)
    parser.add_argument("--retrieval-only", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a forked process can't use the threads of its parent
    model = build(arguments.size)
    batch, weights = batch_of(model, arguments)
    names = [*WAYS, PEER] if arguments.retrieval_only else [*WAYS]
    budget = arguments.forward_tokens
    steps = {name: step_of(name, model, batch, weights, budget) for name in names}
    peaks = {name: peak(step) for name, step in steps.items()}
    torch.set_num_threads(threads)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    losses: dict[str, float] = {}
    clock = time.perf_counter if arguments.clock == "wall" else time.process_time
    for _ in range(arguments.repeats):
        for name, step in steps.items():
            step()  # untimed: a training step finds the memory that the one before it left
            model.network.zero_grad()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            start = clock()
            losses[name] = step()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            seconds[name].append(clock() - start)
    report(arguments, model, batch, seconds, losses, peaks)


def report(
    arguments: argparse.Namespace,
    model: UniConv,
    batch: Batch,
    seconds: dict[str, list[float]],
    losses: dict[str, float],
    peaks: dict[str, float],
) -> None:
    """Prints the table; ratios are to the first way."""
    parts = zip(("retrieval", "responses' tokens", "CII", "grounded"), batch.counts, strict=True)
    counts = ", ".join(f"{count} {part}" for part, count in parts)
    table = Table("way", "tokens", "s/conversation", "faster", "peak MiB", "loss")
    table.title = f"{arguments.size}, {arguments.conversations} conversations: {counts}"
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    first = next(iter(medians.values()))
    for name, median in medians.items():
        tokens = tokens_of(name, model, batch, arguments.forward_tokens) if name in WAYS else 0
        table.add_row(
            name,
            f"{tokens:,}",
            f"{median / arguments.conversations:.3f}",
            f"{first / median:.2f}x",
            f"{peaks[name]:,.0f}",
            f"{losses[name]:.5f}",
        )
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
