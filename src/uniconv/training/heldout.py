"""What is being lost while the objective falls: losses of held-out responses, always the same."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import torch

from uniconv.model import UniConv
from uniconv.training.batch import Writing
from uniconv.training.collate import passage_key
from uniconv.training.distributed import processes, rank, total
from uniconv.training.examples import Example, Examples
from uniconv.training.objective import Objective
from uniconv.types import Passage

TURNS = 32
"""Turns of data.dev that are measured. Few show a change, since they are the same every time."""


class HeldOut:
    """Losses of held-out responses, whatever the objective is: alone, and after passages.

    ``off`` says in a sentence each why a measure can't be taken. A random passage is one that is
    relevant to another of the turns.
    """

    def __init__(
        self, model: UniConv, objective: Objective, examples: Examples | None, seed: int
    ) -> None:
        self._model, self._objective = model, objective
        self.off: list[str] = []
        self._parts: dict[str, Writing] = {}
        if examples is None:
            self.off.append(
                "there is no data.dev: the perplexity of held-out responses is not measured, nor "
                "whether passages are read, and nothing warns of forgetting and ignoring passages"
            )
            return
        self._parts = self._writings(examples, random.Random(f"{seed}/held out"))
        if not self._parts["held_out"]:
            self.off.append(
                "no turn of data.dev has a response: the perplexity of held-out responses is not "
                "measured, and nothing warns of forgetting"
            )
        if not self._parts["relevant"]:
            self.off.append(
                "data.dev has no two conversations with responses and different positives: whether "
                "passages are read is not measured, and nothing warns of ignoring them"
            )

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        """``held_out_perplexity``, ``relevant_passage_loss`` and ``random_passage_loss``, the
        losses in nats per token; to be called by all processes together."""
        mine = {name: _share(part) for name, part in self._parts.items() if part}
        if not mine:
            return {}
        was_training = self._objective.training
        self._objective.eval()
        sums = self._objective.losses(mine)
        self._objective.train(was_training)
        losses = total(torch.stack([sums[name].double() for name in mine])).tolist()
        means = {
            name: loss / len(self._parts[name]) for name, loss in zip(mine, losses, strict=True)
        }
        values = {}
        if "held_out" in means:
            values["held_out_perplexity"] = math.exp(min(means["held_out"], 700.0))
        for kind in ("relevant", "random"):
            if kind in means:
                values[f"{kind}_passage_loss"] = means[kind]
        return values

    def _writings(self, examples: Examples, rng: random.Random) -> dict[str, Writing]:
        turns = [one for one in examples.examples if (one.turn.response or "").strip()]
        rng.shuffle(turns)
        turns.sort(key=lambda one: not _positives(examples, one))  # the sample serves both measures
        turns = turns[:TURNS]
        alone, relevant, other = Writing(), Writing(), Writing()
        for place, one in enumerate(turns):
            self._add(one, [[]], [alone])
            positives = _positives(examples, one)
            others = [
                passage
                for another in turns[place + 1 :] + turns[:place]
                if another.conversation is not one.conversation
                for passage in _positives(examples, another)[:1]
                if passage_key(passage) not in map(passage_key, positives)
            ]
            if positives and others:
                self._add(one, [positives[:1], others[:1]], [relevant, other])
        return {"held_out": alone, "relevant": relevant, "random": other}

    def _add(
        self, one: Example, passages: Sequence[Sequence[Passage]], parts: Sequence[Writing]
    ) -> None:
        """Adds the turn with each of several lists of passages to as many parts, or to none."""
        template, most = self._model.template, self._model.max_positions or math.inf
        prompts = [template.prompt(one.context, shown) for shown in passages]
        response = template.response((one.turn.response or "").strip())
        if max(map(len, prompts)) + len(response) <= most:
            for part, prompt in zip(parts, prompts, strict=True):
                part.prompts.append(prompt)
                part.responses.append(response)


def _positives(examples: Examples, one: Example) -> list[Passage]:
    passages = examples.passages[one.source]
    return [passages[id] for id in one.turn.positives if id in passages]


def _share(part: Writing) -> Writing:
    """What this process reads of a part."""
    mine = slice(rank(), None, processes())
    return Writing(part.prompts[mine], part.responses[mine])
