"""Distances from a teacher against loops over the formulas, and whom their gradients reach."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from uniconv.training.divergences import (
    SoftTargets,
    embedding_distances,
    score_divergence,
    token_divergence,
)


def _probabilities(logits: list[float], temperature: float) -> list[float]:
    exponentials = [math.exp(one / temperature) for one in logits]
    return [one / sum(exponentials) for one in exponentials]


def _kl(teacher: list[float], student: list[float]) -> float:
    return sum(p * math.log(p / q) for p, q in zip(teacher, student, strict=True))


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("rows", [1, 3, 100])
def test_token_divergence_equals_a_loop(rows: int, temperature: float) -> None:
    torch.manual_seed(0)
    # Output layers of 6 and 7 rows for a tokenizer of 5 tokens: the others are padding.
    student, teacher = nn.Linear(4, 6), nn.Linear(3, 7)
    states, taught = torch.randn(5, 4, requires_grad=True), torch.randn(5, 3)
    soft = SoftTargets([taught[:2], taught[2:]], teacher, 5, temperature)
    found = token_divergence(student, states, soft, rows=rows)
    pairs = zip(teacher(taught).tolist(), student(states).tolist(), strict=True)
    expected = sum(
        _kl(_probabilities(of_teacher[:5], temperature), _probabilities(own[:5], temperature))
        for of_teacher, own in pairs
    )
    assert found.item() == pytest.approx(temperature**2 * expected, rel=1e-4)
    found.backward()
    assert states.grad is not None
    assert states.grad.abs().sum() > 0
    assert student.weight.grad is not None
    assert student.weight.grad[:5].abs().sum() > 0
    assert not student.weight.grad[5:].any()
    assert teacher.weight.grad is None


def test_the_gradient_of_token_divergence_is_the_difference_of_probabilities() -> None:
    torch.manual_seed(0)
    logits, teacher = torch.randn(3, 5, requires_grad=True), torch.randn(3, 5)
    token_divergence(nn.Identity(), logits, SoftTargets([teacher], nn.Identity(), 5)).backward()
    torch.testing.assert_close(logits.grad, logits.softmax(1).detach() - teacher.softmax(1))


def test_nothing_is_learned_from_oneself() -> None:
    head, states = nn.Linear(4, 6), torch.randn(5, 4, requires_grad=True)
    loss = token_divergence(head, states, SoftTargets([states.detach()], head, 6))
    loss.backward()
    assert abs(loss.item()) < 1e-6
    assert states.grad is not None
    assert states.grad.abs().max() < 1e-6


def test_soft_targets_are_selected_by_response() -> None:
    states = [torch.full((n, 2), float(n)) for n in (1, 2, 3)]
    chosen = SoftTargets(states, nn.Identity(), 2, 3.0).select([2, 0])
    assert [len(one) for one in chosen.states] == [3, 1]
    assert chosen.temperature == 3.0


def test_score_divergence_by_hand() -> None:
    student = torch.tensor([[0.0, 0.0], [math.log(3), 0.0]])
    teacher = torch.tensor([[math.log(3), 0.0], [math.log(3), 0.0]])
    expected = _kl([0.75, 0.25], [0.5, 0.5])
    assert score_divergence(student, teacher).item() == pytest.approx(expected, rel=1e-6)


def test_embeddings_of_equal_length_are_compared_by_cosine() -> None:
    student, teacher = normalize(torch.randn(2, 3, 8), dim=2)
    found = embedding_distances(student, student[:0], teacher, teacher[:0])
    expected = [1 - float(a @ b) for a, b in zip(student, teacher, strict=True)]
    torch.testing.assert_close(found, torch.tensor(expected))


def test_embeddings_of_other_length_are_compared_by_their_relations() -> None:
    torch.manual_seed(0)
    student = normalize(torch.randn(5, 4), dim=1)
    teacher = normalize(torch.randn(5, 6), dim=1)
    found = embedding_distances(student[:2], student, teacher[:2], teacher)
    for row in range(2):
        squares = [
            (float(student[row] @ student[other]) - float(teacher[row] @ teacher[other])) ** 2
            for other in range(5)
        ]
        assert found[row].item() == pytest.approx(sum(squares) / 5, rel=1e-4)
    rotated = torch.cat([torch.zeros(5, 2), student.flip(1)], dim=1)  # the same relations
    assert embedding_distances(student, student, rotated, rotated).abs().max() < 1e-6
