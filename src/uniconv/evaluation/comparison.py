"""Results side by side, and which differences between them are more than chance.

compare_results(read_results([Path("results/bm25"), Path("results/dense")]))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from uniconv.data.beir import read_qrels
from uniconv.errors import UniConvError
from uniconv.evaluation.breakdowns import Groups, read_groups
from uniconv.evaluation.saved import QRELS, SavedResult
from uniconv.evaluation.significance import holm, randomisation_test
from uniconv.evaluation.summary import (
    bootstrap_interval,
    conversations_of,
    matrix_of,
    summarise,
)

LEVEL = 0.05
SAMPLES = 10_000


@dataclass(frozen=True, slots=True)
class Difference:
    """Of a measure's means over the ``queries`` that have it in both results; 95 % interval.

    ``p`` is the randomisation test's, ``adjusted`` is it after Holm's correction for all pairs.
    """

    queries: int
    mean: float
    low: float
    high: float
    p: float
    adjusted: float

    @property
    def significant(self) -> bool:
        """Whether chance is an unlikely explanation."""
        return self.adjusted < LEVEL


@dataclass(frozen=True, slots=True)
class Comparison:
    """Results over the same queries, their summaries by name, and the differences of each pair.

    ``differences`` are those of the second of a pair from the first, by measure.
    """

    results: Sequence[SavedResult]
    measures: Sequence[str]
    summaries: Mapping[str, Mapping[str, Any]]
    differences: Mapping[tuple[str, str], Mapping[str, Difference]]
    seed: int

    def beaten_by(self, name: str, measure: str) -> list[str]:
        """The results that this one is significantly better than (its values being higher)."""
        found = []
        for (one, other), row in self.differences.items():
            difference = row.get(measure)
            if difference is not None and difference.significant and name in (one, other):
                better, worse = (other, one) if difference.mean > 0 else (one, other)
                if better == name:
                    found.append(worse)
        return found


def compare_results(
    results: Sequence[SavedResult],
    measures: Sequence[str] = (),
    *,
    by: Sequence[str] = (),
    seed: int = 0,
) -> Comparison:
    """Compares all pairs of results, by ``measures`` (all that they share, where none is named).

    Means are also broken ``by`` groups of queries, for the first measure.

    Raises:
        UniConvError: there are fewer than two results, they are over different queries or judged
            differently, or they lack a measure or breakdown.
    """
    if len(results) < 2:
        raise UniConvError("give at least two folders of results to compare")
    for one in results[1:]:
        _check_same(results[0], one)
    chosen = _measures(results, measures)
    groups = _groups(results, by)
    summaries = {
        one.name: summarise(
            {
                query: {name: row[name] for name in chosen if name in row}
                for query, row in one.values.items()
            },
            groups,
            seed,
        )
        for one in results
    }
    tested = {
        (one.name, other.name): _differences(one, other, chosen, seed)
        for one, other in combinations(results, 2)
    }
    return Comparison(results, chosen, summaries, _corrected(tested, chosen), seed)


def _check_same(one: SavedResult, other: SavedResult) -> None:
    for held, lacking in ((one, other), (other, one)):
        more = sorted(held.values.keys() - lacking.values.keys())
        if more:
            raise UniConvError(
                f"{one.name} and {other.name} are over different queries: {held.name} has "
                f"{len(more)} that {lacking.name} lacks, such as '{more[0]}'; compare results of "
                "the same conversations, judgements and limits"
            )
    paths = [result.folder / QRELS for result in (one, other)]
    if all(path.exists() for path in paths):
        first, second = (read_qrels(path) for path in paths)
        changed = [query for query in first if first[query] != second.get(query)]
        if changed:
            raise UniConvError(
                f"{one.name} and {other.name} were judged differently: {len(changed)} queries, "
                f"such as '{changed[0]}', have other relevant passages; evaluate both with the "
                "same judgements"
            )


def _measures(results: Sequence[SavedResult], wanted: Sequence[str]) -> list[str]:
    first, *others = [matrix_of(result.values)[0] for result in results]
    shared = [name for name in first if all(name in names for names in others)]
    unknown = next((name for name in wanted if name not in shared), None)
    if unknown is not None:
        raise UniConvError(
            f"not all results have the measure '{unknown}'; they share "
            f"{', '.join(shared) or 'none'}"
        )
    if not shared:
        names = " and ".join(result.name for result in results)
        raise UniConvError(
            f"{names} share no measure; compare results of one kind, of retrieval or of responses"
        )
    return list(dict.fromkeys(wanted)) or shared


def _groups(results: Sequence[SavedResult], by: Sequence[str]) -> Groups:
    """The wanted breakdowns: of each, the first result's that has it."""
    known: dict[str, Mapping[str, Sequence[str]]] = {}
    for result in reversed(results) if by else ():
        known |= read_groups(result.folder)
    unknown = next((name for name in by if name not in known), None)
    if unknown is not None:
        raise UniConvError(
            f"no result is broken down by '{unknown}'; there are {', '.join(known) or 'none'}"
        )
    return {name: known[name] for name in by}


def _differences(
    one: SavedResult, other: SavedResult, measures: Sequence[str], seed: int
) -> dict[str, Difference]:
    """Of ``other`` from ``one``, not yet corrected; without the measures that no query shares."""
    shared = {
        name: {
            query: other.values[query][name] - row[name]
            for query, row in one.values.items()
            if name in row and name in other.values[query]
        }
        for name in measures
    }
    return {name: _difference(values, seed) for name, values in shared.items() if values}


def _difference(values: Mapping[str, float], seed: int) -> Difference:
    column = np.array(list(values.values()), dtype=np.float64)[:, None]
    clusters = conversations_of(values)
    low, high = bootstrap_interval(column, clusters, seed=seed)
    p = float(randomisation_test(column, clusters, seed=seed, samples=SAMPLES)[0])
    return Difference(
        queries=len(column),
        mean=float(column.mean()),
        low=float(low[0]),
        high=float(high[0]),
        p=p,
        adjusted=p,
    )


def _corrected(
    tested: Mapping[tuple[str, str], Mapping[str, Difference]], measures: Sequence[str]
) -> dict[tuple[str, str], dict[str, Difference]]:
    """Each measure's p-values corrected for the number of pairs."""
    corrected: dict[tuple[str, str], dict[str, Difference]] = {pair: {} for pair in tested}
    for name in measures:
        pairs = [pair for pair, row in tested.items() if name in row]
        adjusted = holm([tested[pair][name].p for pair in pairs])
        for pair, value in zip(pairs, adjusted, strict=True):
            corrected[pair][name] = replace(tested[pair][name], adjusted=value)
    return corrected
