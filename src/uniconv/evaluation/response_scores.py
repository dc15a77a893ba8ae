"""The measures of every turn of a part, and their summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from uniconv.citations import without_marks
from uniconv.evaluation.breakdowns import Groups
from uniconv.evaluation.grounding import (
    SUPPORT,
    citation_metrics,
    knowledge_metrics,
    knowledge_precision,
)
from uniconv.evaluation.predictions import Prediction
from uniconv.evaluation.protocols import Question
from uniconv.evaluation.response_metrics import CANNOT_ANSWER, Scoring, response_metrics
from uniconv.evaluation.summary import cell, markdown_table, summarise
from uniconv.types import Passage

MEASURES = (
    "f1",
    "em",
    "human_f1",
    "heq",
    "rouge_l",
    "bleu",
    "bertscore",
    "judge",
    "k_precision",
    "k_f1",
    "k_precision_random",
    "consistency",
    "citation_precision",
    "citation_recall",
    "cited_relevant",
    "relevant_cited",
    "declined",
    "abstention_precision",
    "abstention_recall",
    "false_abstention",
)
"""Every measure that a turn may have, in the order of tables."""

Partial = dict[str, dict[str, float]]
"""Query id to measure to value; a turn lacks the measures that say nothing of it."""


def turn_measures(
    question: Question,
    made: Prediction,
    random: Sequence[Passage] = (),
    *,
    scoring: Scoring = "squad",
    support: float = SUPPORT,
) -> dict[str, float]:
    """What there is to measure of one response.

    Grounding is measured where passages were read and the response doesn't decline.
    ``consistency`` is K-Precision against them less K-Precision against as many ``random`` ones.
    """
    text = without_marks(made.text)
    if scoring == "quac" and made.declined:
        text = CANNOT_ANSWER
    values = response_metrics(text, question.references, scoring)
    values["declined"] = float(made.declined)
    values |= _abstention(question.answerable, made.declined)
    if made.read and not made.declined:
        values |= knowledge_metrics(made.text, made.read)
        values |= citation_metrics(made.text, made.read, question.positives, support)
        if random:
            by_chance = knowledge_precision(made.text, random)
            values["k_precision_random"] = by_chance
            values["consistency"] = values["k_precision"] - by_chance
    return {name: values[name] for name in MEASURES if name in values}


def _abstention(answerable: bool | None, declined: bool) -> dict[str, float]:
    """Each mean over the turns that have it is the figure of that name."""
    if answerable is None:
        return {}
    values = {"false_abstention" if answerable else "abstention_recall": float(declined)}
    if declined:
        values["abstention_precision"] = float(not answerable)
    return values


def without_vain_abstention(values: Partial) -> Partial:
    """The measures without those of abstention where no turn is known to be unanswerable."""
    if any("abstention_recall" in row for row in values.values()):
        return values
    vain = ("abstention_precision", "false_abstention")
    return {
        id: {name: value for name, value in row.items() if name not in vain}
        for id, row in values.items()
    }


def summarise_parts(
    measured: Mapping[str, Partial], groups: Groups, seed: int
) -> dict[str, dict[str, Any]]:
    """The summary of each part (see :func:`uniconv.evaluation.summary.summarise`), in order."""
    summaries = {}
    for part, values in measured.items():
        summary = summarise(values, groups, seed)
        metrics = summary["metrics"]
        ordered = {name: metrics[name] for name in MEASURES if name in metrics}
        summaries[part] = {**summary, "metrics": ordered}
    return summaries


def markdown_of_parts(title: str, summaries: Mapping[str, Mapping[str, Any]]) -> str:
    """A Markdown table: a row for each part, a column for each measure with its interval."""
    names = _names(summaries)
    rows = [
        [part, str(summary["queries"])]
        + [cell(summary["metrics"].get(name), summary["queries"]) for name in names]
        for part, summary in summaries.items()
    ]
    return f"### {title}\n\n{markdown_table(['', 'turns', *names], rows)}\n"


def _names(summaries: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [name for name in MEASURES if any(name in one["metrics"] for one in summaries.values())]


def print_parts(title: str, summaries: Mapping[str, Mapping[str, Any]], console: Console) -> None:
    """The means as a table: a row for each measure, a column for each part."""
    table = Table(Column(no_wrap=True), title=title)
    for part in summaries:
        table.add_column(part, overflow="fold")
    table.add_row("turns", *(str(one["queries"]) for one in summaries.values()))
    for name in _names(summaries):
        cells = [one["metrics"].get(name) for one in summaries.values()]
        table.add_row(name, *("" if one is None else f"{one['mean']:.3f}" for one in cells))
    console.print(table)
