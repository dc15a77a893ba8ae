"""What the text is made of, as JSON and as tables."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from uniconv.files import atomic, write_json

_COUNTS = ("documents", "words", "held_out_words", "duplicate_words", "leaks")


def write_report(
    out: Path,
    tally: Sequence[Mapping[str, Any]],
    asked: Mapping[bool, Sequence[Mapping[str, Any]]],
    probes: int,
    commercial: bool,
) -> None:
    """``report.json`` and ``report.md`` from the counts of each source."""
    questions = Counter(row["source"] for row in asked[False])
    answered = Counter(row["source"] for row in asked[False] if row["answer"])
    report = {
        "commercial": commercial,
        "words": sum(row["words"] for row in tally),
        "probes": probes,
        "sources": tally,
        "questions": {
            name: {"train": questions[name], "answered": answered[name]} for name in questions
        },
    }
    write_json(out / "report.json", report)
    with atomic(out / "report.md") as temporary:
        temporary.write_text(_markdown(report, tally), "utf-8")
    print(_markdown(report, tally))


def _markdown(report: Mapping[str, Any], tally: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        f"{report['words']:,} words to train on. Duplicates are words of paragraphs of which most",
        "5-word runs were seen before; leaks are documents dropped because they share 8 words",
        f"with a dialogue of an evaluation set ({report['probes']:,} runs of words known).",
        "",
    ]
    lines += _table("domain", _grouped(tally, lambda row: row["domain"]))
    lines += _table("source", _grouped(tally, _family))
    lines += _table("licence", _grouped(tally, lambda row: _licence(row["licence"])))
    lines += ["| questions | train | with the answering sentence |", "|---|--:|--:|"]
    for name, count in sorted(report["questions"].items()):
        lines.append(f"| {name} | {count['train']:,} | {count['answered']:,} |")
    return "\n".join(lines) + "\n"


def _family(row: Mapping[str, Any]) -> str:
    """Packages are too many to list; ``report.json`` has each."""
    kind = row["name"].split()[0]
    plural = {"package": "Python packages", "debian": "Debian packages"}
    return plural.get(kind, f"{row['name']} ({row['licence']})")


def _licence(text: str) -> str:
    for name, marks in {
        "MIT": ("mit", "expat", "x11"),
        "BSD": ("bsd",),
        "Apache-2.0": ("apache",),
        "PSF-2.0": ("psf", "python software"),
    }.items():
        if any(mark in text.lower() for mark in marks) and " and " not in text.lower():
            return name
    return text if len(text) < 60 else f"{text[:57]}..."


def _grouped(tally: Sequence[Mapping[str, Any]], key: Any) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for row in tally:
        found[key(row)].update({name: row[name] for name in _COUNTS})
    return found


def _table(name: str, rows: Mapping[str, Counter[str]]) -> list[str]:
    lines = [
        f"| {name} | documents | words | held out | duplicates | leaks |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for key, counts in sorted(rows.items(), key=lambda item: -item[1]["words"]):
        lines.append(f"| {key} | " + " | ".join(f"{counts[one]:,}" for one in _COUNTS) + " |")
    return [*lines, ""]
