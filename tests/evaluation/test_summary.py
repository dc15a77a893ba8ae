"""Means, intervals and depths."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from uniconv.evaluation.summary import bootstrap_interval, print_summary, summarise

VALUES = {"a_1": {"m": 1.0, "n": 0.5}, "a_2": {"m": 0.0, "n": 0.5}, "b_1": {"m": 0.5, "n": 0.5}}
DEPTHS = {"a_1": 1, "a_2": 2, "b_1": 1}


def test_means_over_all_queries_and_by_depth() -> None:
    summary = summarise(VALUES, DEPTHS)
    assert summary["queries"] == 3
    assert summary["metrics"]["m"]["mean"] == pytest.approx(0.5)
    assert summary["metrics"]["n"] == {"mean": 0.5, "low": 0.5, "high": 0.5}
    assert summary["by_depth"] == {
        "1": {"queries": 2, "m": 0.75, "n": 0.5},
        "2": {"queries": 1, "m": 0.0, "n": 0.5},
    }


def test_the_interval_of_a_large_sample_is_that_of_the_normal_distribution() -> None:
    values = np.random.default_rng(1).normal(3.0, 2.0, (2000, 1))
    low, high = bootstrap_interval(values, samples=2000)
    half = 1.96 * values.std() / np.sqrt(2000)
    assert low[0] == pytest.approx(values.mean() - half, abs=0.015)
    assert high[0] == pytest.approx(values.mean() + half, abs=0.015)


def test_intervals_depend_on_the_seed_alone() -> None:
    values = np.random.default_rng(2).random((50, 2))
    first, again = (np.stack(bootstrap_interval(values, seed=4)) for _ in range(2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, np.stack(bootstrap_interval(values, seed=5)))


def test_the_table_shows_all_queries_and_every_depth() -> None:
    console = Console(file=io.StringIO(), width=80)
    print_summary("Retrieval", summarise(VALUES, DEPTHS), console)
    rows = console.file.getvalue().split("\n")  # type: ignore[attr-defined]
    cells = [row.replace("│", " ").split() for row in rows]
    assert ["all", "3", "0.500", "0.500"] in cells
    assert ["1", "2", "0.750", "0.500"] in cells
    assert ["2", "1", "0.000", "0.500"] in cells
