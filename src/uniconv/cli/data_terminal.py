"""How data sets, downloads, checks and statistics look in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.prompt import Confirm
from rich.table import Table

from uniconv.data.catalogue import CATALOGUE, entry_of
from uniconv.data.entry import Entry
from uniconv.data.report import Report

SHOWN = 5
"""How many warnings of a kind are shown, unless all are."""


def print_catalogue() -> None:
    """All data sets, two lines each: task and size, then licence and where they come from."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, entry in sorted(CATALOGUE.items()):
        about = " · ".join(text for text in (entry.task, entry.size) if text)
        use = [use_of(entry)] if entry.evaluation_only else []
        origin = " · ".join([entry.licence, *use, entry.home])
        table.add_row(f"[b]{name}[/b]", f"{escape(about)}\n[dim]{escape(origin)}[/dim]")
    Console(highlight=False).print(table)


def print_converted(out: Path, about: Mapping[str, Any]) -> None:
    """What a conversion wrote: its counts, and the licence."""
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"[b]{escape(str(out))}[/b]  {escape(about['name'])}, {escape(about['licence'])}")
    for what, count in about["counts"].items():
        counts = count.items() if isinstance(count, dict) else [("", count)]
        told = ", ".join(f"{number:,} {unit}".strip() for unit, number in counts)
        console.print(f"  {escape(what)}: {told}")
    console.print(f"Next: uniconv data check {out}")


def print_entry(name: str) -> None:
    """All that is known of one data set."""
    entry = entry_of(name)
    console = Console(highlight=False, soft_wrap=True)
    told = {
        "task": entry.task,
        "size": entry.size,
        "licence": entry.licence + (" (to be accepted)" if entry.must_accept else ""),
        "use": use_of(entry),
        "from": entry.home,
        "by hand": entry.by_hand,
    }
    for field, text in told.items():
        if text:
            console.print(f"[b]{field}[/b]: {escape(text)}")
    for one in entry.downloads:
        console.print(f"  {escape(one.path)}  [dim]{escape(one.url or 'by hand')}[/dim]")


def use_of(entry: Entry) -> str:
    """What a data set may be used for."""
    return "evaluation only" if entry.evaluation_only else "any"


def accept_licence(name: str, *, given: bool) -> bool:
    """Shows the licence; on a terminal, asks where it has conditions and none was accepted yet."""
    entry = entry_of(name)
    console = Console(stderr=True)
    console.print(f"{escape(name)}: {escape(entry.licence)}, {entry.home}", highlight=False)
    if given or not entry.must_accept or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return given
    return Confirm.ask("Its licence has conditions. Do you accept them?", console=console)


@contextmanager
def download_progress() -> Iterator[Callable[[str, int, int | None], None]]:
    """A bar for each file that is fetched."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        tasks: dict[str, TaskID] = {}

        def show(name: str, done: int, total: int | None) -> None:
            if name not in tasks:
                # What an earlier attempt left isn't this one's speed.
                tasks[name] = progress.add_task(escape(name), total=total, completed=done)
            progress.update(tasks[name], completed=done, total=total)

        yield show


@contextmanager
def record_progress(action: str) -> Iterator[Callable[[str, int], None]]:
    """A line that says which file is read and how far."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(action, total=None)

        def show(name: str, done: int) -> None:
            progress.update(task, description=f"{action} {escape(name)}: {done:,}")

        yield show


def print_report(report: Report, *, all_warnings: bool) -> None:
    """All errors, the warnings by their kinds, and how many turns serve which use."""
    console = Console(highlight=False, soft_wrap=True)
    for kind, warnings in report.warnings.items():
        shown = warnings if all_warnings else warnings[:SHOWN]
        console.print(f"[yellow]warning[/yellow], {len(warnings):,} {escape(kind)}:")
        for warning in shown:
            console.print(f"  {escape(str(warning))}")
        if len(shown) < len(warnings):
            console.print(f"  … and {len(warnings) - len(shown):,} more (--all-warnings)")
    for error in report.errors:
        console.print(f"[red]error[/red] {escape(str(error))}")
    table = Table("split", *next(iter(report.uses.values())), box=None, pad_edge=False)
    for split, uses in report.uses.items():
        table.add_row(split, *(f"{number:,}" for number in uses.values()))
    console.print(table)
    warned = sum(map(len, report.warnings.values()))
    console.print(
        f"{report.passages:,} passages, {len(report.errors):,} errors, {warned:,} warnings"
    )


def print_statistics(found: Mapping[str, Any], unit: str) -> None:
    """Counts by split, then the distributions of lengths and positives."""
    console = Console(highlight=False)
    splits: Mapping[str, Mapping[str, Any]] = found["splits"]
    counts = Table("", *map(escape, splits), box=None, pad_edge=False)
    for name in ("conversations", "turns", "turns with positives", "relevant passages"):
        counts.add_row(name, *(f"{split[name]:,}" for split in splits.values()))
    for name in ("topic shifts", "answerable"):
        if any(name in split for split in splits.values()):
            counts.add_row(name, *(_share(split.get(name)) for split in splits.values()))
    if "passages" in found:
        counts.add_row("passages", f"{found['passages']['count']:,}")
    console.print(counts)
    spread = Table("", "count", "mean", "median", "p95", "max", box=None, pad_edge=False)
    for split, about in splits.items():
        rows = {
            "turns per conversation": about["turns per conversation"],
            "positives per turn": about["positives per turn"],
            "negatives per turn": about["negatives per turn"],
            **{f"{kind}, {unit}": one for kind, one in about["lengths"].items()},
        }
        for name, one in rows.items():
            if one.get("max"):
                spread.add_row(f"{escape(split)}: {name}", *map(_number, one.values()))
    if found.get("passages", {}).get("count"):
        spread.add_row(f"passage, {unit}", *map(_number, found["passages"]["length"].values()))
    console.print("", spread, "", sep="\n")
    for split, about in splits.items():
        depths = "  ".join(f"{depth}: {n:,}" for depth, n in about["turns by depth"].items())
        console.print(f"{escape(split)}, turns by depth  {depths}")


def _share(value: Mapping[str, Any] | None) -> str:
    return "" if value is None else f"{value['turns']:,} of {value['of']:,} ({value['share']:.1%})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def written(path: Path) -> None:
    """Says where a file is now."""
    Console(stderr=True).print(f"Written: {escape(str(path))}", highlight=False)
