"""What the catalogue says of a data set, as ``sets.toml`` has it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uniconv.data.dataset import Reader

FACTS = Path(__file__).with_name("sets.toml")


@dataclass(frozen=True, slots=True)
class Download:
    """A file of a data set: the path to save it under, its address, and what is known of it.

    ``url`` is None for a file that can't be fetched freely; the entry tells how to get it.
    ``size`` is in bytes, ``unpack`` says that it is an archive whose members are read.
    """

    path: str
    url: str | None
    sha256: str | None = None
    size: int | None = None
    unpack: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """A data set: its reader, its licence, where it comes from.

    ``evaluation_only`` marks sets that must never be trained on. ``task`` and ``size`` are a few
    words for a reader. ``downloads`` are the files that can be fetched freely, ``by_hand`` tells
    the steps that a person must do where they can't, and ``must_accept`` says that the licence
    has conditions (such as non-commercial use) which the user accepts before the download.
    """

    read: Reader
    licence: str
    home: str
    evaluation_only: bool = False
    task: str = ""
    size: str = ""
    downloads: tuple[Download, ...] = ()
    by_hand: str = ""
    must_accept: bool = False


def entries(readers: Mapping[str, Reader]) -> dict[str, Entry]:
    """The data sets of ``sets.toml`` with their readers.

    Raises:
        ValueError: a set has no reader or no facts, or a fact is unknown or missing.
    """
    with FACTS.open("rb") as file:
        facts = tomllib.load(file)
    if facts.keys() != readers.keys():
        odd = ", ".join(sorted(facts.keys() ^ readers.keys()))
        raise ValueError(f"{FACTS.name} and the readers differ in: {odd}")
    found = {}
    for name, read in readers.items():
        files = [one for group in facts[name].pop("files", ()) for one in _downloads(group)]
        try:
            found[name] = Entry(read, downloads=tuple(files), **facts[name])
        except TypeError as error:
            raise ValueError(f"{FACTS.name}, [{name}]: {error}") from error
    return found


def _downloads(group: dict[str, Any]) -> Iterator[Download]:
    """Files under one address by the paths they are saved under, or a single file."""
    if "under" not in group:
        yield Download(**{"url": None, **group})
        return
    top, paths = group.pop("under"), group.pop("paths")
    for path in paths:
        yield Download(path, f"{top}/{path}", **group)
