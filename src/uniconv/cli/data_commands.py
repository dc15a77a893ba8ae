"""What ``uniconv data`` takes. Heavy imports happen inside."""

from __future__ import annotations

from pathlib import Path

from tyro.conf import Positional
from tyro.extras import SubcommandApp

data = SubcommandApp()


@data.command(name="list")
def list_() -> None:
    """List the data sets that can be converted."""
    from uniconv.cli.terminal import print_catalogue

    print_catalogue()


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
    from uniconv.data.catalogue import convert

    print(f"{out}: {convert(name, source, out, corpus)}")
