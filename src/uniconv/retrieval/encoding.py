"""The embeddings of a corpus, made shard by shard: stopped at any moment, it goes on from there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from uniconv.errors import ModelError
from uniconv.files import atomic, sha256, write_json
from uniconv.retrieval.store import digest
from uniconv.types import Passage

SHARD_ROWS = 2048

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


class Encoder(Protocol):
    """What turns passages into vectors; ``UniConv`` is one."""

    @property
    def dimension(self) -> int:
        """The length of the vectors."""

    @property
    def fingerprint(self) -> str:
        """A checksum of all that the vectors depend on."""

    @property
    def name(self) -> str:
        """Where the model can be loaded from again."""

    def encode_passages(self, passages: Sequence[Passage]) -> Floats:
        """L2-normalised vectors, float32 [n, dimension], in the order given."""


class Shards:
    """The vectors of a corpus as they lie in its shards, memory-mapped."""

    def __init__(self, paths: Sequence[Path], rows_per_shard: int) -> None:
        self._shards = [np.load(path, mmap_mode="r") for path in paths]
        self._rows = rows_per_shard

    def __len__(self) -> int:
        return sum(len(shard) for shard in self._shards)

    def take(self, rows: Rows) -> Floats:
        """The vectors of some rows, float32 [len(rows), d], in memory."""
        width = self._shards[0].shape[1] if self._shards else 0
        vectors = np.empty((len(rows), width), np.float32)
        numbers = rows // self._rows
        for number in np.unique(numbers):
            here = numbers == number
            vectors[here] = self._shards[number][rows[here] % self._rows]
        return vectors


def encode_corpus(
    passages: Sequence[Passage],
    encoder: Encoder,
    folder: Path | str,
    *,
    rows_per_shard: int = SHARD_ROWS,
    progress: Callable[[int], None] | None = None,
) -> Shards:
    """Encodes a corpus into ``folder``; shards that are there and still fit are kept.

    A shard fits if it was made by the same model from the same passages and its file is whole. One
    shard of passages is in memory at a time, so ``passages`` may be any lazy sequence; the encoder
    sorts a shard by length itself. ``progress`` is told the passages of every finished shard.

    Raises:
        ModelError: the encoder gave vectors of a wrong shape, or values that are not numbers.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, start in enumerate(range(0, len(passages), rows_per_shard)):
        stop = min(start + rows_per_shard, len(passages))
        block = [passages[row] for row in range(start, stop)]
        paths.append(folder / f"{number:06d}.npy")
        made_from = _fingerprint(encoder, block)
        if not _is_whole(paths[-1], made_from):
            _write(paths[-1], _encode(encoder, block), made_from)
        if progress is not None:
            progress(len(block))
    return Shards(paths, rows_per_shard)


def _encode(encoder: Encoder, passages: list[Passage]) -> Floats:
    vectors = np.ascontiguousarray(encoder.encode_passages(passages), np.float32)
    expected = (len(passages), encoder.dimension)
    if vectors.shape != expected:
        raise ModelError(f"the model gave vectors of shape {vectors.shape}, expected {expected}")
    if not np.isfinite(vectors).all():
        bad = passages[int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])]
        raise ModelError(
            f"the model's vector of passage '{bad.id}' holds values that are not numbers; "
            "try another dtype or check its weights"
        )
    return vectors


def _fingerprint(encoder: Encoder, passages: Sequence[Passage]) -> str:
    hashed = hashlib.sha256(encoder.fingerprint.encode())
    for passage in passages:
        hashed.update(digest(passage))
    return hashed.hexdigest()


def _write(path: Path, vectors: Floats, made_from: str) -> None:
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.save(file, vectors)
    # The record comes last: a shard without it is not counted.
    write_json(path.with_suffix(".json"), {"made_from": made_from, "sha256": sha256(path)})


def _is_whole(path: Path, made_from: str) -> bool:
    try:
        record = json.loads(path.with_suffix(".json").read_bytes())
        return bool(record == {"made_from": made_from, "sha256": sha256(path)})
    except (OSError, ValueError):
        return False
