"""The two ends of making an index: reading the files into a plan, and a version from the shards."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from uniconv.data.beir import find_repeated_id
from uniconv.errors import IndexFolderError, UniConvError
from uniconv.files import provenance, write_json
from uniconv.retrieval.approximate import build_vector_index
from uniconv.retrieval.bm25 import BM25, passage_text
from uniconv.retrieval.encoding import Shards
from uniconv.retrieval.index import (
    BM25_FOLDER,
    MANIFEST,
    FileRecord,
    FolderIndex,
    Manifest,
    Settings,
)
from uniconv.retrieval.interface import ModelRecord
from uniconv.retrieval.planning import Work, begin_store, write_plan
from uniconv.retrieval.publishing import publish
from uniconv.retrieval.quantisation import write_kept
from uniconv.retrieval.reading import FileReader, file_of
from uniconv.retrieval.store import ID_FILE, TEXT_FILE, DuplicateIdError, PassageStore


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


def is_settled(old: FolderIndex | None, settings: Settings, reader: FileReader) -> bool:
    """Whether an index already is what is asked for."""
    return old is not None and old.manifest.settings == settings and not reader.has_changes


def plan_index(
    folder: Path,
    reader: FileReader,
    settings: Settings,
    old: FolderIndex | None,
    progress: Progress,
    *,
    rows_per_shard: int,
    shared: bool = False,
    must_read: Collection[str] = (),
) -> Work:
    """The plan that is there, if it is for the same; else all files are read for a new one.

    ``must_read`` are documents that may not fail.

    Raises:
        UniConvError: no passage was found, an id is used twice, or a document failed.
        DataError: a line of a corpus is malformed.
        IndexFolderError: other processes are at work by another plan, and this is not ``shared``.
    """
    version = old.version if old else None
    work = Work.open(folder)
    if work is not None:
        difference = work.difference(settings, reader, version)
        if difference is None and (work.plan.shared or work.plan.rows_per_shard == rows_per_shard):
            return work.share() if shared else work
        if work.plan.shared and not shared:
            raise IndexFolderError(
                f"{folder}: several processes are making an index with {difference} here; merge "
                "it first, or begin anew with --prepare"
            )
    staging = begin_store(folder)
    task = progress.add_task("Reading files", total=len(reader))
    store = _write_store(staging, reader, lambda: progress.advance(task))
    for record in reader.records.values():
        if record.name in must_read and record.problem is not None:
            raise UniConvError(f"{record.name}: {record.problem}; the index is unchanged")
    return write_plan(
        folder,
        store,
        Manifest(*settings, reader.records, provenance()),
        known=old.store.digests() if old is not None and _reusable(old, settings) else None,
        old=version,
        rows_per_shard=rows_per_shard,
        shared=shared,
    )


def finish_index(
    folder: Path,
    work: Work,
    shards: Shards,
    model: ModelRecord,
    old: FolderIndex | None,
    progress: Progress,
    *,
    exact_below: int,
    started: float,
) -> BuildReport:
    """Puts the vectors together, makes what searches them and the words, and publishes it all."""
    for left in work.staging.iterdir():  # by a run that was stopped here
        if left.name not in (TEXT_FILE, ID_FILE):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    task = progress.add_task("Indexing", total=3)
    planned = work.plan.manifest
    known = old.vectors if old is not None and _reusable(old, planned.settings) else None
    blocks = work.vectors(shards, known, planned.vectors.cut)
    write_kept(work.staging, len(work.store), model.dimension, blocks, planned.vectors)
    progress.advance(task)
    build_vector_index(work.staging, planned.vectors.storage, exact_below=exact_below)
    progress.advance(task)
    manifest = replace(planned, model=model, provenance=provenance())
    texts = (passage_text(passage) for passage in work.store)
    BM25.build(texts, work.staging / BM25_FOLDER, manifest.language)
    progress.advance(task)
    write_json(work.staging / MANIFEST, manifest.to_json())
    publish(folder, work.staging)
    return report(old.manifest if old else None, manifest, work.plan.new, started)


def _reusable(old: FolderIndex, settings: Settings) -> bool:
    """Whether an index's vectors can be those of the next version."""
    before = old.manifest
    same_model = before.model.fingerprint == settings[0].fingerprint
    return same_model and before.vectors.suffices(settings[-1])


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


def show_progress(quiet: bool) -> Progress:
    """Bars on standard error, for ``add_task``."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True), disable=quiet)


def report(before: Manifest | None, now: Manifest, encoded: int, started: float) -> BuildReport:
    """What became of the files of ``before``; ``encoded`` passages are new."""
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
