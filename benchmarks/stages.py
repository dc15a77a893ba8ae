"""What benchmarks/throughput.py measures: training steps, encoding, prefill, decoding."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch.nn.utils import clip_grad_norm_

import work
from machine import Call
from material import batch_of, talk_of, words
from uniconv.config import Objectives, Optimisation
from uniconv.engine import Engine, EngineSettings
from uniconv.model import UniConv
from uniconv.training.forwards import choose
from uniconv.training.gradcache import Cached
from uniconv.training.network import parameter_groups
from uniconv.training.objective import Objective
from uniconv.training.optimisation import uses_bf16
from uniconv.tree import Tokens
from uniconv.types import Conversation
from work import Work

OBJECTIVES = Objectives(gamma=1.0)
"""All four."""

CACHED_TOKENS = 4096
"""Of which GradCache keeps the graph."""


@dataclass(frozen=True, slots=True)
class Load:
    """How much a stage does: turns of a step, passages, tokens before an answer and of it."""

    turns: int
    passages: int
    history: int
    new: int
    forward_tokens: int = 16_384


LOADS = {
    "embedded": Load(turns=8, passages=64, history=1024, new=48),
    "25m": Load(turns=8, passages=32, history=1024, new=32),
    "160m": Load(turns=4, passages=16, history=512, new=16),
    "mistral-7b": Load(turns=32, passages=768, history=4096, new=64),
}

Run = Callable[[UniConv, Load], AbstractContextManager[Call]]


@dataclass(frozen=True, slots=True)
class Stage:
    """``run`` prepares a call, ``work`` tells what it has to do at least.

    What ``trains`` needs a model with an adapter.
    """

    name: str
    run: Run
    work: Callable[[UniConv, Load], Work]
    trains: bool = False


def _step(model: UniConv, load: Load, *, checkpointing: bool, cached: bool) -> Iterator[Call]:
    """A step as :class:`uniconv.training.trainer.Trainer` makes it, without the collator."""
    settings = Optimisation(forward_tokens=load.forward_tokens)
    batch = batch_of(model, load.turns, OBJECTIVES)
    way = (lambda model, tokens: Cached(model, min(tokens, CACHED_TOKENS))) if cached else choose
    objective = Objective(
        model,
        OBJECTIVES,
        forward_tokens=settings.forward_tokens,
        bf16=uses_bf16(settings, model.device),
        way=way,
    )
    trained = [one for one in objective.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(parameter_groups(objective, settings.weight_decay), lr=1e-6)
    if checkpointing:
        model.lm.gradient_checkpointing_enable({"use_reentrant": False})

    def call() -> None:
        loss, _ = objective(batch, [1 / count for count in batch.counts])
        loss.backward()
        clip_grad_norm_(trained, settings.max_gradient_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    objective.train()
    try:
        yield call
    finally:
        objective.eval()
        optimizer.zero_grad(set_to_none=True)
        model.lm.gradient_checkpointing_disable()


def _step_work(model: UniConv, load: Load) -> Work:
    batch = batch_of(model, load.turns, OBJECTIVES)
    return work.joint_step(model, batch, load.forward_tokens)


def _passages(model: UniConv, count: int, tokens: int) -> list[Tokens]:
    ids = torch.randint(10, 10_000, (count, tokens - 1), generator=torch.manual_seed(0))
    return [[*row, model.template.marker] for row in ids.tolist()]


def _encode(model: UniConv, load: Load, *, tokens: int) -> Iterator[Call]:
    sequences = _passages(model, load.passages, tokens)
    yield lambda: model.encode(sequences, batch_tokens=load.forward_tokens)


def _encode_work(model: UniConv, load: Load, *, tokens: int) -> Work:
    sequences = _passages(model, load.passages, tokens)
    return work.encoding(model, sequences, load.forward_tokens)


def _talks(model: UniConv, load: Load, count: int) -> list[Conversation]:
    """Conversations that have nothing in common, each of the same length."""
    talk = talk_of(model, load.history, random.Random(0))
    first, *others = talk.turns
    openings = (words(random.Random(place), 12) for place in range(count))
    return [Conversation("talk", (replace(first, query=one), *others)) for one in openings]


def _prefill(model: UniConv, load: Load, *, at_once: int) -> Iterator[Call]:
    talks = _talks(model, load, at_once)
    # Without room for conversations, all are new each time.
    with (
        ThreadPoolExecutor(at_once) as pool,
        Engine(model, EngineSettings(cache_bytes=0)) as engine,
    ):
        yield lambda: list(pool.map(engine.read, talks))


def _prefill_work(model: UniConv, load: Load, *, at_once: int) -> Work:
    (talk,) = _talks(model, load, 1)
    return work.prefill(model, len(model.open_question(talk)) + 1, at_once)


def _decode(model: UniConv, load: Load, *, at_once: int) -> Iterator[Call]:
    # Guesses are left out: how often they are right depends on the text.
    settings = EngineSettings(cache_bytes=1 << 36, draft_tokens=0)
    with ThreadPoolExecutor(at_once) as pool, Engine(model, settings) as engine:
        readings = list(pool.map(engine.read, _talks(model, load, at_once)))

        def call() -> None:
            answers = [engine.generate(one, max_new_tokens=load.new) for one in readings]
            for answer in answers:
                "".join(answer)

        yield call


def _decode_work(model: UniConv, load: Load, *, at_once: int) -> Work:
    (talk,) = _talks(model, load, 1)
    halved = False
    if model.device.type == "cpu":
        with Engine(model) as engine:  # packs what it can
            halved = engine.weight_bytes < sum(one.nbytes for one in model.lm.parameters())
    history = len(model.open_question(talk))
    return work.decoding(model, history, load.new, at_once, halved)


def stage(
    name: str,
    run: Callable[..., Iterator[Call]],
    least: Callable[..., Work],
    options: dict[str, int] | None = None,
) -> Stage:
    """A stage that does not train, with the same options for its run and its work."""
    options = options or {}
    return Stage(name, partial(contextmanager(run), **options), partial(least, **options))


def step(name: str, *, checkpointing: bool = False, cached: bool = False) -> Stage:
    """A training step with LoRA."""
    run = partial(contextmanager(_step), checkpointing=checkpointing, cached=cached)
    return Stage(name, run, _step_work, trains=True)


STAGES = (
    *(stage(f"encode {n}", _encode, _encode_work, {"tokens": n}) for n in (128, 384)),
    *(stage(f"prefill {n}", _prefill, _prefill_work, {"at_once": n}) for n in (1, 8)),
    *(stage(f"decode {n}", _decode, _decode_work, {"at_once": n}) for n in (1, 8, 32)),
    step("step"),
    step("step, checkpointing", checkpointing=True),
    step("step, GradCache", cached=True),
)
"""In the order in which they run: training changes the model, so it comes last."""
