"""Prints the results that benchmarks/figures.sh left as a Markdown table.

    python benchmarks/table.py OUT/results

A row a result: its name, the number of queries, and the mean of each metric with its 95 % interval.
Where training's passages are known, a second row has the queries whose gold passages are not among
them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

RETRIEVAL = ("ndcg@3", "mrr", "recall@5", "recall@10", "recall@20", "recall@100")
RESPONSES = ("f1", "em", "rouge_l")


def cell(value: dict[str, float]) -> str:
    """``.630 (.59–.67)``."""
    mean, low, high = (value[name] for name in ("mean", "low", "high"))
    return f"{mean:.3f} ({low:.2f}–{high:.2f})".replace("0.", ".")


def table(results: list[tuple[str, dict[str, Any]]], metrics: tuple[str, ...]) -> str:
    """Markdown for the results that have these metrics."""
    rows = [(name, result) for name, result in results if metrics[0] in result["metrics"]]
    lines = [
        "| result | queries | " + " | ".join(metrics) + " |",
        "|---|---|" + "---|" * len(metrics),
    ]
    for name, result in rows:
        cells = " | ".join(cell(result["metrics"][metric]) for metric in metrics)
        lines.append(f"| {name} | {result['queries']} | {cells} |")
    return "\n".join(lines)


def main() -> None:
    folder = Path(sys.argv[1])
    paths = sorted([*folder.glob("*/result.json"), *folder.glob("*/*/result.json")])
    read = {path: json.loads(path.read_text("utf-8")) for path in paths}
    results = []
    for path, result in read.items():
        name = str(path.parent.relative_to(folder))
        if "metrics" in result:  # the parts of responses have folders of their own
            results.append((name, result))
            unseen = result.get("breakdowns", {}).get("gold", {}).get("unseen")
            results += [(f"{name}, unseen", unseen)] if unseen else []
    print(table(results, RETRIEVAL), table(results, RESPONSES), sep="\n\n")


if __name__ == "__main__":
    main()
