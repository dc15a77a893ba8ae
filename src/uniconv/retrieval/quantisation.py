"""What an index keeps of its vectors: how many components, and how many bits of each.

``vectors.npy`` holds float32 or, beside ``scales.npy``, bytes. A vector in bytes is rounded to
whole numbers after it was stretched so that its greatest component is 127 or -127 (symmetric, a
scale for each vector). That depends on nothing but the vector, so nothing is to be calibrated, an
update needs no other vectors, and what was read from bytes gives the same bytes again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from uniconv.errors import UniConvError
from uniconv.files import atomic
from uniconv.retrieval.vectors import VECTOR_FILE, Floats, Rows

SCALE_FILE = "scales.npy"

Storage = Literal["float32", "int8", "binary"]
Bytes = npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class VectorSettings:
    """How vectors are kept.

    ``dimensions`` are those of the model's that are kept, from the first; None keeps all. They are
    stored as float32 or as int8; ``binary`` keeps int8 on disk and searches bits.
    """

    dimensions: int | None = None
    storage: Storage = "float32"

    def changed(
        self, length: int, dimensions: int | None, storage: Storage | None
    ) -> VectorSettings:
        """These with what is not None in its place, for embeddings of some length.

        Raises:
            UniConvError: the embeddings are not so long.
        """
        kept = dimensions if dimensions is not None else self.dimensions or length
        if not 1 <= kept <= length:
            raise UniConvError(
                f"dimensions: the model's embeddings have {length}, of which 1 to {length} can be "
                f"kept, not {kept}"
            )
        return VectorSettings(None if kept == length else kept, storage or self.storage)

    def cut(self, embeddings: Floats) -> Floats:
        """The components that are kept, L2-normalised: float32 [n, dimensions].

        What is of that length already stays as it is.
        """
        if self.dimensions is None or self.dimensions == embeddings.shape[-1]:
            return embeddings
        part = embeddings[..., : self.dimensions]
        lengths = np.linalg.norm(part, axis=-1, keepdims=True)
        return np.asarray(part / np.maximum(lengths, 1e-12), np.float32)

    def suffices(self, other: VectorSettings) -> bool:
        """Whether all that ``other`` keeps can be had from what these keep, without a model."""
        if self.storage == "float32":
            mine, theirs = self.dimensions, other.dimensions
            return mine is None or (theirs is not None and theirs <= mine)
        return self.dimensions == other.dimensions and other.storage != "float32"


class ByteVectors:
    """Vectors in bytes, memory-mapped; what is asked for becomes float32, L2-normalised."""

    def __init__(self, folder: Path) -> None:
        self._codes: Bytes = np.load(folder / VECTOR_FILE, mmap_mode="r")
        self._scales: Floats = np.load(folder / SCALE_FILE, mmap_mode="r")
        if len(self._codes) != len(self._scales):
            raise ValueError(f"{SCALE_FILE} and {VECTOR_FILE} are of different vectors")

    def __len__(self) -> int:
        return len(self._codes)

    def __getitem__(self, rows: slice | Rows) -> Floats:
        return np.multiply(self._codes[rows], self._scales[rows, None], dtype=np.float32)


Kept: TypeAlias = Floats | ByteVectors
"""Rows of float32 by slices or arrays of rows."""


def to_bytes(vectors: Floats) -> tuple[Bytes, Floats]:
    """Codes [n, d] and scales [n]; ``codes * scales`` is L2-normalised."""
    greatest = np.abs(vectors).max(axis=1, keepdims=True)
    codes = np.rint(vectors * (127 / np.maximum(greatest, 1e-30)))
    lengths = np.linalg.norm(codes, axis=1)
    return codes.astype(np.int8), (1 / np.maximum(lengths, 1)).astype(np.float32)


def write_kept(
    folder: Path, rows: int, dimension: int, blocks: Iterable[Floats], settings: VectorSettings
) -> None:
    """Writes vectors, given in blocks of float32 [n, dimension] or cut already, as settings say.

    A block is in memory at a time.
    """
    shape = (rows, settings.dimensions or dimension)
    with ExitStack() as stack:

        def begin(name: str, kind: str, shape: tuple[int, ...]) -> Callable[[bytes], int]:
            file = stack.enter_context(stack.enter_context(atomic(folder / name)).open("wb"))
            header = {"descr": kind, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            return file.write

        if settings.storage == "float32":
            write = begin(VECTOR_FILE, "<f4", shape)
            for block in blocks:
                write(settings.cut(block).tobytes())
            return
        write, write_scales = begin(VECTOR_FILE, "|i1", shape), begin(SCALE_FILE, "<f4", shape[:1])
        for block in blocks:
            codes, scales = to_bytes(settings.cut(block))
            write(codes.tobytes())
            write_scales(scales.tobytes())


def open_kept(folder: Path) -> Kept:
    """Opens what ``write_kept`` wrote, memory-mapped.

    Raises:
        OSError, ValueError: a file is missing or damaged.
    """
    if (folder / SCALE_FILE).exists():
        return ByteVectors(folder)
    vectors: Floats = np.load(folder / VECTOR_FILE, mmap_mode="r")
    if vectors.dtype != np.float32:
        raise ValueError(f"{SCALE_FILE} is missing")
    return vectors
