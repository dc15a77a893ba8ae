"""What the catalogue says of a data set."""

from __future__ import annotations

from dataclasses import dataclass

from uniconv.data.dataset import Reader


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


def files_at(top: str, *paths: str, unpack: bool = False) -> tuple[Download, ...]:
    """Files that lie under one address by the paths they are saved under."""
    return tuple(Download(path, f"{top}/{path}", unpack=unpack) for path in paths)
