"""Nearest passages by inner product: exact while that is quick, approximate above.

The vectors themselves always lie in one memory-mapped ``vectors.npy``. Up to 100,000 of them a
search goes through all; above, faiss's ``IVF(sqrt n),SQ8`` beside it is searched.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import isqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import faiss
import numpy as np
import numpy.typing as npt

from uniconv.files import atomic

if TYPE_CHECKING:
    from torch import Tensor

VECTOR_FILE = "vectors.npy"
IVF_FILE = "ivf.faiss"
EXACT_BELOW = 100_000
PROBES = 32
BATCH_QUERIES = 16  # from here on the block product is quicker than faiss's scan
_TRAINING_PER_LIST = 64
_BLOCK = 16_384
_CHUNK = 1024  # queries whose scores with a block are in memory at once

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
_Best: TypeAlias = "tuple[Tensor, Tensor]"  # scores and rows of the best so far, [queries, k]


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


class Vectors(Protocol):
    """Rows of numbers that are asked for block by block, such as a mapped file."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> Floats: ...


def block_search(
    queries: Floats, vectors: Vectors, k: int, *, block: int = _BLOCK, device: str | None = None
) -> tuple[Floats, Rows]:
    """The exact ``k`` best vectors for many queries: scores and rows, [n, min(k, len(vectors))].

    A matrix product per block of vectors and a running top k, on the first GPU, else on the CPU,
    unless ``device`` says where. Memory is bounded by ``block`` times 1,024 scores. Equal scores
    are ordered by row.
    """
    import torch

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    k = min(k, len(vectors))
    chunks = torch.split(torch.from_numpy(np.array(queries, np.float32)).to(device), _CHUNK)
    best: list[_Best] = []
    with _full_precision():
        for start in range(0, len(vectors), block):
            part = torch.from_numpy(np.array(vectors[start : start + block])).to(device).T
            found = [_top(chunk @ part, start, k) for chunk in chunks]
            both = (best, found) if best else (found,)
            best = [_merge(parts, k) for parts in zip(*both, strict=True)]
    scores, rows = (torch.cat(parts).cpu().numpy() for parts in zip(*best, strict=True))
    return scores, rows


def _top(scores: Tensor, start: int, k: int) -> _Best:
    """The k best of each line in the order of their rows; the first column's row is ``start``."""
    width = scores.shape[1]
    if k >= width:
        import torch

        return scores, torch.arange(start, start + width, device=scores.device).expand_as(scores)
    values, columns = scores.topk(k + 1)
    columns = columns[:, :k]
    # topk breaks ties at the border as it likes, so lines that have one are sorted whole.
    tied = (values[:, k] == values[:, k - 1]).nonzero()[:, 0]
    if len(tied):
        columns[tied] = scores[tied].argsort(dim=1, descending=True, stable=True)[:, :k]
    columns = columns.sort(dim=1).values
    return scores.gather(1, columns), columns + start


def _merge(parts: Sequence[_Best], k: int) -> _Best:
    """The k best of all parts, best first; the rows of a part come before those of the next."""
    import torch

    scores, rows = (torch.cat(tensors, dim=1) for tensors in zip(*parts, strict=True))
    order = scores.argsort(dim=1, descending=True, stable=True)[:, :k]
    return scores.gather(1, order), rows.gather(1, order)


@contextmanager
def _full_precision() -> Iterator[None]:
    """Float32 products that are not rounded to TF32 or bfloat16, whatever a model prefers."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
