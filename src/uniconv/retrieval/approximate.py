"""What lies beside an index's vectors so that a search needs not compare all of each of them.

- ``ivf.faiss``, of float32 and int8 vectors above 100,000: faiss's inverted lists of bytes,
  ``IVF(sqrt n),SQ8``. A byte and a bit of memory per component.
- ``bits.faiss``, of binary ones, with inverted lists above the same number: a bit per component
  after a random rotation (RaBitQ, Gao and Long 2024, arXiv 2405.12497). A query stays in bytes. The
  best few hundred by their bits are compared with the query again by their bytes in
  ``vectors.npy``, of which no others are read.
- ``lists.faiss``, of any that would not fit in memory while they are made: the lists themselves.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from math import isqrt
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import faiss
import numpy as np

from uniconv.files import atomic
from uniconv.retrieval.quantisation import Kept, Storage, open_kept
from uniconv.retrieval.vectors import EXACT_BELOW, ExactIndex, Floats, Rows, VectorIndex

IVF_FILE = "ivf.faiss"
BITS_FILE = "bits.faiss"
LISTS_FILE = "lists.faiss"
PROBES = 32
RESCORED = 400
"""The least number of vectors that are compared again."""
PART_BYTES = 2**31
"""Lists greater than this are made in parts, and merged on disk."""
_TRAINING_PER_LIST = 64
_BLOCK = 16_384
_QUERY_BITS = 8
_MAPPED = faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY
_LISTS_BESIDE = faiss.IO_FLAG_ONDISK_SAME_DIR | faiss.IO_FLAG_READ_ONLY  # these are mapped anyway


class IVFIndex(VectorIndex):
    """faiss's inverted lists of bytes, memory-mapped; 32 lists are searched."""

    exhaustive = False

    def __init__(self, path: Path) -> None:
        self._index: Any = _open(path)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def search(self, queries: Floats, k: int) -> tuple[Floats, Rows]:
        scores, rows = self._index.search(
            np.ascontiguousarray(queries, np.float32), min(k, len(self))
        )
        return scores, rows


class RescoredIndex(VectorIndex):
    """The best by their bits, ordered by their bytes; of 32 lists, where there are lists."""

    def __init__(self, path: Path, vectors: Kept) -> None:
        self._index: Any = _open(path)
        self._vectors = vectors
        self.exhaustive = _lists(self._index) is None

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def search(self, queries: Floats, k: int) -> tuple[Floats, Rows]:
        k = min(k, len(self))
        queries = np.ascontiguousarray(queries, np.float32)
        _, candidates = self._index.search(queries, min(max(RESCORED, 4 * k), len(self)))
        scores = np.full((len(queries), k), -np.inf, np.float32)
        rows = np.full((len(queries), k), -1, np.int64)
        for number, (query, found) in enumerate(zip(queries, candidates, strict=True)):
            found = np.sort(found[found >= 0])
            exact = self._vectors[found] @ query
            best = np.argsort(-exact, kind="stable")[:k]
            scores[number, : len(best)] = exact[best]
            rows[number, : len(best)] = found[best]
        return scores, rows


def build_vector_index(
    folder: Path,
    storage: Storage = "float32",
    *,
    exact_below: int = EXACT_BELOW,
    seed: int = 0,
    part_bytes: int = PART_BYTES,
) -> VectorIndex:
    """Makes what is needed to search the vectors in ``folder``, and opens it.

    Above ``exact_below`` vectors search is approximate. In memory are, beside a sample for the
    lists, at most ``part_bytes`` of the file that is made; of more, parts lie on disk meanwhile.
    """
    vectors = open_kept(folder)
    approximate = len(vectors) > exact_below
    if approximate or storage == "binary":
        index = _trained(vectors, storage, approximate, seed)
        path = folder / (BITS_FILE if storage == "binary" else IVF_FILE)
        try:
            _fill(index, vectors, path, part_bytes)
        except RuntimeError as error:  # how faiss tells of a full disk
            raise OSError(str(error).splitlines()[-1]) from error
    return open_vector_index(folder, storage)


def open_vector_index(folder: Path, storage: Storage = "float32") -> VectorIndex:
    """Opens what ``build_vector_index`` made.

    Raises:
        OSError, ValueError, RuntimeError: a file is missing or damaged.
    """
    if storage == "binary":
        return RescoredIndex(folder / BITS_FILE, open_kept(folder))
    if (folder / IVF_FILE).exists():
        return IVFIndex(folder / IVF_FILE)
    return ExactIndex(open_kept(folder))


def _trained(vectors: Kept, storage: Storage, approximate: bool, seed: int) -> Any:
    """An empty index that has seen a sample of the vectors."""
    lists = isqrt(len(vectors))
    dimension = vectors[:1].shape[1]
    parts = [f"RR{dimension}"] if storage == "binary" else []
    parts += [f"IVF{lists}"] if approximate else []
    parts += ["RaBitQ" if storage == "binary" else "SQ8"]
    index: Any = faiss.index_factory(dimension, ",".join(parts), faiss.METRIC_INNER_PRODUCT)
    if approximate:
        _lists(index).cp.seed = seed
    count = min(len(vectors), lists * _TRAINING_PER_LIST)
    sample = np.random.default_rng(seed).choice(len(vectors), count, replace=False)
    index.train(np.ascontiguousarray(vectors[np.sort(sample)]))
    return index


def _fill(index: Any, vectors: Kept, path: Path, part_bytes: int) -> None:
    """Adds all vectors to an index that is trained and writes it."""
    lists = _lists(index)
    part = max(_BLOCK, part_bytes // (lists.code_size + 8)) if lists is not None else len(vectors)
    if part >= len(vectors):
        for _, block in _blocks(vectors, 0, len(vectors)):
            index.add(block)
        with atomic(path) as temporary:
            faiss.write_index(index, str(temporary))
        return
    from faiss.contrib.ondisk import merge_ondisk

    with TemporaryDirectory(dir=path.parent, prefix="parts-") as folder:
        files = []
        for first in range(0, len(vectors), part):
            for start, block in _blocks(vectors, first, min(first + part, len(vectors))):
                index.add_with_ids(block, np.arange(start, start + len(block)))
            files.append(f"{folder}/{first}")
            faiss.write_index(index, files[-1])
            index.reset()
        with _to_standard_error():
            merge_ondisk(index, files, str(path.parent / LISTS_FILE))
        with atomic(path) as temporary:
            faiss.write_index(index, str(temporary))


def _blocks(vectors: Kept, first: int, last: int) -> Iterator[tuple[int, Floats]]:
    for start in range(first, last, _BLOCK):
        yield start, np.ascontiguousarray(vectors[start : min(start + _BLOCK, last)])


def _open(path: Path) -> Any:
    if (path.parent / LISTS_FILE).exists():
        with _to_standard_error():
            index: Any = faiss.read_index(str(path), _LISTS_BESIDE)
    else:
        index = faiss.read_index(str(path), _MAPPED)
    lists = _lists(index)
    if lists is not None:
        lists.nprobe = PROBES
    if path.name == BITS_FILE:
        inner: Any = faiss.downcast_index(index.index)
        inner.qb = _QUERY_BITS
    return index


def _lists(index: Any) -> Any:
    """The inverted lists in an index, None where all vectors are compared."""
    return faiss.try_extract_index_ivf(index)


@contextmanager
def _to_standard_error() -> Iterator[None]:
    """What faiss says of lists on disk is printed by C, where a protocol (MCP) may be spoken."""
    library = ctypes.CDLL(None)
    library.fflush(None)
    output = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        library.fflush(None)
        os.dup2(output, 1)
        os.close(output)
