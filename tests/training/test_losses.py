"""Losses against values worked out by hand and against loops."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize

from uniconv.training.losses import (
    IGNORED,
    NO_KEY,
    contrastive,
    first_occurrences,
    head_cross_entropy,
    no_negatives,
    reciprocal_ranks,
    response_cross_entropy,
    similarities,
    squared_distances,
    uniformity,
)


def test_contrastive_by_hand() -> None:
    logits = torch.tensor([[math.log(3), 0.0], [0.0, 0.0]])
    loss = contrastive(logits, torch.tensor([0, 1]))
    assert math.isclose(float(loss), -math.log(3 / 4) - math.log(1 / 2), rel_tol=1e-6)


def test_excluded_documents_have_no_part_in_the_loss() -> None:
    queries, documents = torch.eye(3)[:1], torch.eye(3)
    excluded = torch.tensor([[False, True, False]])
    logits = similarities(queries, documents, excluded, temperature=0.5)
    assert logits.tolist() == [[2.0, -math.inf, 0.0]]
    expected = -math.log(math.exp(2) / (math.exp(2) + 1))
    assert math.isclose(float(contrastive(logits, torch.tensor([0]))), expected, rel_tol=1e-6)


def test_similarities_stay_in_float32_under_autocast() -> None:
    queries = normalize(torch.randn(4, 64, generator=torch.Generator().manual_seed(0)), dim=-1)
    none = torch.zeros(4, 4, dtype=torch.bool)
    with torch.autocast("cpu", torch.bfloat16):
        scores = similarities(queries, queries, none, 0.01)
    assert torch.equal(scores, queries @ queries.T / 0.01)


def test_what_is_no_negative() -> None:
    # Documents 2 and 3 have the same text; query 0 is also relevant to document 1's text.
    keys = torch.tensor([10, 11, 12, 12, 13])
    own = torch.tensor([[10, 11], [12, NO_KEY]])
    excluded = no_negatives(torch.tensor([0, 2]), own, keys)
    assert excluded.tolist() == [
        [False, True, False, True, False],
        [False, False, False, True, False],
    ]


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=8),
    st.data(),
)
def test_no_negatives_equals_a_loop(keys: list[int], data: st.DataObject) -> None:
    labels = data.draw(st.lists(st.sampled_from(sorted({*map(keys.index, keys)})), max_size=5))
    more = [data.draw(st.lists(st.integers(1, 5), max_size=2)) for _ in labels]
    own = [[keys[label], *extra] for label, extra in zip(labels, more, strict=True)]
    padded = torch.tensor([row + [NO_KEY] * (3 - len(row)) for row in own]).reshape(-1, 3)
    found = no_negatives(torch.tensor(labels).long(), padded.long(), torch.tensor(keys))
    for query, label in enumerate(labels):
        seen = set()
        for document, key in enumerate(keys):
            negative = key not in own[query] and key not in seen
            seen.add(key)
            assert bool(found[query, document]) == (not negative and document != label)


def test_first_occurrences() -> None:
    assert first_occurrences(torch.tensor([7, 8, 7, 9, 8])).tolist() == [0, 1, 0, 3, 1]
    assert first_occurrences(torch.tensor([]).long()).tolist() == []


def test_no_queries_no_loss_but_a_gradient() -> None:
    documents = torch.randn(2, 3, requires_grad=True)
    logits = similarities(torch.zeros(0, 3), documents, torch.zeros(0, 2).bool(), 0.1)
    loss = contrastive(logits, torch.zeros(0).long())
    loss.backward()
    assert float(loss) == 0
    assert documents.grad is not None
    assert not documents.grad.any()


def test_reciprocal_ranks_count_ties_against_the_label() -> None:
    logits = torch.tensor([[3.0, 2.0, 1.0], [1.0, 1.0, 1.0], [2.0, -math.inf, 1.0]])
    ranks = reciprocal_ranks(logits, torch.tensor([1, 0, 2]))
    assert torch.equal(ranks, torch.tensor([1 / 2, 1 / 3, 1 / 2]))


def test_response_cross_entropy_equals_a_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 4, 7, generator=generator)
    targets = torch.tensor([[1, 2, 3, 4], [IGNORED, 0, 6, 5], [IGNORED] * 4])
    expected = 0.0
    for row in range(3):
        for place in range(4):
            if (target := int(targets[row, place])) != IGNORED:
                odds: Tensor = logits[row, place].exp()
                expected -= math.log(float(odds[target] / odds.sum()))
    assert math.isclose(float(response_cross_entropy(logits, targets)), expected, rel_tol=1e-5)


def test_alignment_and_uniformity_by_a_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    queries, documents = (
        normalize(torch.randn(rows, 5, generator=generator), dim=-1) for rows in (3, 4)
    )
    apart = [
        sum((a - b) ** 2 for a, b in zip(x, y, strict=True))
        for x, y in zip(queries.tolist(), documents.tolist(), strict=False)
    ]
    assert squared_distances(queries, documents[:3]).tolist() == pytest.approx(apart, rel=1e-5)
    expected = []
    for rows in (queries, documents):
        pairs = [(i, j) for i in range(len(rows)) for j in range(i)]
        squared = [float((rows[i] - rows[j]).square().sum()) for i, j in pairs]
        expected.append(math.log(sum(math.exp(-2 * one) for one in squared) / len(pairs)))
    found = uniformity(queries, documents)
    assert float(found) == pytest.approx(sum(expected) / 2, rel=1e-5)


def test_uniformity_of_known_places() -> None:
    assert float(uniformity(torch.eye(3))) == pytest.approx(-4)  # squared distances of 2
    assert float(uniformity(torch.eye(3)[:1].expand(4, 3))) == pytest.approx(0)
    assert float(uniformity(torch.eye(3), torch.eye(3)[:1])) == pytest.approx(-4)  # no pairs
    assert float(uniformity(torch.eye(3)[:1], torch.eye(3)[:0])) == 0


def test_gradients_of_the_head_are_computed_where_they_are_wanted() -> None:
    head = torch.nn.Linear(3, 4)
    seen: list[bool] = []
    head.register_forward_hook(lambda *_: seen.append(torch.is_grad_enabled()))
    with torch.no_grad():
        head_cross_entropy(head, torch.ones(2, 3), torch.tensor([0, 1]))
    head_cross_entropy(head, torch.ones(2, 3), torch.tensor([0, 1]))
    assert seen == [False, True]
