"""Search by a model that will soon be another one: passages are embedded as they are compared.

An index is worth its while if it is searched often. Negatives that are mined during training are
searched for once, all together, so the vectors of a block of passages are made, compared with all
queries, and let go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from uniconv.errors import UniConvError
from uniconv.retrieval.candidates import Query, Ranking
from uniconv.retrieval.store import PassageStore
from uniconv.retrieval.vectors import Floats, block_search
from uniconv.types import Passage, ScoredPassage

BLOCK = 2048
"""Passages whose vectors are in memory at once."""


def sweep(
    store: PassageStore,
    queries: Sequence[Query],
    embeddings: Floats,
    encode: Callable[[Sequence[Passage]], Floats],
    depth: int,
) -> Iterator[Ranking]:
    """The best ``depth`` passages of each query, by exact inner products.

    ``embeddings`` are those of the queries, float32 [n, d]; ``encode`` gives those of passages and
    is called once for every block of the store. In memory are the vectors of a block and of all
    positives, and ``depth`` scores a query.

    Raises:
        UniConvError: a positive is not in the store.
    """
    rows = [[_row(store, query, id) for id in query.positives] for query in queries]
    vectors = _Vectors(store, encode, {row for positives in rows for row in positives})
    scores, found = block_search(embeddings, vectors, depth, block=BLOCK)
    for own, embedding, line, places in zip(rows, embeddings, scores, found, strict=True):
        positive = max(float(vectors.kept[row] @ embedding) for row in own)
        candidates = [
            ScoredPassage(store[int(row)], float(score))
            for row, score in zip(places, line, strict=True)
        ]
        yield Ranking(candidates, positive)


def _row(store: PassageStore, query: Query, id: str) -> int:
    row = store.row(id)
    if row is None:
        raise UniConvError(f"query '{query.id}': its positive '{id}' is not in the collection")
    return row


class _Vectors:
    """The vectors of a store's passages, made when they are asked for; some are kept."""

    def __init__(
        self,
        store: PassageStore,
        encode: Callable[[Sequence[Passage]], Floats],
        keep: set[int],
    ) -> None:
        self._store = store
        self._encode = encode
        self._keep = np.array(sorted(keep), np.int64)
        self.kept: dict[int, Floats] = {}

    def __len__(self) -> int:
        return len(self._store)

    def __getitem__(self, rows: slice, /) -> Floats:
        start, stop, _ = rows.indices(len(self))
        vectors = self._encode(list(self._store.rows(start, stop)))
        first, last = np.searchsorted(self._keep, (start, stop))
        self.kept |= {int(row): vectors[row - start].copy() for row in self._keep[first:last]}
        return vectors
