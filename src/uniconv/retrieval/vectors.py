"""Nearest passages by inner product: exact while that is quick, approximate above.

The vectors themselves always lie in one memory-mapped ``vectors.npy``. Up to 100,000 of them a
search goes through all; above, faiss's ``IVF(sqrt n),SQ8`` beside it is searched.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import isqrt
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from uniconv.files import atomic

VECTOR_FILE = "vectors.npy"
IVF_FILE = "ivf.faiss"
EXACT_BELOW = 100_000
PROBES = 32
BATCH_QUERIES = 16  # from here on the block product is quicker than faiss's scan
_TRAINING_PER_LIST = 64
_BLOCK = 16_384

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


class VectorIndex(ABC):
    """Finds the vectors with the greatest inner product with a query."""

    @abstractmethod
    def __len__(self) -> int:
        """The number of vectors."""

    @abstractmethod
    def search(self, queries: Floats, k: int) -> tuple[Floats, Rows]:
        """Scores and rows, [n, min(k, len)], best first, for queries float32 [n, d].

        Where fewer are found the rest are rows of -1.
        """


class ExactIndex(VectorIndex):
    """Every vector is compared, straight from the mapped file.

    One query goes through faiss's scan; for a batch the block product is several times quicker.
    """

    def __init__(self, vectors: Floats) -> None:
        self._vectors = vectors

    def __len__(self) -> int:
        return len(self._vectors)

    def search(self, queries: Floats, k: int) -> tuple[Floats, Rows]:
        k = min(k, len(self))
        if len(queries) >= BATCH_QUERIES:
            return block_search(queries, self._vectors, k)
        scores, rows = faiss.knn(
            np.ascontiguousarray(queries, np.float32),
            self._vectors,
            k,
            metric=faiss.METRIC_INNER_PRODUCT,
        )
        return scores, rows


class IVFIndex(VectorIndex):
    """faiss's inverted lists of bytes (``IVF,SQ8``), memory-mapped; 32 lists are searched."""

    def __init__(self, path: Path) -> None:
        index: Any = faiss.read_index(str(path), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
        index.nprobe = PROBES
        self._index = index

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def search(self, queries: Floats, k: int) -> tuple[Floats, Rows]:
        scores, rows = self._index.search(
            np.ascontiguousarray(queries, np.float32), min(k, len(self))
        )
        return scores, rows


def build_vector_index(
    folder: Path, *, exact_below: int = EXACT_BELOW, seed: int = 0
) -> VectorIndex:
    """Makes what is needed to search ``vectors.npy`` in ``folder``, and opens it.

    Above ``exact_below`` vectors this holds a byte per component in memory while it builds.
    """
    vectors = np.load(folder / VECTOR_FILE, mmap_mode="r")
    if len(vectors) > exact_below:
        index = _train(vectors, seed)
        for start in range(0, len(vectors), _BLOCK):
            index.add(np.ascontiguousarray(vectors[start : start + _BLOCK]))
        with atomic(folder / IVF_FILE) as temporary:
            try:
                faiss.write_index(index, str(temporary))
            except RuntimeError as error:  # how faiss tells of a full disk
                raise OSError(str(error).splitlines()[-1]) from error
    return open_vector_index(folder)


def _train(vectors: Floats, seed: int) -> Any:
    lists = isqrt(len(vectors))
    count = min(len(vectors), lists * _TRAINING_PER_LIST)
    sample = np.random.default_rng(seed).choice(len(vectors), count, replace=False)
    factory = f"IVF{lists},SQ8"
    index: Any = faiss.index_factory(vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    index.cp.seed = seed
    index.train(np.ascontiguousarray(vectors[np.sort(sample)]))
    return index


def open_vector_index(folder: Path) -> VectorIndex:
    """Opens what ``build_vector_index`` made.

    Raises:
        OSError, ValueError, RuntimeError: a file is missing or damaged.
    """
    if (folder / IVF_FILE).exists():
        return IVFIndex(folder / IVF_FILE)
    return ExactIndex(np.load(folder / VECTOR_FILE, mmap_mode="r"))


def block_search(
    queries: Floats, vectors: Floats, k: int, *, block: int = _BLOCK
) -> tuple[Floats, Rows]:
    """The exact ``k`` best vectors for many queries: scores and rows, [n, min(k, len(vectors))].

    A matrix product per block of vectors and a running top k, so memory is bounded by ``block``
    times the number of queries. Equal scores are ordered by row.
    """
    k = min(k, len(vectors))
    scores = np.empty((len(queries), 0), np.float32)
    rows = np.empty((len(queries), 0), np.int64)
    for start in range(0, len(vectors), block):
        part = queries @ vectors[start : start + block].T
        numbers = np.broadcast_to(np.arange(start, start + part.shape[1]), part.shape)
        scores, rows = _top(
            np.concatenate([scores, part], axis=1), np.concatenate([rows, numbers], axis=1), k
        )
    return scores, rows


def _top(scores: Floats, rows: Rows, k: int) -> tuple[Floats, Rows]:
    """The k best columns of each line; columns come in ascending order of row where scores tie."""
    if scores.shape[1] > k:
        # argpartition breaks ties at the border as it likes, so take all that reach the k-th score.
        border = -np.partition(-scores, k - 1, axis=1)[:, k - 1 : k]
        width = int((scores >= border).sum(axis=1).max())
        keep = np.argsort(scores < border, axis=1, kind="stable")[:, :width]
        scores = np.take_along_axis(scores, keep, axis=1)
        rows = np.take_along_axis(rows, keep, axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)
