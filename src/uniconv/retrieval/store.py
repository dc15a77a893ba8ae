"""The text of a corpus on disk: Arrow record batches, memory-mapped, found by row or by id.

Nothing here grows with the corpus in memory: rows are read from the mapped file when they are
asked for, and an id is found by binary search in a mapped array of sorted hashes.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from uniconv.errors import UniConvError
from uniconv.files import atomic
from uniconv.types import Passage

TEXT_FILE = "passages.arrow"
ID_FILE = "ids.npy"
BATCH_ROWS = 4096
DIGEST_BYTES = 16

Rows = npt.NDArray[np.int64]
Digests = npt.NDArray[np.void]

_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("metadata", pa.string(), nullable=False),  # a JSON object of strings
        pa.field("digest", pa.binary(DIGEST_BYTES), nullable=False),
    ]
)


class DuplicateIdError(UniConvError):
    """Two passages have the same id; ``rows`` (from 0) say which."""

    def __init__(self, id: str, rows: tuple[int, int]) -> None:
        self.id = id
        self.rows = rows
        super().__init__(
            f"the passage id '{id}' is used twice, by passages {rows[0] + 1} and {rows[1] + 1}; "
            "ids must be unique"
        )


def digest(passage: Passage) -> bytes:
    """16 bytes that stand for what an encoder sees of a passage: its title and its text."""
    title = passage.title.encode()
    seen = len(title).to_bytes(8, "little") + title + passage.text.encode()
    return hashlib.blake2b(seen, digest_size=DIGEST_BYTES).digest()


class PassageStore(Sequence[Passage]):
    """A corpus in its order. Opening it reads no text; it may be read from several threads."""

    def __init__(self, folder: Path | str) -> None:
        """Opens the store that ``write`` made in ``folder``.

        Raises:
            OSError: a file is missing.
            pyarrow.ArrowInvalid: a file is damaged.
        """
        folder = Path(folder)
        reader = pa.ipc.open_file(pa.memory_map(str(folder / TEXT_FILE)))
        self._batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
        # int64 [2, n]: the ids' hashes in ascending order, and the row of each.
        self._ids = np.load(folder / ID_FILE, mmap_mode="r")

    def __len__(self) -> int:
        return int(self._ids.shape[1])

    def __getitem__(self, row: int) -> Passage:  # type: ignore[override]
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of a store of {len(self)} passages")
        return _passages(self._batches[row // BATCH_ROWS].slice(row % BATCH_ROWS, 1))[0]

    def __iter__(self) -> Iterator[Passage]:
        return self.rows(0, len(self))

    def rows(self, start: int, stop: int) -> Iterator[Passage]:
        """The passages of rows ``start`` to ``stop - 1``."""
        while start < stop:
            batch = self._batches[start // BATCH_ROWS]
            offset = start % BATCH_ROWS
            piece = batch.slice(offset, stop - start)
            yield from _passages(piece)
            start += piece.num_rows

    def select(self, rows: Rows) -> Sequence[Passage]:
        """Some rows, read when they are asked for."""
        return _Selection(self, rows)

    def row(self, id: str) -> int | None:
        """The row of a passage, or None where no passage has this id."""
        hashes, rows = self._ids
        first = int(np.searchsorted(hashes, id_hash(id)))
        for place in range(first, len(self)):
            if hashes[place] != id_hash(id):
                break
            if self._id(int(rows[place])) == id:
                return int(rows[place])
        return None

    def matching(self, wanted: Callable[[Mapping[str, str]], bool]) -> Rows:
        """The rows of the passages whose metadata is wanted, ascending; reads all metadata."""
        found = [np.empty(0, np.bool_)]
        for batch in self._batches:
            column = batch.column("metadata").dictionary_encode()
            texts = column.dictionary.to_pylist()
            kept = np.array([wanted(json.loads(text)) for text in texts], np.bool_)
            found.append(kept[column.indices.to_numpy()])
        return np.flatnonzero(np.concatenate(found))

    def digests(self) -> Digests:
        """The digest of every passage, V16 [n], in memory."""
        width = np.dtype(f"V{DIGEST_BYTES}")
        columns = []
        for batch in self._batches:
            column = batch.column("digest")
            values = np.frombuffer(column.buffers()[1], dtype=width)
            columns.append(values[column.offset : column.offset + len(column)])
        return np.concatenate(columns) if columns else np.empty(0, width)

    def digest(self, row: int) -> bytes:
        """The digest of a passage, without reading its text."""
        digests = self._batches[row // BATCH_ROWS].column("digest")
        return bytes(digests[row % BATCH_ROWS].as_py())

    def _id(self, row: int) -> str:
        ids = self._batches[row // BATCH_ROWS].column("id")
        return str(ids[row % BATCH_ROWS].as_py())

    @classmethod
    def write(cls, folder: Path | str, passages: Iterable[Passage]) -> PassageStore:
        """Writes the passages in their order and opens the result.

        Raises:
            DuplicateIdError: two passages have the same id.
        """
        folder = Path(folder)
        hashes = array("q")
        with (
            atomic(folder / TEXT_FILE) as temporary,
            pa.OSFile(str(temporary), "wb") as sink,
            pa.ipc.new_file(sink, _SCHEMA) as writer,
        ):
            stream = iter(passages)
            while block := list(islice(stream, BATCH_ROWS)):
                hashes.extend(id_hash(passage.id) for passage in block)
                writer.write_batch(_batch(block))
        values = np.frombuffer(hashes, np.int64)
        order = np.argsort(values, kind="stable")
        with atomic(folder / ID_FILE) as temporary, temporary.open("wb") as file:
            np.save(file, np.stack([values[order], order]))
        store = cls(folder)
        store._refuse_duplicates()
        return store

    def _refuse_duplicates(self) -> None:
        hashes, rows = self._ids
        same = hashes[1:] == hashes[:-1]
        seen: dict[str, int] = {}  # of ids that share their hash, so almost always none
        for place in np.flatnonzero(np.append(same, False) | np.append(False, same)):
            row = int(rows[place])
            if (first := seen.setdefault(self._id(row), row)) != row:
                raise DuplicateIdError(self._id(row), (first, row))


class _Selection(Sequence[Passage]):
    def __init__(self, store: PassageStore, rows: Rows) -> None:
        self._store = store
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, place: int) -> Passage:  # type: ignore[override]
        return self._store[int(self._rows[place])]


def id_hash(id: str) -> int:
    """64 bits that ids are looked up by; two ids may share them."""
    value = hashlib.blake2b(id.encode(), digest_size=8).digest()
    return int.from_bytes(value, "little", signed=True)


def _batch(passages: Sequence[Passage]) -> pa.RecordBatch:
    columns = [
        [passage.id for passage in passages],
        [passage.title for passage in passages],
        [passage.text for passage in passages],
        [json.dumps(dict(passage.metadata), ensure_ascii=False) for passage in passages],
        [digest(passage) for passage in passages],
    ]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, _SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=_SCHEMA)


def _passages(batch: pa.RecordBatch) -> list[Passage]:
    ids, titles, texts, metadata = (batch.column(number).to_pylist() for number in range(4))
    return [
        Passage(id, text, title, json.loads(about))
        for id, title, text, about in zip(ids, titles, texts, metadata, strict=True)
    ]
