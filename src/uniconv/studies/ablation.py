"""What each part of the joint objective is worth.

    uniconv study ablation config.yaml

Trains the variants of one base configuration, each with several seeds, measures retrieval and
responses, and writes ``report.md``, ``result.json`` and figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from uniconv.config import AblationConfig, TrainConfig
from uniconv.evaluation.figures import COLOURS, can_draw, figure, note
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
from uniconv.studies.seeds import (
    Table,
    differences_from,
    interval_note,
    json_of,
    markdown_of,
    table_of,
)
from uniconv.studies.variants import NAMES, variant


def ablation(study: AblationConfig, console: Console | None = None) -> dict[str, Any]:
    """Runs the study or goes on with it; gives the contents of ``result.json``.

    Raises:
        ConfigError: a setting is wrong, or the output folder holds other runs.
        UniConvError: whatever training and evaluation refuse.
    """
    console = console or Console()
    base = study.base()
    configs: dict[str, TrainConfig | Pair] = {name: variant(name, base) for name in study.variants}
    material = prepare(study.evaluation, study.output / "evaluation")
    runs = run_all(study, configs, material, console)
    names: dict[str, str] = {name: NAMES[name] for name in study.variants}
    table = table_of(runs)
    files = draw_variants(table, names, study.output / "figures") if can_draw() else []
    sections = ["# Ablation", about_trainings(study), markdown_of(table, names)]
    sections.append(INTERVALS)
    first = study.variants[0]
    if len(names) > 1:
        against = markdown_of(differences_from(first, table), names)
        sections.append(f"## Less {names[first]}, seed by seed\n\n{against}")
    sections += [figure_links(files), *turn_tests(runs, names, study.evaluation.seed)]
    result = {
        **common_result(study, plain_runs(runs)),
        "variants": json_of(table),
    }
    return write_report(study.output, sections, result, console)


def draw_variants(table: Table, names: Mapping[str, str], out: Path) -> list[Path]:
    """NDCG@3 and F1 of each variant: the mean, its interval, and every seed as a tick."""
    measures = [one for one in ("ndcg@3", "f1") if all(one in row for row in table.values())]
    with figure(out, "variants", height=1.4 + 0.42 * len(table)) as (drawing, files):
        panels = drawing.subplots(1, len(measures), sharey=True, squeeze=False)[0]
        places = range(len(table))
        for axes, measure, colour in zip(panels, measures, COLOURS, strict=False):
            for place, row in zip(places, table.values(), strict=True):
                one = row[measure]
                axes.errorbar(one.mean, place, xerr=one.reach, color=colour, marker="o", capsize=3)
                if len(one.values) > 1:
                    axes.plot(
                        one.values,
                        [place + 0.25] * len(one.values),
                        "|",
                        color=colour,
                        markersize=6,
                    )
            axes.set_xlabel(f"{measure}, mean over turns")
            axes.set_yticks(list(places), [names[name] for name in table])
            axes.set_ylim(len(table) - 0.5, -0.5)
            axes.grid(visible=False, axis="y")
        panels[0].set_title("Variants")
        note(panels[0], interval_note(table))
    return files
