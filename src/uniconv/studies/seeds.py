"""Means over seeds, with intervals, as numbers and as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from uniconv.evaluation.summary import markdown_table
from uniconv.studies.runs import Run

# Two-sided 95 % points of Student's t with 1, 2, … degrees of freedom; the last one is taken for
# more, which makes intervals a little too wide.
_T95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


@dataclass(frozen=True, slots=True)
class OverSeeds:
    """A mean over seeds and its 95 % interval, Student's t; without one if there is one seed."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean."""
        return fmean(self.values)

    @property
    def reach(self) -> float | None:
        """How far the interval goes to either side."""
        count = len(self.values)
        if count < 2:
            return None
        return _T95[min(count - 1, len(_T95)) - 1] * stdev(self.values) / math.sqrt(count)

    def __str__(self) -> str:
        if self.reach is None:
            return f"{self.mean:.3f}"
        return f"{self.mean:.3f} ± {self.reach:.3f}"

    def to_json(self) -> dict[str, object]:
        """As ``result.json`` has it."""
        return {"mean": self.mean, "reach": self.reach, "seeds": list(self.values)}


Table = dict[str, dict[str, OverSeeds]]
"""Variant to measure to its values over seeds."""


def table_of(runs: Sequence[Run]) -> Table:
    """Runs by variant and measure."""
    table: Table = {}
    for name in dict.fromkeys(run.variant for run in runs):
        own = [run for run in runs if run.variant == name]
        measures = [one for one in own[0].means if all(one in run.means for run in own)]
        table[name] = {one: OverSeeds(tuple(run.means[one] for run in own)) for one in measures}
    return table


def json_of(table: Table) -> dict[str, dict[str, dict[str, object]]]:
    """As ``result.json`` has it."""
    return {
        name: {measure: value.to_json() for measure, value in row.items()}
        for name, row in table.items()
    }


def differences_from(first: str, table: Table) -> Table:
    """Each other variant less the ``first``, seed by seed: runs of a seed start alike."""
    base = table[first]
    return {
        name: {
            measure: OverSeeds(
                tuple(a - b for a, b in zip(own.values, base[measure].values, strict=True))
            )
            for measure, own in row.items()
            if measure in base
        }
        for name, row in table.items()
        if name != first
    }


def interval_note(table: Table) -> str:
    """What the bars of a figure are, if it has any."""
    several = any(one.reach is not None for row in table.values() for one in row.values())
    return "bars: 95 % intervals over seeds" if several else "one seed, so no intervals"


def markdown_of(table: Table, names: dict[str, str] | None = None) -> str:
    """A table as Markdown; ``names`` are what variants are called."""
    measures = list(dict.fromkeys(one for row in table.values() for one in row))
    rows = [
        [(names or {}).get(name, name), *(str(row[one]) if one in row else "" for one in measures)]
        for name, row in table.items()
    ]
    return markdown_table(["", *measures], rows)
