"""Values by query, summed up: means with bootstrap intervals, and means by the turn's depth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

Values = Mapping[str, Mapping[str, float]]
"""Query id to measure to value; every query has the same measures."""


def summarise(values: Values, depths: Mapping[str, int], seed: int = 0) -> dict[str, Any]:
    """Means over all queries with 95 % intervals, and means by depth (1 is a first question).

    Args:
        values: Of at least one query.

    Returns:
        ``queries``, ``metrics`` (measure to ``mean``, ``low``, ``high``) and ``by_depth`` (depth
        to ``queries`` and means).
    """
    names = list(next(iter(values.values())))
    matrix = np.array([[row[name] for name in names] for row in values.values()], dtype=np.float64)
    low, high = bootstrap_interval(matrix, seed=seed)
    by_depth = {}
    of_row = np.array([depths[query] for query in values])
    for depth in np.unique(of_row):
        rows = matrix[of_row == depth]
        means = dict(zip(names, rows.mean(axis=0).tolist(), strict=True))
        by_depth[str(depth)] = {"queries": len(rows), **means}
    return {
        "queries": len(matrix),
        "metrics": {
            name: {"mean": float(mean), "low": float(low[column]), "high": float(high[column])}
            for column, (name, mean) in enumerate(zip(names, matrix.mean(axis=0), strict=True))
        },
        "by_depth": by_depth,
    }


def bootstrap_interval(
    values: np.ndarray, *, seed: int = 0, samples: int = 1000, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the percentile bootstrap interval of the mean over rows (Efron 1979).

    Args:
        values: float64 [queries, measures], at least one query.
    """
    random = np.random.default_rng(seed)
    means = np.stack(
        [values[random.integers(0, len(values), len(values))].mean(axis=0) for _ in range(samples)]
    )
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


def print_summary(title: str, summary: Mapping[str, Any], console: Console | None = None) -> None:
    """The summary as a table: all queries first, then each depth."""
    names = list(summary["metrics"])
    table = Table("turn", "queries", *names, title=title)
    means = {name: value["mean"] for name, value in summary["metrics"].items()}
    rows = {"all": {"queries": summary["queries"], **means}, **summary["by_depth"]}
    for depth, row in rows.items():
        cells = [f"{row[name]:.3f}" for name in names]
        table.add_row(depth, str(row["queries"]), *cells, end_section=depth == "all")
    (console or Console()).print(table)
