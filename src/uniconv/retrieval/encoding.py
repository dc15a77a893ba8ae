"""The embeddings of a corpus, made shard by shard: stopped at any moment, it goes on from there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from uniconv.errors import ModelError
from uniconv.files import atomic, sha256, write_json
from uniconv.retrieval.store import digest
from uniconv.retrieval.vectors import Floats, Rows
from uniconv.types import Conversation, Passage

SHARD_ROWS = 2048
SHARD, RECORD = ".npy", ".json"


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
    digests: Callable[[range], Iterable[bytes]] | None = None,
    rows_per_shard: int = SHARD_ROWS,
    progress: Callable[[int], None] | None = None,
    check: Callable[[], None] | None = None,
    process: int = 0,
    processes: int = 1,
) -> Shards:
    """Encodes a corpus into ``folder``; shards that are there and still fit are kept.

    A shard fits if it was made by the same model from the same passages and its file is whole. One
    shard of passages is in memory at a time, so ``passages`` may be any lazy sequence; the encoder
    sorts a shard by length itself, and a shard is all that it sees at once, so that vectors are the
    same to the bit whoever makes them, on hardware that is the same. ``progress`` is told the
    passages of every finished shard. Of several processes each makes its own part of the shards.
    ``digests`` tells the passages' digests where that is cheaper than to read them; ``check`` is as
    of ``write_shards``.

    Raises:
        ModelError: the encoder gave vectors of a wrong shape, or values that are not numbers.
    """

    def block(rows: range) -> tuple[str, Callable[[], Floats]]:
        known = (digest(passages[row]) for row in rows) if digests is None else digests(rows)
        return made_from(encoder.fingerprint, known), lambda: _encode(encoder, passages, rows)

    return write_shards(
        len(passages),
        block,
        folder,
        rows_per_shard=rows_per_shard,
        progress=progress,
        check=check,
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
    check: Callable[[], None] | None = None,
    process: int = 0,
    processes: int = 1,
) -> Shards:
    """Writes vectors shard by shard; shards that are whole and made from the same are kept.

    ``block`` tells of some rows what their vectors depend on, and how to make them. Of several
    processes each makes every ``processes``-th shard. ``check`` is called before a shard is made
    and again before it is written, and raises where that would harm others.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for path, here in shards_of(folder, rows, rows_per_shard)[process::processes]:
        paths.append(path)
        if check is not None:
            check()
        basis, make = block(here)
        if not is_whole(path, basis):
            vectors = make()
            if check is not None:
                check()
            _write(path, vectors, basis)
        if progress is not None:
            progress(len(here))
    return Shards(paths, rows_per_shard)


def shards_of(folder: Path, rows: int, rows_per_shard: int) -> list[tuple[Path, range]]:
    """The file of every shard, in order, and the rows that it holds."""
    starts = range(0, rows, rows_per_shard)
    return [
        (folder / f"{number:06d}{SHARD}", range(start, min(start + rows_per_shard, rows)))
        for number, start in enumerate(starts)
    ]


def _encode(encoder: Encoder, corpus: Sequence[Passage], rows: range) -> Floats:
    passages = [corpus[row] for row in rows]
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


def made_from(fingerprint: str, digests: Iterable[bytes]) -> str:
    """What stands for the vectors that a model makes of passages with these digests."""
    hashed = hashlib.sha256(fingerprint.encode())
    for one in digests:
        hashed.update(one)
    return hashed.hexdigest()


def basis_of(path: Path) -> str | None:
    """What a shard was made from, None where it is not there; the shard itself is not read."""
    return _record(path).get("made_from")


def is_whole(path: Path, basis: str) -> bool:
    """Whether a shard is there to its last byte, made from what ``basis`` stands for."""
    try:
        return _record(path) == {"made_from": basis, "sha256": sha256(path)}
    except OSError:
        return False


def _record(path: Path) -> dict[str, str]:
    try:
        value = json.loads(path.with_suffix(RECORD).read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _write(path: Path, vectors: Floats, basis: str) -> None:
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.save(file, vectors)
    # The record comes last: a shard without it is not counted.
    write_json(path.with_suffix(RECORD), {"made_from": basis, "sha256": sha256(path)})
