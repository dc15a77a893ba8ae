"""Nearest vectors by inner product, all of them compared.

What an index keeps of its vectors lies in ``vectors.npy`` (quantisation.py); above 100,000, what
lies beside it is searched (approximate.py).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TypeAlias

import faiss
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

VECTOR_FILE = "vectors.npy"
EXACT_BELOW = 100_000
BATCH_QUERIES = 16  # from here on the block product is quicker than faiss's scan
_BLOCK = 16_384
_CHUNK = 1024  # queries whose scores with a block are in memory at once

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
_Best: TypeAlias = "tuple[Tensor, Tensor]"  # scores and rows of the best so far, [queries, k]


class VectorIndex(ABC):
    """Finds the vectors with the greatest inner product with a query.

    ``exhaustive`` ones compare every vector with it.
    """

    exhaustive: bool

    @abstractmethod
    def __len__(self) -> int:
        """The number of vectors."""

    @abstractmethod
    def search(self, queries: Floats, k: int) -> tuple[Floats, Rows]:
        """Scores and rows, [n, min(k, len)], best first, for queries float32 [n, d].

        Where fewer are found the rest are rows of -1.
        """


class Vectors(Protocol):
    """Rows of numbers that are asked for block by block, such as a mapped file."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> Floats: ...


class ExactIndex(VectorIndex):
    """Every vector is compared, straight from the mapped file.

    One query goes through faiss's scan, which reads float32; for a batch the block product is
    several times quicker.
    """

    exhaustive = True

    def __init__(self, vectors: Vectors) -> None:
        self._vectors = vectors

    def __len__(self) -> int:
        return len(self._vectors)

    def search(self, queries: Floats, k: int) -> tuple[Floats, Rows]:
        k = min(k, len(self))
        if len(queries) >= BATCH_QUERIES or not isinstance(self._vectors, np.ndarray):
            return block_search(queries, self._vectors, k)
        scores, rows = faiss.knn(
            np.ascontiguousarray(queries, np.float32),
            self._vectors,
            k,
            metric=faiss.METRIC_INNER_PRODUCT,
        )
        return scores, rows


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
    with _full_precision(device):
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
def _full_precision(device: str) -> Iterator[None]:
    """Float32 products that are not rounded to TF32 or bfloat16, whatever a model prefers or a
    training step has set."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device.partition(":")[0], enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
