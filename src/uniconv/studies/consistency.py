"""Whether one model makes more of ambiguous passages than a separate retriever and generator.

    uniconv study consistency config.yaml

A turn's *margin* is how far the first passage's score is above the second's, in standard deviations
of all scores that were retrieved for the turn. Scales of margins differ between models, so turns
are ordered by margin for each retriever (and seed), and their ranks averaged over both retrievers.
The third with the smallest mean rank is *ambiguous*: neither model can tell the passages apart.
The third with the largest is *clear*. Both sides are compared on the same turns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from uniconv.config import ConsistencyConfig, TrainConfig
from uniconv.data.runs import Run as Rankings
from uniconv.data.runs import read_run
from uniconv.errors import UniConvError
from uniconv.evaluation.comparison import Comparison, compare_results
from uniconv.evaluation.comparison_report import comparison_markdown
from uniconv.evaluation.figures import can_draw, figure, legend, note, series
from uniconv.evaluation.saved import RUN, SavedResult
from uniconv.evaluation.summary import markdown_table
from uniconv.studies.material import prepare
from uniconv.studies.reports import (
    about_trainings,
    common_result,
    figure_links,
    write_report,
)
from uniconv.studies.runs import Pair, Run, over_seeds, plain_runs, run_all
from uniconv.studies.variants import generation_only, retrieval_only, variant

GROUPS = ("ambiguous", "between", "clear")
MEASURES = {"retrieval": ("ndcg@3", "mrr"), "response": ("f1", "k_precision", "consistency")}
SIDES = ("separate", "unified")

Groups = Mapping[str, Sequence[str]]
"""A group's name to its turns."""


def consistency(study: ConsistencyConfig, console: Console | None = None) -> dict[str, Any]:
    """Runs the study or goes on with it; gives the contents of ``result.json``.

    Raises:
        ConfigError: a setting is wrong, or the output folder holds other runs.
        UniConvError: whatever training and evaluation refuse, or there are too few turns.
    """
    console = console or Console()
    base = study.base()
    sides: dict[str, TrainConfig | Pair] = {
        "unified": variant("joint", base),
        "separate": Pair(retrieval_only(base), generation_only(base)),
    }
    # What was retrieved is what is ambiguous, and its turns have both NDCG and F1.
    judging = replace(study.evaluation, passages=("retrieved",), judged=True)
    study = replace(study, evaluation=judging)
    material = prepare(study.evaluation, study.output / "evaluation")
    runs = run_all(study, sides, material, console)
    groups, margins = _groups(runs, study.share)
    compared = {
        (kind, group): _compare(runs, kind, turns, study.evaluation.seed)
        for kind in MEASURES
        for group, turns in groups.items()
    }
    files = draw(compared, study.output / "figures") if can_draw() else []
    result = {
        **common_result(study, plain_runs(runs)),
        "margins": margins,
        "groups": {name: list(turns) for name, turns in groups.items()},
        "compared": [_plain(*where, one) for where, one in compared.items()],
    }
    sections = [
        "# Consistency",
        about_trainings(study),
        _definition(groups, margins, study.share),
        f"## Unified less separate\n\n{_summary(compared)}",
        figure_links(files),
        *(
            f"## {kind}, {group} turns\n\n{comparison_markdown(one).strip()}"
            for (kind, group), one in compared.items()
        ),
    ]
    return write_report(study.output, sections, result, console)


def margin(scores: Sequence[float]) -> float:
    """How far the best score is above the second, in standard deviations of all of them.

    Infinite for a single score, 0 where all are the same.
    """
    ordered = np.sort(np.array(scores, dtype=np.float64))[::-1]
    if len(ordered) < 2:
        return float("inf")
    spread = float(ordered.std())
    return float(ordered[0] - ordered[1]) / spread if spread else 0.0


def ambiguity(rankings: Sequence[Rankings]) -> dict[str, float]:
    """The mean over rankings of each turn's place among all turns by margin, from 0 (smallest) to
    1; equal margins are ordered by the turn's id. Turns that all rankings have."""
    shared = sorted(set.intersection(*(set(ranking) for ranking in rankings)))
    places = np.zeros(len(shared))
    for ranking in rankings:
        margins = np.array([margin(list(ranking[turn].values())) for turn in shared])
        ranks = np.empty(len(shared))
        ranks[np.argsort(margins, kind="stable")] = np.arange(len(shared))
        places += ranks / max(1, len(shared) - 1)
    return dict(zip(shared, (places / len(rankings)).tolist(), strict=True))


def grouped(places: Mapping[str, float], share: float) -> dict[str, list[str]]:
    """Turns by group: ``share`` of them is ambiguous, as many are clear; at least one in each.

    Raises:
        UniConvError: there are fewer than three turns.
    """
    if len(places) < len(GROUPS):
        raise UniConvError(
            f"only {len(places)} turns were retrieved for and answered, too few for three groups; "
            "measure on more turns"
        )
    ordered = sorted(places, key=lambda turn: (places[turn], turn))
    count = max(1, round(len(ordered) * share))
    parts = ordered[:count], ordered[count : max(count, len(ordered) - count)], ordered[-count:]
    return {name: part for name, part in zip(GROUPS, parts, strict=True) if part}


def _groups(runs: Sequence[Run], share: float) -> tuple[dict[str, list[str]], dict[str, Any]]:
    """The groups of the answered turns, and each side's median margin in each."""
    answered = set(runs[0].saved()["response/retrieved"].values)
    rankings = [
        {turn: scores for turn, scores in one.items() if turn in answered and scores}
        for one in (read_run(run.folder / "retrieval" / RUN) for run in runs)
    ]
    groups = grouped(ambiguity(rankings), share)
    margins = {
        side: {
            name: float(
                np.median(
                    [
                        margin(list(ranking[turn].values()))
                        for run, ranking in zip(runs, rankings, strict=True)
                        if run.variant == side
                        for turn in turns
                    ]
                )
            )
            for name, turns in groups.items()
        }
        for side in SIDES
    }
    return groups, margins


def _compare(runs: Sequence[Run], kind: str, turns: Sequence[str], seed: int) -> Comparison:
    """Both sides on some turns, with values averaged over seeds."""
    place = "retrieval" if kind == "retrieval" else "response/retrieved"
    sides: list[SavedResult] = []
    for side in SIDES:
        one = over_seeds(side, [run.saved()[place] for run in runs if run.variant == side])
        sides.append(replace(one, values={turn: one.values[turn] for turn in turns}))
    return compare_results(sides, MEASURES[kind], seed=seed)


def _plain(kind: str, group: str, one: Comparison) -> dict[str, Any]:
    (differences,) = one.differences.values()
    return {
        "kind": kind,
        "group": group,
        "means": {side: one.summaries[side]["metrics"] for side in SIDES},
        "unified less separate": {
            measure: {"mean": row.mean, "low": row.low, "high": row.high, "p": row.p}
            for measure, row in differences.items()
        },
    }


def _definition(groups: Groups, margins: Mapping[str, Any], share: float) -> str:
    sizes = ", ".join(f"{len(turns)} {name}" for name, turns in groups.items())
    medians = "; ".join(
        f"{side}: {', '.join(f'{name} {value:.2f}' for name, value in row.items())}"
        for side, row in margins.items()
    )
    return (
        "A turn's margin is the first passage's score less the second's, in standard deviations of "
        "all scores retrieved for the turn. Turns are ranked by margin for each retriever; the "
        f"{share:.0%} with the smallest mean rank over both are ambiguous, as many with the "
        f"largest are clear. Turns: {sizes}. Median margins, {medians}."
    )


def _summary(compared: Mapping[tuple[str, str], Comparison]) -> str:
    """The differences of all measures by group, with intervals over conversations, as Markdown."""
    groups = list(dict.fromkeys(group for _, group in compared))
    rows = []
    for kind, measures in MEASURES.items():
        for measure in measures:
            row = [measure]
            for group in groups:
                (differences,) = compared[kind, group].differences.values()
                one = differences.get(measure)
                row.append(f"{one.mean:+.3f} ({one.low:+.3f} to {one.high:+.3f})" if one else "")
            rows.append(row)
    return markdown_table(["", *groups], rows)


def draw(compared: Mapping[tuple[str, str], Comparison], out: Path) -> list[Path]:
    """Both sides' means by group, a panel a measure, with bootstrap intervals over turns."""
    chosen = (("retrieval", "ndcg@3"), ("response", "f1"), ("response", "consistency"))
    groups = list(dict.fromkeys(group for _, group in compared))
    with figure(out, "ambiguity", height=7.0) as (drawing, files):
        panels = drawing.subplots(len(chosen), 1)
        for axes, (kind, measure) in zip(panels, chosen, strict=True):
            handles = []
            for number, side in enumerate(SIDES):
                rows = [compared[kind, group].summaries[side]["metrics"] for group in groups]
                means = [row.get(measure, {}).get("mean", np.nan) for row in rows]
                ends = [
                    [abs(row.get(measure, {}).get(end, np.nan) - mean) for end in ("low", "high")]
                    for row, mean in zip(rows, means, strict=True)
                ]
                places = np.arange(len(groups)) + 0.12 * (2 * number - 1)
                look = series(number) | {"linestyle": "none"}
                handles.append(axes.errorbar(places, means, np.array(ends).T, capsize=2, **look))
            axes.set_xticks(range(len(groups)), groups)
            axes.set_ylabel(measure)
            axes.grid(visible=False, axis="x")
        panels[0].set_title("By how ambiguous the retrieved passages are")
        note(panels[0], "bars: 95 % bootstrap intervals over conversations")
        legend(drawing, handles, SIDES)
    return files
