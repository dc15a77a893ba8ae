"""The embeddings of a corpus, made shard by shard: stopped at any moment, it goes on from there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from uniconv.errors import ModelError
from uniconv.files import atomic, sha256, write_json
from uniconv.retrieval.store import Digests, PassageStore, digest
from uniconv.retrieval.vectors import Floats, Rows
from uniconv.types import Conversation, Passage

SHARD_ROWS = 2048


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


class ConversationEncoder(Encoder, Protocol):
    """A model that also embeds conversations; ``UniConv`` is one."""

    def encode_conversations(
        self,
        conversations: Sequence[Conversation],
        *,
        progress: Callable[[int], None] | None = None,
    ) -> Floats:
        """L2-normalised vectors, float32 [n, dimension], in the order given."""


@dataclass(frozen=True, slots=True)
class Known:
    """Vectors that the same model made before: of passages with these digests, V16 [n]."""

    digests: Digests
    vectors: Floats


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
    process: int = 0,
    processes: int = 1,
) -> Shards:
    """Encodes a corpus into ``folder``; shards that are there and still fit are kept.

    A shard fits if it was made by the same model from the same passages and its file is whole. One
    shard of passages is in memory at a time, so ``passages`` may be any lazy sequence; the encoder
    sorts a shard by length itself. ``progress`` is told the passages of every finished shard. Of
    several processes each makes its own part of the shards.

    Raises:
        ModelError: the encoder gave vectors of a wrong shape, or values that are not numbers.
    """

    def block(rows: range) -> tuple[str, Callable[[], Floats]]:
        part = [passages[row] for row in rows]
        return _fingerprint(encoder, part), lambda: _encode(encoder, part)

    return write_shards(
        len(passages),
        block,
        folder,
        rows_per_shard=rows_per_shard,
        progress=progress,
        process=process,
        processes=processes,
    )


def write_shards(
    rows: int,
    block: Callable[[range], tuple[str, Callable[[], Floats]]],
    folder: Path | str,
    *,
    rows_per_shard: int = SHARD_ROWS,
    progress: Callable[[int], None] | None = None,
    process: int = 0,
    processes: int = 1,
) -> Shards:
    """Writes vectors shard by shard; shards that are whole and made from the same are kept.

    ``block`` tells of some rows what their vectors depend on, and how to make them. Of several
    processes each makes every ``processes``-th shard.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, start in enumerate(range(0, rows, rows_per_shard)):
        if number % processes != process:
            continue
        here = range(start, min(start + rows_per_shard, rows))
        paths.append(folder / f"{number:06d}.npy")
        made_from, make = block(here)
        if not _is_whole(paths[-1], made_from):
            _write(paths[-1], make(), made_from)
        if progress is not None:
            progress(len(here))
    return Shards(paths, rows_per_shard)


def write_vectors(
    store: PassageStore,
    encoder: Encoder,
    path: Path,
    shards_folder: Path,
    *,
    known: Known | None = None,
    rows_per_shard: int = SHARD_ROWS,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Writes the vectors of all passages, float32 [n, d], to ``path``; gives how many were new.

    A passage whose title and text are known, or are those of an earlier passage, is not encoded.
    ``progress`` is told the passages that are done. In memory are a shard and 16 bytes a passage.
    """
    unique, first, which = np.unique(store.digests(), return_index=True, return_inverse=True)
    old_rows = _find(unique, known)
    missing = np.flatnonzero(old_rows < 0)
    missing = missing[np.argsort(first[missing])]  # in the corpus's order
    if progress is not None:
        progress(len(store) - len(missing))
    selection = _Selection(store, first[missing])
    shards = encode_corpus(
        selection, encoder, shards_folder, rows_per_shard=rows_per_shard, progress=progress
    )
    new_rows = np.full(len(unique), -1)
    new_rows[missing] = np.arange(len(missing))
    with atomic(path) as temporary, temporary.open("wb") as file:
        shape = (len(store), encoder.dimension)
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(store), rows_per_shard):
            numbers = which[start : start + rows_per_shard]
            is_new = new_rows[numbers] >= 0
            block = np.empty((len(numbers), encoder.dimension), np.float32)
            if is_new.any():
                block[is_new] = shards.take(new_rows[numbers[is_new]])
            if known is not None and not is_new.all():
                block[~is_new] = known.vectors[old_rows[numbers[~is_new]]]
            file.write(block.tobytes())
    return len(missing)


def _find(digests: Digests, known: Known | None) -> Rows:
    """For each digest the row of its known vector, or -1."""
    rows = np.full(len(digests), -1)
    if known is not None and len(known.digests):
        order = np.argsort(known.digests)
        places = np.searchsorted(known.digests, digests, sorter=order)
        candidates = order[np.minimum(places, len(order) - 1)]
        same = known.digests[candidates] == digests
        rows[same] = candidates[same]
    return rows


class _Selection(Sequence[Passage]):
    """Some rows of a store, as a lazy sequence."""

    def __init__(self, store: PassageStore, rows: Rows) -> None:
        self._store = store
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, place: int) -> Passage:  # type: ignore[override]
        return self._store[int(self._rows[place])]


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
