"""The table of the paper's rows: measured figures beside the published ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from uniconv.config import TrainConfig
from uniconv.evaluation.summary import markdown_table

MEASURES = ("ndcg@3", "mrr", "recall@10", "recall@100", "f1")


@dataclass(frozen=True, slots=True)
class Published:
    """A figure of the paper, from 0 to 1, and the short name of where it was found."""

    row: str
    set: str
    measure: str
    value: float
    source: str


def markdown(
    rows: Sequence[str],
    sets: Sequence[str],
    measured: Mapping[tuple[str, str], Mapping[str, Any]],
    published: Sequence[Published],
    origins: Mapping[str, str],
    base: TrainConfig,
    passages: int | None,
) -> str:
    """A table for each set: a row has its measured figures, and in brackets the published ones."""
    known = {(one.row, one.set, one.measure): one.value for one in published}
    parts = [f"# The paper's rows, with `{base.model.path}`", _about(passages)]
    for name in sets:
        lines = []
        for row in rows:
            means = measured.get((row, name), {})
            cells = [_cell(means.get(one), known.get((row, name, one))) for one in MEASURES]
            lines.append([row, *cells])
        parts += [f"## {name}", markdown_table(["", *MEASURES], lines)]
    used = {one.source for one in published if one.set in sets}
    listing = "\n".join(f"- {name}: {origins[name]}" for name in origins if name in used)
    parts.append(f"Sources of the published figures:\n\n{listing}")
    return "\n\n".join(parts) + "\n"


def _cell(measured: float | None, published: float | None) -> str:
    """``42.1 [42.6]``; an empty bracket would say that nothing is published."""
    text = "" if measured is None else f"{100 * measured:.1f}"
    return f"{text} [{100 * published:.1f}]".strip() if published is not None else text


def _about(passages: int | None) -> str:
    text = (
        "Per cent. Measured, and in square brackets published; a cell without brackets has no "
        "published figure that we know of, an empty one was not measured."
    )
    if passages is None:
        return text
    return (
        f"{text} **Corpora are reduced** to the positives and {passages:,} other passages, which "
        "makes retrieval far easier: measured figures can be compared with each other, not with "
        "the published ones."
    )
