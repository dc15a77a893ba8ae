"""The known failures of joint training, recognised from the measurements of a run as they come."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uniconv.errors import UniConvError

CONCENTRATED = -0.2
"""Uniformity above it: embeddings have a mean cosine of 0.95 with each other. Healthy retrieval
models are below -1, also those of temperature 0.01, whose cosines are high (about 0.75)."""

CONFUSED = 0.5
"""In-batch accuracy below it: similar texts may lie close together and still be told apart, which
is no failure; a collapsed model has 0, because ties count against it."""

RISEN = 1.1
"""Held-out perplexity above so many times its lowest: the same responses are measured each time,
so that 10 % is far beyond chance and not yet beyond repair."""

UNREAD = 0.05
"""The part of its loss that the relevant passage must save over a random one. A model that reads
saves far more, the embedded one about half; on few turns one that doesn't seems to save 2 %."""

LASTING = {"retrieval collapse": 5, "forgetting": 2, "ignoring passages": 2}
"""Readings in succession that make a warning: lines of training, which see few queries each, or
diagnoses, which measure the same turns every time."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A known failure, by its name in LASTING, with what was measured and what to do."""

    name: str
    text: str


Reading = tuple[str, str | None]
"""The name of a failure, and what is to be said if it shows."""


class Watch:
    """Reads all measurements of a run and says once when a failure has set in.

    It says so again only if the failure has gone in between. Training's first ``warmup`` steps are
    left out: a backbone's embeddings are concentrated before it learns to embed.
    """

    def __init__(self, warmup: int) -> None:
        self._warmup = warmup
        self._readings: dict[str, int] = {}
        self._lowest: list[float] = []

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of it, as JSON values."""
        return {"readings": dict(self._readings), "lowest_perplexity": list(self._lowest)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Goes on from a checkpoint's state."""
        self._readings = dict(state.get("readings", {}))
        self._lowest = list(state.get("lowest_perplexity", []))

    def observe(self, step: int, what: str, values: Mapping[str, float]) -> list[Failure]:
        """Takes measurements after ``step`` steps; returns failures that are now certain."""
        if what == "train":
            found = dict(_collapse(values))
        elif what == "diagnosis":
            found = dict([*self._forgetting(step, values), *_ignoring(values)])
        else:
            return []
        certain = []
        for name, text in found.items():
            failing = text is not None and step > self._warmup
            self._readings[name] = self._readings.get(name, 0) + 1 if failing else 0
            if text is not None and self._readings[name] == LASTING[name]:
                certain.append(Failure(name, text))
        return certain

    def _forgetting(self, step: int, values: Mapping[str, float]) -> Iterator[Reading]:
        now = values.get("held_out_perplexity")
        if now is None:
            return
        if not self._lowest or now < self._lowest[0]:
            self._lowest = [now, step]
        lowest, when = self._lowest
        text = (
            f"the perplexity of held-out responses is {now:.4g}, after {lowest:.4g} at step "
            f"{when:.0f}: the model forgets how to write, or learns its training responses by "
            "heart; lower optimisation.learning_rate, give objectives.generation more weight, or "
            "stop earlier"
        )
        yield "forgetting", text if now > RISEN * lowest else None


def _collapse(values: Mapping[str, float]) -> Iterator[Reading]:
    spread, accuracy = values.get("retrieval_uniformity"), values.get("retrieval_accuracy")
    if spread is None or accuracy is None:
        return
    text = (
        f"embeddings concentrate in one place (uniformity {spread:.3f}), and only {accuracy:.0%} "
        "of queries find their passage in the batch; lower optimisation.learning_rate, give "
        "objectives.retrieval more weight, or look whether questions tell which passage is meant"
    )
    yield "retrieval collapse", text if spread > CONCENTRATED and accuracy < CONFUSED else None


def _ignoring(values: Mapping[str, float]) -> Iterator[Reading]:
    relevant, random = values.get("relevant_passage_loss"), values.get("random_passage_loss")
    if relevant is None or random is None:
        return
    text = (
        f"held-out responses are no likelier after the relevant passage (loss {relevant:.4f}) than "
        f"after a random one ({random:.4f}): answers will not rest on what was retrieved; give "
        "objectives.gamma weight, and look whether responses follow from their positives"
    )
    yield "ignoring passages", text if relevant > (1 - UNREAD) * random else None


class DivergedError(UniConvError):
    """A loss or gradient is no longer a finite number; training on would spoil the model."""


def check_finite(figures: Mapping[str, float], step: int, output: Path) -> None:
    """Raises DivergedError where one of the figures of a step is no finite number."""
    bad = [name for name, value in figures.items() if not math.isfinite(value)]
    if bad:
        raise DivergedError(
            f"training diverged at step {step}: {', '.join(bad)} is not a finite number; "
            f"checkpoints in {output / 'checkpoints'} are from before it, try a lower "
            "optimisation.learning_rate in a new output folder"
        )
