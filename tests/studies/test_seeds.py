"""Means over seeds and their intervals."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from uniconv.studies.runs import Run
from uniconv.studies.seeds import OverSeeds, differences_from, markdown_of, table_of


def test_an_interval_is_students() -> None:
    three = OverSeeds((1.0, 2.0, 3.0))
    assert three.reach == pytest.approx(4.303 / math.sqrt(3))
    assert str(three) == "2.000 ± 2.484"
    assert OverSeeds((0.0, 1.0)).reach == pytest.approx(12.706 / 2)
    many = OverSeeds(tuple(float(n % 2) for n in range(40)))
    assert many.reach is not None
    assert 0.15 < many.reach < 0.19  # 2.02 standard errors, or a little more


def test_one_seed_has_no_interval() -> None:
    assert OverSeeds((0.25,)).reach is None
    assert str(OverSeeds((0.25,))) == "0.250"


def test_differences_are_paired_by_seed() -> None:
    runs = [
        Run(name, seed, Path("none"), {"f1": base + seed, **({"mrr": 1.0} if seed else {})})
        for name, base in (("a", 0.0), ("b", 0.5))
        for seed in (0, 1, 2)
    ]
    table = table_of(runs)
    assert list(table["a"]) == ["f1"]  # what not all seeds have is left out
    less = differences_from("a", table)
    assert less["b"]["f1"].values == (0.5, 0.5, 0.5)
    assert less["b"]["f1"].reach == 0
    assert list(less) == ["b"]
    assert "| B | 1.500 ± 2.484 |" in markdown_of(table, {"b": "B"})
