"""Held-out losses are those of one response at a time, and what can't be measured is said."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch.nn.functional import log_softmax

from tiny import tiny_uniconv
from uniconv.config import Objectives, Source
from uniconv.model import UniConv
from uniconv.training.examples import Example, Examples
from uniconv.training.heldout import HeldOut
from uniconv.training.objective import Objective
from uniconv.types import Conversation, Passage, Turn

PASSAGES = {
    "a": Passage("a", "The bridge was opened in 1901.", "Bridge"),
    "b": Passage("b", "A glacier moves slowly.", "Glacier"),
}


def _examples(*turns: Turn) -> Examples:
    talks = [Conversation(f"c{number}", (turn,)) for number, turn in enumerate(turns)]
    examples = [Example(talk, 1, 0) for talk in talks]
    return Examples([Source((Path("dev"),))], examples, [PASSAGES], [[]])


def _held_out(model: UniConv, examples: Examples | None) -> HeldOut:
    return HeldOut(model, Objective(model, Objectives()), examples, seed=0)


def _loss(model: UniConv, prompt: list[int], response: list[int]) -> float:
    with torch.no_grad():
        logits = model.lm(torch.tensor([prompt + response])).logits[0]
    odds = log_softmax(logits[len(prompt) - 1 : -1], dim=-1)
    return -sum(float(odds[place, token]) for place, token in enumerate(response))


def test_losses_are_those_of_one_response_at_a_time() -> None:
    model = tiny_uniconv()
    turns = [
        Turn("When was it opened?", "In 1901.", positives=("a",)),
        Turn("What moves?", " A glacier. ", positives=("b",)),
        Turn("Why?", "Nobody knows."),
        Turn("Is there no answer?"),
    ]
    examples = _examples(*turns)
    held_out = _held_out(model, examples)
    assert held_out.off == []
    contexts = [one.context for one in examples.examples]
    responses = [model.template.response((turn.response or "").strip()) for turn in turns[:3]]
    prompt, tokens = model.template.prompt, [len(response) for response in responses]
    alone = [_loss(model, prompt(contexts[n]), responses[n]) for n in range(3)]
    a, b = PASSAGES["a"], PASSAGES["b"]
    relevant = [_loss(model, prompt(contexts[n], [p]), responses[n]) for n, p in ((0, a), (1, b))]
    other = [_loss(model, prompt(contexts[n], [p]), responses[n]) for n, p in ((0, b), (1, a))]
    expected = {
        "held_out_perplexity": math.exp(sum(alone) / sum(tokens)),
        "relevant_passage_loss": sum(relevant) / sum(tokens[:2]),
        "random_passage_loss": sum(other) / sum(tokens[:2]),
    }
    assert held_out.measure() == pytest.approx(expected, rel=1e-5)


def test_what_can_not_be_measured_is_said() -> None:
    model = tiny_uniconv()
    without = _held_out(model, None)
    assert without.measure() == {}
    assert without.off == [
        "there is no data.dev: the perplexity of held-out responses is not measured, nor whether "
        "passages are read, and nothing warns of forgetting and ignoring passages"
    ]
    one_passage = _held_out(
        model, _examples(*(Turn("Who?", "They.", positives=("a",)) for _ in range(2)))
    )
    assert one_passage.measure().keys() == {"held_out_perplexity"}
    assert [line.partition(":")[0] for line in one_passage.off] == [
        "data.dev has no two conversations with responses and different positives"
    ]
    silent = _held_out(model, _examples(Turn("Who?", positives=("a",))))
    assert silent.measure() == {}
    assert len(silent.off) == 2


def test_the_objective_is_left_in_its_mode() -> None:
    model = tiny_uniconv()
    objective = Objective(model, Objectives(generation=0, alpha=0))
    held_out = HeldOut(model, objective, _examples(Turn("Who?", "They.")), seed=0)
    for training in (True, False):
        objective.train(training)
        assert held_out.measure()["held_out_perplexity"] > 1
        assert objective.training is training


def test_a_turn_that_is_too_long_with_its_passage_is_measured_without() -> None:
    model = tiny_uniconv()
    turns = [Turn("Who?", "They.", positives=(id,)) for id in ("a", "b")]
    shortest = HeldOut(model, Objective(model, Objectives()), _examples(*turns), seed=0)
    room = max(map(len, shortest._parts["held_out"].prompts)) + 12
    model.lm.config.max_position_embeddings = room
    assert model.max_positions == room
    assert _held_out(model, _examples(*turns)).measure().keys() == {"held_out_perplexity"}
