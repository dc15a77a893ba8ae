from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uniconv.retrieval.fusion import score_fusion
from uniconv.types import Passage, ScoredPassage

rankings = st.lists(
    st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0.01, 100), max_size=8), max_size=4
)


def ranking(scores):
    found = [ScoredPassage(Passage(name, ""), score) for name, score in scores.items()]
    return sorted(found, key=lambda scored: -scored.score)


def fused(of, limit=None, depth=8):
    found = score_fusion([ranking(scores) for scores in of], limit, depth=depth)
    return {scored.passage.id: scored.score for scored in found}


def test_by_hand():
    # Deviations: (3, 2, 1) has sqrt(2/3); (4, 0, 0), two of which were not found, has sqrt(32/9).
    a, b, c = 2 / (2 / 3) ** 0.5, 1 / (2 / 3) ** 0.5 + 4 / (32 / 9) ** 0.5, 0
    found = fused([{"a": 0.3, "b": 0.2, "c": 0.1}, {"b": 40}], depth=3)
    assert found == pytest.approx({"b": b, "a": a, "c": c})
    assert list(found) == ["b", "a", "c"]


def test_a_ranking_that_stands_out_outweighs_two_that_cannot_decide():
    unsure = {str(place): 1.0 + place / 100 for place in range(100)}
    sure = dict.fromkeys(unsure, 0.1) | {"50": 0.9}
    assert list(fused([unsure, unsure, sure], 2, depth=100)) == ["50", "99"]


def test_equal_scores_decide_nothing_and_keep_their_order():
    assert fused([{"a": 2.0, "b": 2.0}, {"c": 1.0, "d": 1.0}], depth=2) == dict.fromkeys("abcd", 0)
    assert list(fused([{"a": 2.0, "b": 2.0}, {"c": 3.0, "d": 1.0}], depth=2)) == list("cabd")


@given(rankings, st.integers(0, 9), st.floats(0.1, 10))
def test_properties(of, limit, scale):
    found = fused(of)
    expected = dict.fromkeys((name for scores in of for name in scores), 0.0)
    for scores in of:
        padded = np.array([*scores.values(), *[0.0] * (8 - len(scores))])
        for name, score in scores.items():
            expected[name] += (score - padded.min()) / (padded.std() or 1)
    assert found == pytest.approx(expected)
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert list(fused(of, limit)) == list(found)[:limit]
    scaled = [{name: score * scale for name, score in scores.items()} for scores in of]
    assert fused(scaled) == pytest.approx(found, abs=1e-6)  # a ranking's unit doesn't matter


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 99), max_size=8))
def test_one_ranking_keeps_its_order(scores):
    assert list(fused([scores])) == [one.passage.id for one in ranking(scores)]
