"""Means, intervals over conversations, and groups."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from uniconv.evaluation.summary import (
    bootstrap_interval,
    conversations_of,
    markdown,
    print_summary,
    summarise,
)

VALUES = {"a_1": {"m": 1.0, "n": 0.5}, "a_2": {"m": 0.0}, "b_1": {"m": 0.5, "n": 0.5}}
GROUPS = {
    "depth": {"a_1": ["1"], "a_2": ["2"], "b_1": ["1"]},
    "type": {"a_1": ["why", "how"], "a_2": ["how"]},
    "gold": {},
}


def test_means_over_all_queries_and_by_group() -> None:
    summary = summarise(VALUES, GROUPS)
    assert summary["queries"] == 3
    assert summary["metrics"]["m"]["mean"] == pytest.approx(0.5)
    assert summary["metrics"]["n"] == {"queries": 2, "mean": 0.5, "low": 0.5, "high": 0.5}
    found = {
        (name, group): (entry["queries"], {m: one["mean"] for m, one in entry["metrics"].items()})
        for name, groups in summary["breakdowns"].items()
        for group, entry in groups.items()
    }
    assert found == {
        ("depth", "1"): (2, {"m": 0.75, "n": 0.5}),
        ("depth", "2"): (1, {"m": 0.0}),
        ("type", "how"): (2, {"m": 0.5, "n": 0.5}),
        ("type", "why"): (1, {"m": 1.0, "n": 0.5}),
    }


def test_numbers_are_in_their_order_before_words() -> None:
    names = ["10", "9", "rest", "2", "all"]
    values = {f"c_{n}": {"m": 0.0} for n in range(5)}
    groups = {"depth": {f"c_{n}": [name] for n, name in enumerate(names)}}
    ordered = list(summarise(values, groups)["breakdowns"]["depth"])
    assert ordered == ["2", "9", "10", "all", "rest"]


def test_the_interval_of_a_large_sample_is_that_of_the_normal_distribution() -> None:
    values = np.random.default_rng(1).normal(3.0, 2.0, (2000, 1))
    low, high = bootstrap_interval(values, [str(n) for n in range(2000)], samples=2000)
    half = 1.96 * values.std() / np.sqrt(2000)
    assert low[0] == pytest.approx(values.mean() - half, abs=0.015)
    assert high[0] == pytest.approx(values.mean() + half, abs=0.015)


def test_turns_that_say_the_same_count_as_one_conversation() -> None:
    # Ten copies of each conversation's value tell no more than one does.
    one = np.random.default_rng(3).random((40, 1))
    names = [f"c{n}" for n in range(40)]
    single = bootstrap_interval(one, names)
    copied = bootstrap_interval(np.repeat(one, 10, axis=0), np.repeat(names, 10).tolist())
    np.testing.assert_allclose(copied, single)
    alone = bootstrap_interval(np.repeat(one, 10, axis=0), [str(n) for n in range(400)])
    assert alone[1] - alone[0] < 0.5 * (single[1] - single[0])


def test_long_conversations_weigh_by_their_turns() -> None:
    # Two conversations: draws are long alone, short alone, or both, whose mean is over 10 turns.
    values = np.array([1.0] * 9 + [0.0])[:, None]
    low, high = bootstrap_interval(values, ["long"] * 9 + ["short"], level=0.4)
    assert (low[0], high[0]) == pytest.approx((0.9, 0.9))


def test_absent_values_are_left_out_of_intervals() -> None:
    values = np.array([[1.0, np.nan], [np.nan, np.nan], [0.0, 1.0], [1.0, 1.0]])
    low, high = bootstrap_interval(values, ["a", "a", "b", "c"])
    assert 0 <= low[0] < high[0] <= 1
    assert (low[1], high[1]) == (1, 1)


def test_intervals_depend_on_the_seed_alone() -> None:
    values, names = np.random.default_rng(2).random((50, 2)), [str(n // 2) for n in range(50)]
    first, again = (np.stack(bootstrap_interval(values, names, seed=4)) for _ in range(2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, np.stack(bootstrap_interval(values, names, seed=5)))


def test_a_query_id_names_its_conversation() -> None:
    assert conversations_of(["a_1", "a_b_12", "alone"]) == ["a", "a_b", "alone"]


def test_the_table_shows_all_queries_and_every_group() -> None:
    console = Console(file=io.StringIO(), width=80)
    summary = summarise(VALUES, GROUPS)
    print_summary("Retrieval", summary, console)
    rows = console.file.getvalue().split("\n")  # type: ignore[attr-defined]
    cells = [row.split() for row in rows if row.strip()]
    start = cells.index(["depth"])
    assert ["all", "3", "0.500", "0.500"] in cells[:start]
    assert cells[start + 1 : start + 3] == [["1", "2", "0.750", "0.500"], ["2", "1", "0.000"]]
    lines = markdown("Retrieval", summary).splitlines()
    assert lines[:3] == ["### Retrieval", "", "|  | queries | m | n |"]
    assert "| depth: 2 | 1 | 0.000 (0.000 to 0.000) |  |" in lines
    assert lines[4].endswith("0.500 (0.500 to 0.500), n=2 |")
