from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uniconv.retrieval.fusion import reciprocal_rank_fusion
from uniconv.types import Passage, ScoredPassage

ids = st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8)


def ranking(names):
    return [ScoredPassage(Passage(name, ""), -rank) for rank, name in enumerate(names)]


def test_by_hand():
    fused = reciprocal_rank_fusion([ranking("ab"), ranking("bc"), ranking("b")])
    assert [one.passage.id for one in fused] == ["b", "a", "c"]
    assert [one.score for one in fused] == pytest.approx([1 / 62 + 2 / 61, 1 / 61, 1 / 62])


def test_ties_keep_the_order_of_the_rankings():
    fused = reciprocal_rank_fusion([ranking("ab"), ranking("cd")])
    assert [one.passage.id for one in fused] == ["a", "c", "b", "d"]


@given(st.lists(ids, max_size=4), st.integers(0, 9))
def test_properties(rankings, limit):
    fused = reciprocal_rank_fusion([ranking(names) for names in rankings])
    expected = {
        name: sum(1 / (61 + names.index(name)) for names in rankings if name in names)
        for name in {name for names in rankings for name in names}
    }
    assert {one.passage.id: one.score for one in fused} == pytest.approx(expected)
    assert [one.score for one in fused] == sorted((one.score for one in fused), reverse=True)
    assert reciprocal_rank_fusion([ranking(names) for names in rankings], limit) == fused[:limit]


@given(ids)
def test_one_ranking_keeps_its_order(names):
    assert [one.passage.id for one in reciprocal_rank_fusion([ranking(names)])] == names
