"""Figures of results as PNG and SVG (extra ``plots``).

draw_results(read_results([Path("results/bm25"), Path("results/dense")]), Path("figures"))
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from uniconv.data.beir import read_qrels
from uniconv.data.runs import read_run
from uniconv.errors import UniConvError
from uniconv.evaluation.abstention import Abstention, read_abstention
from uniconv.evaluation.figures import COLOURS, LINES, figure, legend, note, series
from uniconv.evaluation.saved import QRELS, RUN, SavedResult, depth_of
from uniconv.evaluation.summary import bootstrap_interval, conversations_of

BY_DEPTH = ("ndcg@3", "recall@10", "f1")
COMPARED = ("ndcg@3", "mrr", "recall@10", "recall@100", "f1", "em", "rouge_l")
Floats = npt.NDArray[np.float64]

FEWEST = 10  # turns behind a point: deeper turns are pooled until there are so many


@dataclass(frozen=True, slots=True)
class Drawn:
    """The files of the figures that were drawn, and a sentence for each that wasn't."""

    files: tuple[Path, ...]
    skipped: tuple[str, ...]


def draw_results(
    results: Sequence[SavedResult], out: Path, measures: Sequence[str] | None = None
) -> Drawn:
    """Every figure that the results hold the data for.

    ``depth-*`` shows each of ``measures`` by the turn's depth, ``scores`` the scores of relevant
    and of other passages, ``abstention`` the precision of declining against its recall, and
    ``compare-*``, for several results of a kind, the means. Without ``measures`` the usual ones
    are drawn.

    Raises:
        UniConvError: matplotlib is missing, no result has one of ``measures``, or ``out`` can't be
            written.
    """
    known = {name for result in results for row in result.values.values() for name in row}
    unknown = next((name for name in measures or () if name not in known), None)
    if unknown is not None:
        raise UniConvError(
            f"no result has the measure '{unknown}'; there are {', '.join(sorted(known))}"
        )
    files: list[Path] = []
    skipped: list[str] = []
    for measure in measures or [name for name in BY_DEPTH if name in known]:
        having = [one for one in results if _queries(one, measure)]
        shared = _shared(having, measure)
        if shared:
            files += _draw_depths(having, measure, shared, out)
        else:
            skipped.append(f"No figure of {measure} by depth: the results share no turn.")
    for kind in ("retrieval", "response"):
        same = [result for result in results if result.kind == kind]
        compared = [name for name in measures or COMPARED if same and _shared(same, name)]
        if len(same) > 1 and compared:
            files += _draw_means(same, compared, out / f"compare-{kind}")
    scored = [result for result in results if result.kind == "retrieval"]
    files += _draw_scores(scored, out) if scored else []
    curves = {one.name: abstention for one in results if (abstention := read_abstention(one))}
    if curves:
        files += _draw_abstention(curves, out)
    elif len(scored) < len(results):
        skipped.append(
            "No figure of abstention: the predictions have no confidence for both answerable and "
            "unanswerable turns."
        )
    return Drawn(tuple(files), tuple(skipped))


def _queries(result: SavedResult, measure: str) -> set[str]:
    return {query for query, row in result.values.items() if measure in row}


def _shared(results: Sequence[SavedResult], measure: str) -> list[str]:
    """The turns that all results have this measure of."""
    return sorted(set.intersection(*(_queries(result, measure) for result in results)))


def _draw_depths(
    results: Sequence[SavedResult], measure: str, shared: Sequence[str], out: Path
) -> list[Path]:
    """A measure by depth, one series a result."""
    pools = pool_depths([depth_of(query) for query in shared])
    with figure(out, f"depth-{_file_name(measure)}") as (drawing, files):
        axes = drawing.add_subplot()
        width = 0.5 / len(results)
        handles = []
        for number, result in enumerate(results):
            rows = [
                {q: result.values[q][measure] for q in shared if depth_of(q) in one.depths}
                for one in pools
            ]
            means, ends = _means_and_intervals(rows)
            places = np.arange(len(pools)) + (number - (len(results) - 1) / 2) * width
            handles.append(
                axes.errorbar(places, means, ends, capsize=2, elinewidth=1, **series(number))
            )
        axes.set_xticks(range(len(pools)), [f"{pool.label}\n({pool.turns})" for pool in pools])
        axes.set_xlabel("turn of the conversation (number of turns)")
        axes.set_ylabel(f"{measure}, mean")
        axes.set_ylim(bottom=0)
        axes.grid(visible=False, axis="x")
        axes.set_title(f"{measure} by turn depth")
        legend(drawing, handles, [result.name for result in results])
        note(axes, f"{len(shared):,} turns; bars: 95 % bootstrap intervals")
    return files


@dataclass(frozen=True, slots=True)
class Pool:
    """Depths that are drawn as one point, and how many turns it stands for."""

    label: str
    depths: frozenset[int]
    turns: int


def pool_depths(depths: Sequence[int], fewest: int = FEWEST) -> list[Pool]:
    """Each depth on its own while it and what is deeper have ``fewest`` turns; the rest pooled."""
    found, counts = np.unique(np.array(depths, dtype=np.int64), return_counts=True)
    pools = []
    for place, (depth, count) in enumerate(zip(found.tolist(), counts.tolist(), strict=True)):
        rest = int(counts[place + 1 :].sum())
        if rest and (count < fewest or rest < fewest):
            pools.append(Pool(f"{depth}+", frozenset(found[place:].tolist()), count + rest))
            break
        pools.append(Pool(str(depth), frozenset({depth}), count))
    return pools


def _draw_means(results: Sequence[SavedResult], measures: Sequence[str], out: Path) -> list[Path]:
    """The means of several results beside each other, with intervals, on the turns they share."""
    shared = {name: _shared(results, name) for name in measures}
    with figure(out.parent, out.name) as (drawing, files):
        axes = drawing.add_subplot()
        width = 0.6 / len(results)
        handles = []
        for number, result in enumerate(results):
            rows = [{q: result.values[q][name] for q in shared[name]} for name in measures]
            means, ends = _means_and_intervals(rows)
            places = np.arange(len(measures)) + (number - (len(results) - 1) / 2) * width
            look = series(number) | {"linestyle": "none"}
            handles.append(axes.errorbar(places, means, ends, capsize=3, **look))
        axes.set_xticks(
            range(len(measures)), [f"{name}\n({len(shared[name]):,})" for name in measures]
        )
        axes.set_xlim(-0.5, len(measures) - 0.5)
        axes.set_ylim(bottom=0)
        axes.grid(visible=False, axis="x")
        axes.set_xlabel("measure (number of turns)")
        axes.set_ylabel("mean over turns")
        axes.set_title("Results side by side")
        legend(drawing, handles, [result.name for result in results])
        note(axes, "turns that all of them have; bars: 95 % bootstrap intervals")
    return files


def _draw_scores(results: Sequence[SavedResult], out: Path) -> list[Path]:
    """Histograms of the scores of relevant and other retrieved passages, a panel a result."""
    with figure(out, "scores", height=1.2 + 2.6 * len(results)) as (drawing, files):
        panels = drawing.subplots(len(results), 1, squeeze=False)[:, 0]
        for axes, result in zip(panels, results, strict=True):
            relevant, others, judged = scores_by_relevance(result.folder)
            handles = []
            bins = np.histogram_bin_edges(np.array([*relevant, *others]), bins=40)
            groups = ((relevant, "relevant", 0), (others, "not judged relevant", 1))
            for scores, _, number in groups:
                weights = np.full(len(scores), 100 / max(1, len(scores)))
                colour, line = COLOURS[number], LINES[number]
                look = {"facecolor": colour + "40", "edgecolor": colour, "linestyle": line}
                *_, (handle,) = axes.hist(
                    scores, bins, weights=weights, histtype="stepfilled", linewidth=1.4, **look
                )
                handles.append(handle)
            axes.set_xlabel("score of the passage (the retriever's own scale)")
            axes.set_ylabel("share of the group, %")
            axes.set_title(f"Scores of retrieved passages: {result.name}")
            kept = f"{len(relevant):,} of {judged:,} relevant passages were retrieved"
            note(axes, f"{kept}, and {len(others):,} others")
        legend(drawing, handles, [name for _, name, _ in groups])
    return files


def scores_by_relevance(folder: Path) -> tuple[list[float], list[float], int]:
    """Scores of retrieved passages that are relevant, of the others, and the number of relevant."""
    run, qrels = read_run(folder / RUN), read_qrels(folder / QRELS)
    relevant: list[float] = []
    others: list[float] = []
    for query, grades in qrels.items():
        for passage, score in run.get(query, {}).items():
            (relevant if grades.get(passage, 0) > 0 else others).append(score)
    return relevant, others, sum(grade > 0 for row in qrels.values() for grade in row.values())


def _draw_abstention(curves: Mapping[str, Abstention], out: Path) -> list[Path]:
    """Precision of declining against its recall over all thresholds; the one in use is marked."""
    with figure(out, "abstention") as (drawing, files):
        axes = drawing.add_subplot()
        handles = []
        for number, one in enumerate(curves.values()):
            handles += axes.plot(
                *one.curve(), drawstyle="steps-pre", **series(number) | {"marker": ""}
            )
            if point := one.point():
                axes.plot(*point, **series(number) | {"markersize": 9, "linestyle": ""})
        axes.set_xlim(0, 1.02)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("recall: share of the unanswerable turns that are declined")
        axes.set_ylabel("precision: share of the\ndeclined turns that are unanswerable")
        axes.set_title("Declining to answer")
        labels = [
            f"{name} ({one.unanswerable.sum()} of {len(one.unanswerable)} turns unanswerable)"
            for name, one in curves.items()
        ]
        legend(drawing, handles, labels)
        note(axes, "Lines: every threshold on the confidence; markers: what was declined")
    return files


def _means_and_intervals(rows: Sequence[Mapping[str, float]]) -> tuple[Floats, Floats]:
    """Means, float64 [n], and how far 95 % intervals reach down and up from them, [2, n].

    A row is values by query id.
    """
    means, ends = np.empty(len(rows)), np.empty((2, len(rows)))
    for place, row in enumerate(rows):
        column = np.array(list(row.values()), dtype=np.float64)[:, None]
        low, high = bootstrap_interval(column, conversations_of(row))
        means[place] = column.mean()
        ends[:, place] = means[place] - low[0], high[0] - means[place]
    return means, ends.clip(min=0)  # rounding can leave the ends of no interval at -1e-17


def _file_name(measure: str) -> str:
    return re.sub(r"[^\w.-]+", "-", measure)
