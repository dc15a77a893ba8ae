"""A comparison of results as Markdown and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import count
from pathlib import Path
from string import ascii_lowercase

from uniconv.data.lines import write_lines
from uniconv.evaluation.comparison import LEVEL, SAMPLES, Comparison, Difference
from uniconv.evaluation.saved import RESULT
from uniconv.evaluation.summary import cell, markdown_table
from uniconv.files import checksums, provenance, write_json


def comparison_markdown(comparison: Comparison) -> str:
    """The results side by side, the differences of all pairs, and the breakdowns, as Markdown."""
    names = [result.name for result in comparison.results]
    letters = dict(zip(names, _letters(), strict=False))
    measures = comparison.measures
    rows = []
    for name in names:
        summary = comparison.summaries[name]
        cells = []
        for measure in measures:
            beaten = "".join(letters[worse] for worse in comparison.beaten_by(name, measure))
            text = cell(summary["metrics"].get(measure), summary["queries"])
            cells.append(f"{text} [{beaten}]" if beaten else text)
        rows.append([letters[name], name, str(summary["queries"]), *cells])
    parts = [
        "### Results",
        markdown_table(["", "result", "queries", *measures], rows),
        "Means with 95 % bootstrap intervals. Brackets name the results whose values are lower by "
        f"more than chance (p < {LEVEL}).",
        "### Differences",
        markdown_table(
            ["", *measures],
            [
                [f"{letters[other]} − {letters[one]}", *(_difference(row.get(m)) for m in measures)]
                for (one, other), row in comparison.differences.items()
            ],
        ),
        f"95 % bootstrap intervals over conversations; p of a paired randomisation test "
        f"({SAMPLES:,} draws, signs of whole conversations), after Holm's correction for "
        f"{len(comparison.differences)} pairs.",
    ]
    return "\n\n".join([*parts, *_breakdowns(comparison, letters)]) + "\n"


def _breakdowns(comparison: Comparison, letters: Mapping[str, str]) -> Iterator[str]:
    measure = comparison.measures[0]
    summaries = [comparison.summaries[result.name] for result in comparison.results]
    for name, groups in summaries[0]["breakdowns"].items():
        yield f"### {measure} by {name}"
        rows = []
        for group, entry in groups.items():
            entries = [one["breakdowns"][name][group] for one in summaries]
            cells = [cell(one["metrics"].get(measure), one["queries"]) for one in entries]
            rows.append([group, str(entry["queries"]), *cells])
        yield markdown_table(["", "queries", *letters.values()], rows)


def _letters() -> Iterator[str]:
    """a, b, …, z, then (27), (28), …: short names of results."""
    yield from ascii_lowercase
    yield from (f"({number})" for number in count(len(ascii_lowercase) + 1))


def _difference(difference: Difference | None) -> str:
    if difference is None:
        return ""
    one = difference
    p = f"p = {one.adjusted:.3f}" if one.adjusted >= 0.001 else "p < 0.001"
    text = f"{one.mean:+.3f} ({one.low:+.3f} to {one.high:+.3f}), {p}"
    return f"**{text}**" if one.significant else text


def write_comparison(comparison: Comparison, out: Path) -> None:
    """Writes ``compare.md`` and ``compare.json``, with what was compared."""
    results = {one.name: one.folder / RESULT for one in comparison.results}
    about = provenance(seed=comparison.seed, samples=SAMPLES, inputs=checksums(**results))
    differences = [
        {"from": one, "to": other, "measures": {name: asdict(row[name]) for name in row}}
        for (one, other), row in comparison.differences.items()
    ]
    write_lines(out / "compare.md", [comparison_markdown(comparison).rstrip("\n")])
    write_json(
        out / "compare.json",
        {"results": comparison.summaries, "differences": differences, **about},
    )
