"""What the reports of all studies have in common: their files, and what made them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from uniconv.config import Trainings
from uniconv.config.strict import unstructure
from uniconv.data.lines import write_lines
from uniconv.evaluation.comparison import compare_results
from uniconv.evaluation.comparison_report import comparison_markdown
from uniconv.evaluation.figures import can_draw
from uniconv.files import provenance, write_json
from uniconv.studies.runs import Run, over_seeds

NO_FIGURES = "Figures need the extra `plots` (pip install 'uniconv[plots]')."


def write_report(
    out: Path, sections: Iterable[str], result: Mapping[str, Any], console: Console
) -> dict[str, Any]:
    """Writes ``report.md`` and, last, ``result.json`` with what made it; gives the latter."""
    (out / "result.json").unlink(missing_ok=True)
    write_lines(out / "report.md", ["\n\n".join(sections)])
    whole = {**result, **provenance()}
    write_json(out / "result.json", whole)
    console.print(f"Report: {out / 'report.md'}", highlight=False)
    return whole


def figure_links(files: Sequence[Path]) -> str:
    """Markdown that shows the figures (the PNG of each, with the SVG linked)."""
    if not can_draw():
        return NO_FIGURES
    return "\n\n".join(
        f"![{file.stem}](figures/{file.name}) ([SVG](figures/{file.stem}.svg))"
        for file in files
        if file.suffix == ".png"
    )


def about_trainings(study: Trainings) -> str:
    """A paragraph on what was trained and on what it was measured."""
    base, judging = study.base(), study.evaluation
    settings = base.optimisation
    length = (
        f"{settings.steps} steps" if settings.steps is not None else f"{settings.epochs:g} epochs"
    )
    turns = "all turns with positives" if judging.turns is None else f"about {judging.turns} turns"
    passages = (
        "all passages"
        if judging.distractors is None
        else f"their positives and {judging.distractors:,} other passages drawn at random"
    )
    return (
        f"Base: `{study.train}`{''.join(f', `{one}`' for one in study.set)}: `{base.model.path}` "
        f"({base.model.method}), {length} of {settings.batch_size * settings.accumulation} turns. "
        f"Measured on {turns} of `{judging.conversations}`, searched in {passages} of "
        f"{', '.join(f'`{one}`' for one in judging.corpora)}. "
        f"Seeds: {', '.join(map(str, study.seeds))}."
    )


INTERVALS = (
    "Means over seeds ± the reach of a 95 % interval (Student's t over seeds): what another seed "
    "would change. One seed gives no interval. The tables below it test the turns instead: what "
    "other conversations would change, with every turn's value averaged over seeds."
)


def turn_tests(runs: Sequence[Run], names: Mapping[str, str], seed: int) -> list[str]:
    """Comparisons of variants over turns, by the harness: NDCG@3, and F1 of each kind of passages.

    Nothing where there is one variant only.
    """
    variants = list(dict.fromkeys(run.variant for run in runs))
    if len(variants) < 2:
        return []
    by_run = {(run.variant, run.seed): run.saved() for run in runs}
    seeds = list(dict.fromkeys(run.seed for run in runs))
    sections = []
    for place in by_run[variants[0], seeds[0]]:
        measure = "ndcg@3" if place == "retrieval" else "f1"
        averaged = [
            over_seeds(names.get(name, name), [by_run[name, one][place] for one in seeds])
            for name in variants
        ]
        text = comparison_markdown(compare_results(averaged, [measure], seed=seed))
        sections.append(f"## {measure} over turns, {place}\n\n{text.strip()}")
    return sections


def common_result(study: Trainings, runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What ``result.json`` of every study with trainings holds."""
    return {"config": unstructure(study), "base": unstructure(study.base()), "runs": list(runs)}
