"""How the plan of a training run looks in the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from uniconv.config.objectives import WEIGHTS
from uniconv.training.batch import PARTS
from uniconv.training.plan import Plan, SourcePlan, StagePlan


def print_plan(plan: Plan, console: Console | None = None) -> None:
    """The mixture and the stages as tables, and an example of each source."""
    console = console or Console()
    table = Table("", "source")
    for name in ("conversations", "turns", "an epoch", "share", *PARTS, "negatives"):
        table.add_column(name, justify="right")
    for number, source in enumerate(plan.sources):
        table.add_row(
            str(number),
            Text(source.name),
            f"{source.conversations:,}",
            f"{source.turns:,}",
            f"{source.visits:,}",
            f"{source.visits / plan.epoch_length:.1%}",
            *(_serves(source, part) for part in PARTS),
            f"{source.negatives:.1f}",
        )
    console.print(table)
    if len(plan.stages) > 1 or plan.stages[0].initial != plan.stages[0].objectives:
        console.print(_stages(plan.stages))
    console.print(
        f"{plan.epoch_length:,} turns an epoch, {plan.steps:,} steps in one process, "
        f"{plan.dev:,} turns of dev"
    )
    for number, source in enumerate(plan.sources):
        for place, (what, text) in enumerate(source.example):
            lead = f"{number}  {what}: " if place == 0 else f"   {what}: "
            console.print(Text.assemble((lead, "bold"), _line(text, console.width - len(lead))))


def _stages(stages: Sequence[StagePlan]) -> Table:
    table = Table("stage", "sources")
    for name in ("turns", "an epoch", "steps"):
        table.add_column(name, justify="right")
    table.add_column("objectives", ratio=1)
    table.add_column("learning rate")
    for stage in stages:
        table.add_row(
            Text(stage.name),
            ", ".join(map(str, stage.sources)),
            f"{stage.turns:,}",
            f"{stage.visits:,}",
            f"{stage.steps:,}",
            ", ".join(_objectives(stage)),
            f"{stage.learning_rate:g} {stage.schedule}",
        )
    return table


def _objectives(stage: StagePlan) -> Iterator[str]:
    """Weights above 0, the temperature, and where they go."""
    for name in (*WEIGHTS, "temperature"):
        first, last = getattr(stage.initial, name), getattr(stage.objectives, name)
        if first or last:
            yield f"{name} {last:g}" if first == last else f"{name} {first:g} to {last:g}"
    if stage.objectives.alpha and stage.objectives.cii != "embeddings":
        yield f"cii by {stage.objectives.cii}"


def _serves(source: SourcePlan, part: str) -> str:
    """How many turns serve a part of the objective, and by what where there is a choice."""
    count = source.serves[part]
    if not count:
        return "-"
    return f"{count:,}" + (f" {source.supervision[part]}" if part in source.supervision else "")


def _line(text: str, width: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= width else f"{text[: max(width, 8) - 1]}…"
