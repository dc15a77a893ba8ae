"""Response metrics against values worked out by hand."""

from __future__ import annotations

import pytest

from uniconv.evaluation.response_metrics import (
    exact_match,
    normalise,
    response_metrics,
    rouge_l,
    token_f1,
)


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        ("The  Eiffel-Tower, in Paris!", "eiffeltower in paris"),
        ("An apple a day", "apple day"),
        ("theatre", "theatre"),
        ("a. the, AN", ""),
        ("«Ça» va", "«ça» va"),
        ("", ""),
    ],
)
def test_normalisation(text: str, normalised: str) -> None:
    assert normalise(text) == normalised


@pytest.mark.parametrize(
    ("prediction", "reference", "f1"),
    [
        ("the cat sat", "a cat sat down", 2 * 2 / (2 + 3)),
        ("cat cat", "cat", 2 * 1 / (2 + 1)),
        ("cat", "dog", 0),
        ("", "", 1),
        ("the", "", 1),
        ("", "cat", 0),
        ("cat", "a", 0),
        ("In 1902.", "in 1902", 1),
    ],
)
def test_token_f1(prediction: str, reference: str, f1: float) -> None:
    assert token_f1(prediction, reference) == pytest.approx(f1)
    assert token_f1(reference, prediction) == pytest.approx(f1)


def test_exact_match() -> None:
    assert exact_match("The Cat!", "cat") == 1
    assert exact_match("cat sat", "sat cat") == 0
    assert exact_match("", "the") == 1


def test_rouge_l() -> None:
    # "the cat down" is the longest common subsequence: precision 3/4, recall 3/5.
    expected = 2 * (3 / 4) * (3 / 5) / (3 / 4 + 3 / 5)
    assert rouge_l("the cat lay down", "the black cat sat down") == pytest.approx(expected)
    assert rouge_l("", "cat") == 0


def test_each_metric_takes_its_best_reference() -> None:
    values = response_metrics("Ada Quay", ["it was Ada Quay", "Ada", "the Ada Quay"])
    assert values == {"f1": 1, "em": 1, "rouge_l": pytest.approx(0.8)}
    with pytest.raises(ValueError, match="without a reference"):
        response_metrics("Ada", [])
