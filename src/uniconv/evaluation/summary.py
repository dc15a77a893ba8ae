"""Values by query, summed up: means with bootstrap intervals, over all queries and by group."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from uniconv.evaluation.breakdowns import Groups

Values = Mapping[str, Mapping[str, float]]
"""Query id to measure to value; a query lacks the measures that say nothing of it."""
Floats = npt.NDArray[np.float64]


def summarise(values: Values, groups: Groups | None = None, seed: int = 0) -> dict[str, Any]:
    """Means with 95 % intervals over all queries, and in each group of the breakdowns.

    Args:
        values: Of at least one query.

    Returns:
        ``queries``, ``metrics`` (measure to ``queries``, ``mean``, ``low``, ``high``) and
        ``breakdowns`` (name to group to ``queries`` and ``metrics``). A measure's ``queries`` are
        those that have it.
    """
    breakdowns = {}
    for name, of in (groups or {}).items():
        members: dict[str, dict[str, Mapping[str, float]]] = {}
        for query, row in values.items():
            for group in of.get(query, ()):
                members.setdefault(group, {})[query] = row
        if members:
            ordered = sorted(members, key=_order)
            breakdowns[name] = {group: _describe(members[group], seed) for group in ordered}
    return {**_describe(values, seed), "breakdowns": breakdowns}


def _order(group: str) -> tuple[float, str]:
    """Numbers by size, before words."""
    return (float(group) if group.isdecimal() else np.inf, group)


def _describe(values: Values, seed: int) -> dict[str, Any]:
    names, matrix = matrix_of(values)
    low, high = bootstrap_interval(matrix, conversations_of(values), seed=seed)
    counts = np.isfinite(matrix).sum(axis=0)
    means = np.nansum(matrix, axis=0) / counts
    return {
        "queries": len(matrix),
        "metrics": {
            name: {
                "queries": int(counts[column]),
                "mean": float(means[column]),
                "low": float(low[column]),
                "high": float(high[column]),
            }
            for column, name in enumerate(names)
        },
    }


def matrix_of(values: Values) -> tuple[list[str], Floats]:
    """The measures in the order they are met, and float64 [queries, measures], NaN for absent."""
    names = list(dict.fromkeys(name for row in values.values() for name in row))
    rows = [[row.get(name, np.nan) for name in names] for row in values.values()]
    return names, np.array(rows, dtype=np.float64).reshape(len(rows), len(names))


def conversations_of(queries: Iterable[str]) -> list[str]:
    """The conversation of each query id ``conversation_turn``."""
    return [query.rpartition("_")[0] or query for query in queries]


def cluster_sums(values: Floats, clusters: Sequence[str]) -> tuple[Floats, Floats]:
    """Sums and numbers of the values of each cluster, float64 [clusters, measures]; NaN is none."""
    _, number = np.unique(np.array(clusters), return_inverse=True)
    sums = np.zeros((int(number.max()) + 1, values.shape[1]))
    counts = np.zeros_like(sums)
    np.add.at(sums, number, np.nan_to_num(values))
    np.add.at(counts, number, np.isfinite(values))
    return sums, counts


def bootstrap_interval(
    values: Floats,
    clusters: Sequence[str],
    *,
    seed: int = 0,
    samples: int = 1000,
    level: float = 0.95,
) -> tuple[Floats, Floats]:
    """Ends of the percentile bootstrap interval of the mean over rows (Efron 1979).

    Whole clusters are drawn, with all their rows: the turns of a conversation depend on each other,
    and drawn one by one they would make intervals too narrow (Field and Welsh 2007).

    Args:
        values: float64 [queries, measures], at least one query; NaN where there is no value.
        clusters: The cluster, such as the conversation, of each row.
    """
    sums, counts = cluster_sums(values, clusters)
    random = np.random.default_rng(seed)
    means = np.empty((samples, values.shape[1]))
    for sample in range(samples):
        drawn = random.integers(0, len(sums), len(sums))
        times = np.bincount(drawn, minlength=len(sums))
        with np.errstate(invalid="ignore"):  # 0 / 0 where none that was drawn has a value
            means[sample] = (times @ sums) / (times @ counts)
    low, high = np.nanquantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


def print_summary(title: str, summary: Mapping[str, Any], console: Console | None = None) -> None:
    """The means as a table: all queries first, then each group of each breakdown."""
    names = list(summary["metrics"])
    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(no_wrap=True)
    for name in ("queries", *names):
        table.add_column(name.replace("@", "\n@"), no_wrap=True, justify="right")

    def add(label: str, entry: Mapping[str, Any]) -> None:
        means = [entry["metrics"].get(name) for name in names]
        cells = ["" if one is None else f"{one['mean']:.3f}" for one in means]
        table.add_row(label, str(entry["queries"]), *cells)

    add("all", summary)
    for breakdown, groups in summary["breakdowns"].items():
        table.add_section()
        table.add_row(Text(breakdown, style="bold"))
        for group, entry in groups.items():
            add(f"  {escape(group)}", entry)
    (console or Console()).print(table)


def markdown(title: str, summary: Mapping[str, Any]) -> str:
    """The summary as a Markdown table, with intervals."""
    names = list(summary["metrics"])
    entries = {"all": summary} | {
        f"{breakdown}: {group}": entry
        for breakdown, groups in summary["breakdowns"].items()
        for group, entry in groups.items()
    }
    rows = [
        [label, str(entry["queries"])]
        + [cell(entry["metrics"].get(name), entry["queries"]) for name in names]
        for label, entry in entries.items()
    ]
    return f"### {title}\n\n{markdown_table(['', 'queries', *names], rows)}\n"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, without a line end after it."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        f"| {' | '.join(text.replace('|', chr(92) + '|') for text in line)} |" for line in lines
    )


def cell(metric: Mapping[str, Any] | None, queries: int) -> str:
    """``0.630 (0.590 to 0.670)``, and the number of queries where not all have the measure."""
    if metric is None:
        return ""
    text = f"{metric['mean']:.3f} ({metric['low']:.3f} to {metric['high']:.3f})"
    return text if metric["queries"] == queries else f"{text}, n={metric['queries']}"
