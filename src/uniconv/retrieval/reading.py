"""The passages of all files, from the last index where a file did not change since."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

from uniconv.files import sha256
from uniconv.retrieval.chunking import Chunking
from uniconv.retrieval.documents import SourceFile, read_passages
from uniconv.retrieval.formats import DocumentError
from uniconv.retrieval.index import FileRecord, FolderIndex
from uniconv.types import Passage


class FileReader:
    """Reads files once; ``records`` tells what came of each, by absolute path.

    A broken document is recorded with its problem and does not stop the others. ``kept`` are paths
    of the old index whose passages are taken from there, whatever became of the files.
    """

    def __init__(
        self,
        files: Sequence[SourceFile],
        chunking: Chunking,
        old: FolderIndex | None,
        kept: Sequence[str] = (),
    ) -> None:
        known = old.manifest.files if old else {}
        read = {str(file.path.resolve()): file for file in files}
        self.records: dict[str, FileRecord] = {}
        self._files = {path: SourceFile(Path(path), known[path].name) for path in kept} | read
        self._chunking = chunking
        self._old = old
        self._checksums = {path: known[path].sha256 for path in kept} | {
            path: _checksum(file) for path, file in read.items()
        }

    def __len__(self) -> int:
        return len(self._files)

    @property
    def has_changes(self) -> bool:
        """Whether any file was added, changed or removed since the last index."""
        known = self._old.manifest.files if self._old else {}
        return known.keys() != self._files.keys() or not all(map(self._unchanged, self._files))

    def first_difference(self, records: Mapping[str, FileRecord]) -> str | None:
        """The first of these files, or of the records' own, that the records tell otherwise."""
        here = [(path, file.name, self._checksums[path]) for path, file in self._files.items()]
        there = [(path, record.name, record.sha256) for path, record in records.items()]
        for one, other in zip_longest(here, there):
            if one != other:
                return str((one or other)[0])
        return None

    def passages(self, on_file: Callable[[], None]) -> Iterator[Passage]:
        """All passages; ``on_file`` is called after each file.

        Raises:
            DataError: a line of a corpus is malformed.
        """
        row = 0
        for path, file in self._files.items():
            start, problem = row, None
            try:
                for passage in self._passages_of(path, file):
                    yield passage
                    row += 1
            except DocumentError as error:
                problem = str(error)
            except OSError as error:
                problem = f"it can't be read ({error.strerror or error})"
            self.records[path] = FileRecord(
                file.name, self._checksums[path], start, row - start, problem
            )
            on_file()

    def _passages_of(self, path: str, file: SourceFile) -> Iterator[Passage]:
        old = self._old
        if old is not None and self._same_chunking(old) and self._unchanged(path):
            record = old.manifest.files[path]
            if record.problem is not None:
                raise DocumentError(record.problem)
            return old.store.rows(record.start, record.start + record.count)
        return read_passages(file, self._chunking)

    def _same_chunking(self, old: FolderIndex) -> bool:
        then = Chunking(old.manifest.chunk_size, old.manifest.chunk_overlap)
        return then == self._chunking

    def _unchanged(self, path: str) -> bool:
        record = self._old.manifest.files.get(path) if self._old else None
        # A file that could not even be opened has no checksum and is tried again every time.
        return (
            record is not None
            and record.sha256 == self._checksums[path] != ""
            and record.name == self._files[path].name
        )


def file_of(records: Mapping[str, FileRecord], row: int) -> str:
    """The file that a row came from."""
    for path, record in records.items():
        if record.start <= row < record.start + record.count:
            return path
    raise IndexError(f"row {row} is of no file")


def _checksum(file: SourceFile) -> str:
    try:
        return sha256(file.path)
    except OSError:
        return ""
