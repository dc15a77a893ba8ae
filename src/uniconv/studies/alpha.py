"""What the weight of context identification trades: retrieval against responses.

    uniconv study alpha config.yaml

Trains one base configuration with several values of ``objectives.alpha``, each with several seeds,
and draws NDCG@3 against F1: a point that no other beats in both is on the Pareto front.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from uniconv.config import AlphaConfig, TrainConfig
from uniconv.evaluation.figures import COLOURS, can_draw, figure, note, series
from uniconv.studies.material import prepare
from uniconv.studies.reports import (
    INTERVALS,
    about_trainings,
    common_result,
    figure_links,
    turn_tests,
    write_report,
)
from uniconv.studies.runs import Pair, plain_runs, run_all
from uniconv.studies.seeds import Table, interval_note, json_of, markdown_of, table_of
from uniconv.studies.variants import with_alpha

X, Y = "ndcg@3", "f1"


def alpha(study: AlphaConfig, console: Console | None = None) -> dict[str, Any]:
    """Runs the study or goes on with it; gives the contents of ``result.json``.

    Raises:
        ConfigError: a setting is wrong, or the output folder holds other runs.
        UniConvError: whatever training and evaluation refuse.
    """
    console = console or Console()
    base = study.base()
    configs: dict[str, TrainConfig | Pair] = {
        f"alpha-{one:g}": with_alpha(base, one) for one in sorted(study.alphas)
    }
    names = {name: f"alpha = {name.removeprefix('alpha-')}" for name in configs}
    material = prepare(study.evaluation, study.output / "evaluation")
    runs = run_all(study, configs, material, console)
    table = table_of(runs)
    points = {
        name: (row[X].mean, row[Y].mean) for name, row in table.items() if X in row and Y in row
    }
    front = pareto(points)
    files = draw(table, front, study.output / "figures") if can_draw() and points else []
    best = ", ".join(names[name] for name in front)
    sections = [
        "# Weight of context identification",
        about_trainings(study),
        markdown_of(table, names),
        INTERVALS,
        f"On the Pareto front of {X} and {Y} (no other value has both higher means): {best}.",
        figure_links(files),
        *turn_tests(runs, names, study.evaluation.seed),
    ]
    result = {
        **common_result(study, plain_runs(runs)),
        "pareto": front,
        "variants": json_of(table),
    }
    return write_report(study.output, sections, result, console)


def pareto(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """The points that no other equals or exceeds in both coordinates and exceeds in one, by the
    first coordinate."""
    front = [
        name
        for name, (x, y) in points.items()
        if not any(a >= x and b >= y and (a > x or b > y) for a, b in points.values())
    ]
    return sorted(front, key=lambda name: points[name])


def draw(table: Table, front: list[str], out: Path) -> list[Path]:
    """The Pareto plot, and both measures by alpha."""
    with figure(out, "pareto") as (drawing, files):
        axes = drawing.add_subplot()
        line = [(table[name][X].mean, table[name][Y].mean) for name in front]
        axes.plot(*zip(*line, strict=True), color="#999999", linestyle="--", linewidth=1)
        for name, row in table.items():
            x, y = row[X], row[Y]
            look = {"color": COLOURS[0 if name in front else 1], "capsize": 2, "elinewidth": 0.8}
            marker = "o" if name in front else "s"
            axes.errorbar(x.mean, y.mean, y.reach, x.reach, marker=marker, **look)
            axes.annotate(
                name.removeprefix("alpha-"), (x.mean, y.mean), (5, 5), textcoords="offset points"
            )
        axes.set_xlabel(f"{X}: retrieval")
        axes.set_ylabel(f"{Y}: responses")
        axes.set_title("Retrieval against responses, by alpha")
        note(axes, f"circles: Pareto front; {interval_note(table)}")
    with figure(out, "by-alpha", height=3.2) as (drawing, more):
        values = [float(name.removeprefix("alpha-")) for name in table]
        for number, (axes, measure) in enumerate(zip(drawing.subplots(1, 2), (X, Y), strict=True)):
            means = [row[measure].mean for row in table.values()]
            reach = [row[measure].reach or 0.0 for row in table.values()]
            axes.errorbar(values, means, reach, capsize=2, **series(number))
            axes.set_xlabel("alpha")
            axes.set_ylabel(f"{measure}, mean over turns")
            if number == 0:
                axes.set_title("Both measures by alpha")
                note(axes, interval_note(table))
    return [*files, *more]
