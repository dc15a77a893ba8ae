"""Makes and updates an index: reads the files, encodes what is new, and publishes a new version.

Until the one rename that publishes it, all work happens in ``building/`` inside the index folder;
the shards of vectors that a killed run leaves there are used by the next.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from uniconv.data.beir import find_repeated_id
from uniconv.errors import IndexFolderError, UniConvError
from uniconv.files import provenance, write_json
from uniconv.retrieval.bm25 import BM25, check_language, passage_text
from uniconv.retrieval.chunking import Chunking
from uniconv.retrieval.documents import SourceFile, find_files
from uniconv.retrieval.encoding import SHARD_ROWS, Encoder, Known, write_vectors
from uniconv.retrieval.index import (
    BM25_FOLDER,
    FORMAT,
    MANIFEST,
    POINTER,
    VERSIONS,
    FileRecord,
    Index,
    Manifest,
    ModelRecord,
)
from uniconv.retrieval.reading import FileReader, file_of
from uniconv.retrieval.store import DuplicateIdError, PassageStore
from uniconv.retrieval.vectors import EXACT_BELOW, VECTOR_FILE, build_vector_index

BUILDING = "building"
LOCK = ".lock"


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What an update did. The first four count files; ``encoded`` passages were not known before.

    ``problems`` are the documents that can't be read, each with a sentence on why.
    """

    added: int
    changed: int
    removed: int
    unchanged: int
    passages: int
    encoded: int
    seconds: float
    problems: dict[str, str]

    def __str__(self) -> str:
        lines = [
            f"{self.passages} passages, {self.encoded} of them encoded now, "
            f"in {self.seconds:.1f} s; files: {self.added} added, {self.changed} changed, "
            f"{self.removed} removed, {self.unchanged} unchanged"
        ]
        if self.problems:
            lines.append(f"{len(self.problems)} of the files could not be read:")
            lines += [f"  {path}: {problem}" for path, problem in self.problems.items()]
        return "\n".join(lines)


def build_index(
    sources: Sequence[Path | str],
    out: Path | str,
    model: Encoder,
    *,
    chunking: Chunking | None = None,
    language: str | None = "english",
    rows_per_shard: int = SHARD_ROWS,
    exact_below: int = EXACT_BELOW,
    quiet: bool = False,
) -> BuildReport:
    """Makes the index folder ``out`` hold exactly the passages of ``sources``.

    Files that did not change are not read again and passages that did not change are not encoded
    again, unless the model is another. Whoever reads the index meanwhile sees the old version or
    the new one. A run that was stopped goes on at the last whole shard of ``rows_per_shard``
    passages, as long as the files before it stay the same. ``language`` is that of BM25's stop
    words, None for none. Above ``exact_below`` passages the vector search is approximate.

    Raises:
        UniConvError: a source does not exist, no passage was found, or an id is used twice.
        DataError: a line of a corpus is malformed.
        IndexFolderError: another process is updating the index, or ``out`` is something else.
    """
    chunking = chunking or Chunking()
    check_language(language)
    files = find_files(sources)
    folder = Path(out)
    with _only_writer(folder), _progress(quiet) as progress:
        old = Index.open(folder) if (folder / POINTER).exists() else None
        _remove_versions(folder, keep=old.version if old else None)
        settings = (ModelRecord.of(model), chunking.size, chunking.overlap, language)
        build = _Build(folder, model, settings, old, exact_below, rows_per_shard)
        return build.run(FileReader(files, chunking, old), progress)


def update_index(
    folder: Path | str,
    model: Encoder,
    *,
    add: Sequence[SourceFile] = (),
    remove: Collection[str] = (),
    quiet: bool = True,
) -> BuildReport:
    """Adds documents to an index and takes others away, by their names; all else in it stays.

    A document replaces the one of its name. The files behind what stays are not looked at, so they
    need not be there any more. Readers see the index as it was, or with all of the changes.

    Raises:
        UniConvError: a document of ``add`` can't be read, or no passage would be left.
        IndexFolderError: another process is updating the index, or another model made it.
    """
    folder = Path(folder)
    with _only_writer(folder), _progress(quiet) as progress:
        old = Index.open(folder)
        old.check_model(model)
        _remove_versions(folder, keep=old.version)
        gone = {*remove, *(file.name for file in add)}
        records = old.manifest.files.items()
        kept = [path for path, record in records if record.name not in gone]
        if not kept and not add:
            raise UniConvError("an index can't be left without documents; add another one first")
        chunking = Chunking(old.manifest.chunk_size, old.manifest.chunk_overlap)
        # An index whose vectors are all compared whatever their number was asked to be so.
        exact_below = sys.maxsize if old.exact and len(old) >= EXACT_BELOW else EXACT_BELOW
        build = _Build(folder, model, old.manifest.settings, old, exact_below, must_read=gone)
        return build.run(FileReader(add, chunking, old, kept), progress)


@dataclass(frozen=True, slots=True)
class _Build:
    """What makes the next version of an index; ``must_read`` are documents that may not fail."""

    folder: Path
    model: Encoder
    settings: tuple[ModelRecord, int, int, str | None]
    old: Index | None
    exact_below: int
    rows_per_shard: int = SHARD_ROWS
    must_read: Collection[str] = ()
    started: float = field(default_factory=time.monotonic)

    def run(self, reader: FileReader, progress: Progress) -> BuildReport:
        """Reads, encodes and publishes."""
        before = self.old.manifest if self.old else None
        if before and before.settings == self.settings and not reader.has_changes:
            return _report(before, before, 0, self.started)

        staging = self.folder / BUILDING / "version"
        shutil.rmtree(staging, ignore_errors=True)
        task = progress.add_task("Reading files", total=len(reader))
        store = _write_store(staging, reader, lambda: progress.advance(task))
        self._refuse_problems(reader)
        manifest = Manifest(*self.settings, reader.records, provenance())

        task = progress.add_task("Encoding passages", total=len(store))
        encoded = write_vectors(
            store,
            self.model,
            staging / VECTOR_FILE,
            self.folder / BUILDING / "shards",
            known=_known(self.old, self.model),
            rows_per_shard=self.rows_per_shard,
            progress=lambda count: progress.advance(task, count),
        )
        task = progress.add_task("Indexing", total=2)
        build_vector_index(staging, exact_below=self.exact_below)
        progress.advance(task)
        texts = (passage_text(passage) for passage in store)
        BM25.build(texts, staging / BM25_FOLDER, self.settings[-1])
        progress.advance(task)
        write_json(staging / MANIFEST, manifest.to_json())
        _publish(self.folder, staging)
        return _report(before, manifest, encoded, self.started)

    def _refuse_problems(self, reader: FileReader) -> None:
        for record in reader.records.values():
            if record.name in self.must_read and record.problem is not None:
                raise UniConvError(f"{record.name}: {record.problem}; the index is unchanged")


def _write_store(staging: Path, reader: FileReader, on_file: Callable[[], None]) -> PassageStore:
    try:
        store = PassageStore.write(staging, reader.passages(on_file))
    except DuplicateIdError as error:
        first, second = (file_of(reader.records, row) for row in error.rows)
        if first == second:
            find_repeated_id(first)
        raise UniConvError(
            f"the passage id '{error.id}' is used twice, in {first} and in {second}; rename one, "
            "or index the folder that holds both"
        ) from error
    if not len(store):
        problems = [f"{path}: {record.problem}" for path, record in reader.records.items()]
        raise UniConvError("\n  ".join(["the sources hold no passage to index:", *problems]))
    return store


def _known(old: Index | None, model: Encoder) -> Known | None:
    if old is None or old.manifest.model.fingerprint != model.fingerprint:
        return None
    return Known(old.store.digests(), old.vectors)


def _publish(folder: Path, staging: Path) -> None:
    version = uuid4().hex[:16]
    (folder / VERSIONS).mkdir(exist_ok=True)
    staging.rename(folder / VERSIONS / version)
    write_json(folder / POINTER, {"format": FORMAT, "version": version})
    _remove_versions(folder, keep=version)
    shutil.rmtree(folder / BUILDING, ignore_errors=True)


def _remove_versions(folder: Path, keep: str | None) -> None:
    """Removes versions that were replaced or never published.

    Readers that have one open keep its files until they close them.
    """
    for version in (folder / VERSIONS).glob("*"):
        if version.name != keep:
            shutil.rmtree(version, ignore_errors=True)


@contextmanager
def _only_writer(folder: Path) -> Iterator[None]:
    """Holds the folder's lock, which the system frees if the process dies."""
    ours = {POINTER, VERSIONS, BUILDING, LOCK}
    try:
        names = {path.name for path in folder.iterdir()} if folder.exists() else set()
        if names and not names & ours:
            raise IndexFolderError(
                f"{folder}: holds other files and no index; choose an empty or new folder"
            )
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / LOCK, timeout=0):
            yield
    except Timeout as error:
        raise IndexFolderError(
            f"{folder}: another process is updating this index; wait until it is done"
        ) from error
    except OSError as error:
        raise IndexFolderError(
            f"{folder}: the index could not be written ({error.strerror or error}); what was "
            "there before is untouched"
        ) from error


def _progress(quiet: bool) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True), disable=quiet)


def _report(before: Manifest | None, now: Manifest, encoded: int, started: float) -> BuildReport:
    old: dict[str, FileRecord] = before.files if before else {}
    both = old.keys() & now.files.keys()
    changed = sum(old[path].sha256 != now.files[path].sha256 for path in both)
    return BuildReport(
        added=len(now.files.keys() - old.keys()),
        changed=changed,
        removed=len(old.keys() - now.files.keys()),
        unchanged=len(both) - changed,
        passages=sum(record.count for record in now.files.values()),
        encoded=encoded,
        seconds=time.monotonic() - started,
        problems={path: record.problem for path, record in now.files.items() if record.problem},
    )
