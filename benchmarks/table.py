"""Prints what benchmarks/figures.py left as Markdown tables, one for each set.

    python benchmarks/table.py OUT [SET ...]

Means with their 95 % bootstrap intervals over conversations. Where training's passages are known,
a second table has the queries whose gold passages are not among them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

METRICS = {
    "NDCG@3": "ndcg@3",
    "MRR": "mrr",
    "R@5": "recall@5",
    "R@10": "recall@10",
    "R@20": "recall@20",
    "R@100": "recall@100",
}
FORMS = {
    "last": "last question",
    "questions": "all questions",
    "history": "whole history",
    "rewrite": "rewrite",
}
MODELS = {"dense": "**embedded model**", "hybrid": "**embedded model + BM25** (hybrid)"}
ORDER = ("bm25", "dense", "hybrid", "minilm")


def label(row: str) -> str:
    """The name of a row for people."""
    if row in MODELS:
        return MODELS[row]
    system, form = row.split("-")
    return f"{'BM25' if system == 'bm25' else 'all-MiniLM-L6-v2'}, {FORMS[form]}"


def place(row: str) -> tuple[int, int]:
    """Where a row comes in its table."""
    system, _, form = row.partition("-")
    return ORDER.index(system), [*FORMS].index(form) if form else 0


def cell(value: dict[str, float]) -> str:
    """``.630 (.57–.69)``."""
    mean, low, high = (value[name] for name in ("mean", "low", "high"))
    return f"{mean:.3f} ({low:.2f}–{high:.2f})".replace("0.", ".")


def table(results: dict[str, dict[str, Any]]) -> str:
    """A Markdown table with a row for each result."""
    lines = ["| | " + " | ".join(METRICS) + " |", "|---|" + "---|" * len(METRICS)]
    for row in sorted(results, key=place):
        cells = (cell(results[row]["metrics"][metric]) for metric in METRICS.values())
        lines.append(f"| {label(row)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("sets", nargs="*", help="by default all")
    arguments = parser.parse_args()
    folder = arguments.out / "results"
    for name in arguments.sets or sorted(path.name for path in folder.iterdir()):
        results = {
            path.parent.name: json.loads(path.read_text("utf-8"))
            for path in folder.glob(f"{name}/*/result.json")
        }
        any_ = next(iter(results.values()))
        print(f"### {name}: {any_['queries']} queries, {any_['passages']:,} passages\n")
        print(table(results), end="\n\n")
        parts = {row: one["breakdowns"].get("gold", {}) for row, one in results.items()}
        unseen = {row: gold["unseen"] for row, gold in parts.items() if "unseen" in gold}
        if unseen:
            queries = next(iter(unseen.values()))["queries"]
            print(f"The {queries} queries whose gold passage no training turn has:\n")
            print(table(unseen), end="\n\n")


if __name__ == "__main__":
    main()
