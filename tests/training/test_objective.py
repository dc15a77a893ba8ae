"""Padding, grouping and order change nothing: the objective equals one sequence at a time."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import log_softmax

from tiny import FAMILIES, tiny_uniconv
from uniconv.config import Objectives
from uniconv.errors import ConfigError
from uniconv.training.batch import Batch, Contrast, Writing
from uniconv.training.forwards import length_groups
from uniconv.training.objective import Objective

PROMPTS = [[1, 300, 301, 302, 5], [1, 310], [1, 320, 321]]
RESPONSES = [[306, 4], [307, 308, 309, 4], [311, 312, 4]]


@pytest.mark.parametrize("family", FAMILIES)
def test_generation_equals_one_response_at_a_time(family: str) -> None:
    model = tiny_uniconv(family)
    expected = 0.0
    with torch.no_grad():
        for prompt, response in zip(PROMPTS, RESPONSES, strict=True):
            logits = model.lm(torch.tensor([prompt + response])).logits[0]
            odds = log_softmax(logits[len(prompt) - 1 : -1], dim=-1)
            expected -= sum(float(odds[n, token]) for n, token in enumerate(response))
        objective = Objective(model, Objectives(retrieval=0, alpha=0))
        batch = Batch(generation=Writing(PROMPTS, RESPONSES))
        assert batch.counts == [0, 9, 0, 0]
        found = objective.sums(batch)["generation"].item()
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_retrieval_equals_a_loop(family: str) -> None:
    model = tiny_uniconv(family)
    documents = [[1, 320, 2], [1, 321, 322, 323, 324, 2], [1, 325, 326, 2]]
    part = Contrast(PROMPTS, documents, [0, 1, 0], [[7, 9], [8], [7]], [7, 8, 9])
    with torch.no_grad():
        queries = [model.embed([tokens])[0] for tokens in PROMPTS]
        embedded = [model.embed([tokens])[0] for tokens in documents]
        scores = [[float(q @ d) / 0.05 for d in embedded] for q in queries]
        # Document 2 is relevant to query 0 and so not its negative.
        candidates = [(0, [0, 1]), (1, [0, 1, 2]), (0, [0, 1, 2])]
        expected = sum(
            math.log(sum(math.exp(row[d]) for d in among)) - row[label]
            for row, (label, among) in zip(scores, candidates, strict=True)
        )
        objective = Objective(model, Objectives(generation=0, alpha=0, temperature=0.05))
        found = objective.sums(Batch(retrieval=part))
    assert found["retrieval"].item() == pytest.approx(expected, rel=1e-4)
    names = ("mrr", "accuracy", "alignment", "uniformity")
    assert found.keys() == {"retrieval", *(f"retrieval_{name}" for name in names)}
    apart = sum(
        float((queries[query] - embedded[document]).square().sum())
        for query, document in enumerate((0, 1, 0))
    )
    assert found["retrieval_alignment"].item() == pytest.approx(apart, rel=1e-4)


def test_matryoshka_retrieval_is_a_sum_over_prefixes_of_unit_length() -> None:
    model = tiny_uniconv()
    documents = [[1, 320, 2], [1, 321, 322, 323, 324, 2]]
    part = Contrast(PROMPTS, documents, [0, 1, 0], [[7], [8], [7]], [7, 8])
    weights = Objectives(generation=0, alpha=0, temperature=0.05, matryoshka=(2, 7))
    with torch.no_grad():
        queries, embedded = model.embed(PROMPTS), model.embed(documents)
        found = Objective(model, weights).sums(Batch(retrieval=part))
        expected, accuracy = 0.0, {}
        for length in (2, 7, model.dimension):
            pair = (one[:, :length] for one in (queries, embedded))
            left, right = (one / one.norm(dim=1, keepdim=True) for one in pair)
            odds = log_softmax(left @ right.T / 0.05, dim=1)
            expected -= float(odds[0, 0] + odds[1, 1] + odds[2, 0])
            accuracy[length] = float((odds.argmax(1) == torch.tensor([0, 1, 0])).sum())
    assert found["retrieval"].item() == pytest.approx(expected, rel=1e-4)
    assert found["retrieval_accuracy_2"].item() == accuracy[2]
    assert found["retrieval_accuracy"].item() == accuracy[model.dimension]


def test_a_matryoshka_length_is_below_the_models() -> None:
    model = tiny_uniconv()
    with pytest.raises(ConfigError, match=f"{model.dimension} is not below {model.dimension}, the"):
        Objective(model, Objectives(matryoshka=(4, model.dimension)))


def test_small_forward_passes_change_nothing() -> None:
    model = tiny_uniconv()
    part = Contrast(PROMPTS, PROMPTS[:2], [0, 1, 0], [[7], [8], [7]], [7, 8])
    batch = Batch(part, Writing(PROMPTS, RESPONSES), part, Writing(PROMPTS, RESPONSES))
    with torch.no_grad():
        large, small = (
            Objective(model, Objectives(gamma=1), forward_tokens=tokens).sums(batch)
            for tokens in (1000, 6)
        )
    for name, value in large.items():
        assert value.item() == pytest.approx(small[name].item(), rel=1e-5), name


def test_an_empty_batch_costs_nothing_and_reaches_every_parameter() -> None:
    objective = Objective(tiny_uniconv("mistral"), Objectives(gamma=1))
    loss, _ = objective(Batch(), [1.0] * 4)
    loss.backward()
    assert loss.item() == 0
    for name, parameter in objective.named_parameters():
        assert parameter.grad is not None, name
        assert not parameter.grad.any(), name


def test_parts_are_weighted_and_scaled() -> None:
    weights = Objectives(retrieval=1, generation=0, alpha=0.5, gamma=2)
    objective = Objective(tiny_uniconv(), weights)
    sums = {name: torch.tensor(8.0) for name in ("retrieval", "cii", "grounded")}
    assert objective.combine(sums, [1 / 4, 0, 1 / 8, 1 / 2]).item() == 2 + 0.5 + 8


def test_bf16_comes_near_float32() -> None:
    model = tiny_uniconv()
    part = Contrast(PROMPTS, PROMPTS[:2], [0, 1, 0], [[7], [8], [7]], [7, 8])
    batch = Batch(retrieval=part, generation=Writing(PROMPTS, RESPONSES))
    with torch.no_grad():
        weights = Objectives(alpha=0, temperature=1)
        exact, rounded = (
            Objective(model, weights, bf16=flag).sums(batch) for flag in (False, True)
        )
    assert rounded["generation"].dtype == rounded["retrieval"].dtype == torch.float32
    for name in ("retrieval", "generation"):
        assert rounded[name].item() == pytest.approx(exact[name].item(), rel=0.02)


@given(st.lists(st.integers(1, 50), max_size=30), st.integers(1, 120))
def test_groups_hold_every_row_once_within_the_budget(lengths: list[int], budget: int) -> None:
    groups = list(length_groups(lengths, budget))
    assert sorted(row for group in groups for row in group) == list(range(len(lengths)))
    for group in groups:
        longest = max(lengths[row] for row in group)
        assert len(group) == 1 or len(group) * longest <= budget
        assert 2 * min(lengths[row] for row in group) >= longest
