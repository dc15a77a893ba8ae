"""Passages by id and by chance, from an index or from a corpus.jsonl that is streamed."""

from __future__ import annotations

import hashlib
from collections.abc import Collection as Ids
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from uniconv.data.beir import read_corpus
from uniconv.errors import DataError
from uniconv.types import Passage

if TYPE_CHECKING:
    from uniconv.retrieval.interface import Index


@dataclass(frozen=True, slots=True)
class Draw:
    """So many random passages, none of them one of ``without``."""

    count: int
    without: Ids[str]


class Collection(Protocol):
    """Where passages are looked up and drawn from."""

    def find(self, ids: Iterable[str]) -> dict[str, Passage]:
        """The passages with these ids; those that it lacks are left out."""

    def draw(self, draws: Mapping[str, Draw], seed: int) -> dict[str, list[Passage]]:
        """Random passages by the draws' names, without repetition.

        What is drawn under a name depends on the seed, the name and the draw alone. Where fewer
        passages are left than a draw asks for, it has fewer.
        """


class IndexCollection:
    """The passages of an index."""

    def __init__(self, index: Index) -> None:
        self._index = index

    def find(self, ids: Iterable[str]) -> dict[str, Passage]:
        """See :class:`Collection`."""
        return self._index.find(ids)

    def draw(self, draws: Mapping[str, Draw], seed: int) -> dict[str, list[Passage]]:
        """See :class:`Collection`."""
        size = len(self._index)
        return {
            name: _kept(draw, self._index.passages_at(_rows(name, draw, size, seed)))
            for name, draw in draws.items()
        }


class CorpusCollection:
    """The passages of a ``corpus.jsonl``, read once for a look-up and twice for draws."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def find(self, ids: Iterable[str]) -> dict[str, Passage]:
        """See :class:`Collection`."""
        wanted = set(ids)
        return {one.id: one for one in read_corpus(self._path) if one.id in wanted}

    def draw(self, draws: Mapping[str, Draw], seed: int) -> dict[str, list[Passage]]:
        """See :class:`Collection`."""
        size = sum(1 for _ in read_corpus(self._path))
        rows = {name: _rows(name, draw, size, seed) for name, draw in draws.items()}
        wanted = {row for drawn in rows.values() for row in drawn}
        passages = {
            row: passage for row, passage in enumerate(read_corpus(self._path)) if row in wanted
        }
        if not passages and draws:
            raise DataError(self._path, None, "has no passages")
        return {
            name: _kept(draw, (passages[row] for row in rows[name])) for name, draw in draws.items()
        }


def _rows(name: str, draw: Draw, size: int, seed: int) -> list[int]:
    """Enough rows that enough are left when those of ``without`` are taken away."""
    key = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
    random = np.random.default_rng([seed, key])
    drawn = random.choice(size, min(size, draw.count + len(draw.without)), replace=False)
    return [int(row) for row in drawn]


def _kept(draw: Draw, passages: Iterable[Passage]) -> list[Passage]:
    return [passage for passage in passages if passage.id not in draw.without][: draw.count]
