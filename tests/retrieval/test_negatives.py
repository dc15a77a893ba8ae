"""Which candidates are taken away, and why."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uniconv.config import MiningConfig
from uniconv.errors import ConfigError
from uniconv.retrieval.candidates import Ranking
from uniconv.retrieval.negatives import FILTERS, choose, overlap, score_limit
from uniconv.types import Passage, ScoredPassage

GOLD = Passage("gold", "The tower of the old harbour was built in 1893 by a family of engineers.")


def config(**settings: Any) -> MiningConfig:
    return MiningConfig(Path("c"), Path("o"), corpus=Path("p"), **settings)


def ranking(scores: Sequence[float], positive: float = 1.0) -> Ranking:
    """Passages p1, p2, ... with nothing in common."""
    found = [
        ScoredPassage(Passage(f"p{rank}", f"w{rank}a w{rank}b w{rank}c"), score)
        for rank, score in enumerate(scores, start=1)
    ]
    return Ranking(found, positive)


def chosen(ranked: Ranking, seed: int = 0, **settings: Any) -> tuple[str, ...]:
    return choose(ranked, [GOLD], set(), set(), config(**settings), random.Random(seed)).ids


def test_each_filter_takes_its_own() -> None:
    copy = ScoredPassage(Passage("copy", f"Note: {GOLD.text}"), 0.5)
    ranked = ranking([0.99, 0.9, 0.8, 0.4, 0.3])
    ranked = Ranking([*ranked.candidates, copy], ranked.positive)
    choice = choose(ranked, [GOLD], {"p2"}, {"p3"}, config(percentage=0.95), random.Random(0))
    assert choice.ids == ("p4", "p5")
    assert choice.candidates == 6
    assert choice.removed == dict.fromkeys(FILTERS, 1)
    everything = config(overlap=1.1)
    choice = choose(ranked, [GOLD], set(), set(), everything, random.Random(0))
    assert choice.ids == ("p1", "p2", "p3", "p4", "p5", "copy")
    assert not choice.removed


@pytest.mark.parametrize(
    ("settings", "positive", "limit"),
    [
        ({}, 0.5, math.inf),
        ({"margin": 0.05}, 0.5, 0.45),
        ({"percentage": 0.9}, 0.5, 0.45),
        ({"percentage": 0.9}, 12.0, 10.8),
        ({"percentage": 0.9}, -0.5, -0.55),
        ({"margin": 0.1, "percentage": 0.9}, 0.5, 0.4),
        ({"margin": 0.01, "percentage": 0.9}, 0.5, 0.45),
        ({"percentage": 1.0}, -math.inf, -math.inf),
        ({"margin": 0.0}, -math.inf, -math.inf),
    ],
)
def test_the_limit_on_scores(settings: dict[str, float], positive: float, limit: float) -> None:
    assert score_limit(positive, config(**settings)) == pytest.approx(limit)


def test_the_limit_itself_is_too_much() -> None:
    assert chosen(ranking([0.5, 0.49], positive=0.5), margin=0.0) == ("p2",)
    assert chosen(ranking([0.5], positive=-math.inf), percentage=0.95) == ()


def test_ranks_and_numbers() -> None:
    ranked = ranking([1 / rank for rank in range(1, 11)])
    assert chosen(ranked, first=3, last=6) == ("p3", "p4", "p5", "p6")
    assert chosen(ranked, first=3, negatives=2) == ("p3", "p4")
    assert chosen(ranked, first=9, last=50) == ("p9", "p10")
    assert chosen(ranked, first=11) == ()


def test_random_samples_are_by_seed_fair_and_in_order() -> None:
    ranked = ranking([1 / rank for rank in range(1, 7)])
    samples = [
        chosen(ranked, seed, first=2, last=5, sample="random", negatives=2) for seed in range(600)
    ]
    assert samples[3] == chosen(ranked, 3, first=2, last=5, sample="random", negatives=2)
    assert all(a < b for a, b in samples)
    assert {id for sample in samples for id in sample} == {"p2", "p3", "p4", "p5"}
    assert sum("p5" in sample for sample in samples) == pytest.approx(300, abs=60)


WORDS = st.lists(st.sampled_from(["the", "Old", "harbour", "tower", "1893"]), max_size=12)


@given(WORDS, WORDS, WORDS)
def test_overlap_is_symmetric_and_whole_for_what_contains_the_other(
    before: list[str], text: list[str], after: list[str]
) -> None:
    inner, outer = " ".join(text), ", ".join([*before, *text, *after])
    assert 0 <= overlap(inner, " ".join(before)) == overlap(" ".join(before), inner) <= 1
    if len(text) >= 3:
        assert overlap(inner, outer) == overlap(outer, inner) == 1


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("a b c d", "a b c x", 1 / 2),
        ("A b; c.", "a B c d e f", 1),
        ("a b c d e", "x y z", 0),
        ("a b", "a b", 1),
        ("a b", "a b c", 0),
        ("", "", 1),
        ("", "a", 0),
        ("漢字仮名交じり文", "これは漢字仮名交じり文です。", 1),
        ("漢字仮名交じり文", "かな漢字変換は難しい", 0),
    ],
)
def test_overlap(first: str, second: str, expected: float) -> None:
    assert overlap(first, second) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"index": Path("i")}, "an index or a corpus, and not both"),
        ({"corpus": None}, "an index or a corpus, and not both"),
        ({"retriever": "dense"}, "dense retrieval needs an index"),
        ({"first": 0}, "not from 0 to 100"),
        ({"first": 9, "last": 8}, "not from 9 to 8"),
        ({"negatives": 0}, "negatives must be 1 or more"),
        ({"margin": -0.1}, "margin must be 0 or more"),
        ({"margin": math.nan}, "margin must be 0 or more"),
        ({"percentage": 1.5}, "percentage must be above 0 and at most 1"),
        ({"overlap": 0}, "overlap must be above 0"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        config(**settings) if "corpus" not in settings else MiningConfig(Path("c"), Path("o"))
