"""What ``uniconv data`` takes. Heavy imports happen inside."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg
from tyro.extras import SubcommandApp

data = SubcommandApp()


@data.command(name="list")
def list_(name: Positional[str | None] = None) -> None:
    """List the data sets: task, size, licence, where they come from, and whether to train on them.

    Args:
        name: Tell all of this one, with the files that are fetched.
    """
    from uniconv.cli.data_terminal import print_catalogue, print_entry

    if name is None:
        print_catalogue()
    else:
        print_entry(name)


@data.command(name="get")
def get_(
    name: Positional[str],
    out: Path,
    mirror: str | None = None,
    from_: Annotated[Path | None, arg(name="from")] = None,
    accept_licence: bool = False,
) -> None:
    """Fetch a data set from its official source; run again, it goes on where it stopped.

    Args:
        name: Which data set (`uniconv data list`).
        out: The folder to write. downloads.json in it records what came from where.
        mirror: An address under which its files lie by the same paths.
        from_: A folder that holds its files already.
        accept_licence: Accept the licence; without it a terminal asks where that is needed.
    """
    from uniconv.cli import data_terminal
    from uniconv.data.getting import get

    accepted = data_terminal.accept_licence(name, given=accept_licence)
    with data_terminal.download_progress() as progress:
        records = get(name, out, mirror=mirror, source=from_, accepted=accepted, progress=progress)
    size = sum(record["size"] for record in records)
    print(f"{out}: {len(records)} files, {size:,} bytes. Next: uniconv data convert {name} {out}")


@data.command(name="convert")
def convert_(
    name: Positional[str], source: Positional[Path], out: Path, corpus: Path | None = None
) -> None:
    """Convert a data set from its native files to the interchange formats.

    Args:
        name: Which data set (`uniconv data list`).
        source: The folder with its native files.
        out: The folder to write.
        corpus: A corpus.jsonl that the data set shares with others.
    """
    from uniconv.cli.data_terminal import print_converted
    from uniconv.data.catalogue import convert

    print_converted(out, convert(name, source, out, corpus))


@data.command(name="check")
def check_(
    folder: Positional[Path],
    corpus: Path | None = None,
    train: Path | None = None,
    all_warnings: bool = False,
) -> None:
    """Check a converted data set: ids, duplicates, what turns lack, overlap with training.

    Leaves with exit status 2 if there are errors.

    Args:
        folder: The converted data set, or one file of conversations.
        corpus: The corpus.jsonl of its passages, where that lies elsewhere.
        train: A data set that is trained on, to find what this one shares with it.
        all_warnings: Show all warnings, not the first few of each kind.
    """
    from uniconv.cli.data_terminal import print_report, record_progress
    from uniconv.data.checking import check

    with record_progress("Checking") as progress:
        report = check(folder, corpus=corpus, train=train, progress=progress)
    print_report(report, all_warnings=all_warnings)
    if report.errors:
        sys.exit(2)


@data.command(name="stats")
def stats_(
    folder: Positional[Path],
    model: str | None = None,
    corpus: Path | None = None,
    json: Path | None = None,
) -> None:
    """Tell what a converted data set is made of: counts, lengths, topic shifts, turns by depth.

    Args:
        folder: The converted data set, or one file of conversations.
        model: Count lengths in tokens of this model's tokenizer ("embedded"), not in words.
        corpus: The corpus.jsonl of its passages, where that lies elsewhere.
        json: Write the figures to this file too.
    """
    from uniconv.cli.data_terminal import print_statistics, record_progress, written
    from uniconv.data.statistics import statistics, tokens, words
    from uniconv.files import provenance, write_json

    measure = words if model is None else tokens(model)
    with record_progress("Reading") as progress:
        found = statistics(folder, corpus=corpus, measure=measure, progress=progress)
    unit = "words" if model is None else "tokens"
    print_statistics(found, unit)
    if json is not None:
        about = {"folder": str(folder), "unit": unit, "model": model}
        write_json(json, provenance(**about, statistics=found))
        written(json)
