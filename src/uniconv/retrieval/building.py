"""Makes and updates an index: reads the files, encodes what is new, and publishes a new version.

Until the one rename that publishes it, all work happens in ``building/`` inside the index folder
(planning.py); what a killed run leaves there is used by the next. Several processes that make an
index together take the same steps one by one (sharing.py).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path

from rich.progress import Progress

from uniconv.errors import UniConvError
from uniconv.retrieval.bm25 import check_language
from uniconv.retrieval.chunking import Chunking
from uniconv.retrieval.documents import SourceFile, find_files
from uniconv.retrieval.encoding import SHARD_ROWS, Encoder, Shards
from uniconv.retrieval.index import FolderIndex, index_folder
from uniconv.retrieval.interface import ModelRecord
from uniconv.retrieval.making import (
    BuildReport,
    finish_index,
    is_settled,
    plan_index,
    report,
    show_progress,
)
from uniconv.retrieval.planning import Work
from uniconv.retrieval.publishing import only_writer, remove_versions
from uniconv.retrieval.quantisation import Storage, VectorSettings
from uniconv.retrieval.reading import FileReader
from uniconv.retrieval.vectors import EXACT_BELOW


def build_index(
    sources: Sequence[Path | str],
    out: Path | str,
    model: Encoder,
    *,
    chunking: Chunking | None = None,
    language: str | None = "english",
    rows_per_shard: int = SHARD_ROWS,
    exact_below: int = EXACT_BELOW,
    dimensions: int | None = None,
    vectors: Storage | None = None,
    quiet: bool = False,
) -> BuildReport:
    """Makes the index folder ``out`` hold exactly the passages of ``sources``.

    Files that did not change are not read again and passages that did not change are not encoded
    again, unless the model is another. Whoever reads the index meanwhile sees the old version or
    the new one. A run that was stopped goes on at the last whole shard of ``rows_per_shard``
    passages, as long as the files before it stay the same. ``language`` is that of BM25's stop
    words, None for none. Above ``exact_below`` passages the vector search is approximate. The
    first ``dimensions`` of the vectors are kept as ``vectors`` says; None is as the index has it,
    all of them as float32 in a new one.

    Raises:
        UniConvError: a source does not exist, no passage was found, an id is used twice, or the
            model's vectors have fewer dimensions.
        DataError: a line of a corpus is malformed.
        IndexFolderError: another process is updating the index, or ``out`` is something else.
    """
    chunking = chunking or Chunking()
    check_language(language)
    files = find_files(sources)
    folder = index_folder(out)
    started = time.monotonic()
    with only_writer(folder) as version, show_progress(quiet) as progress:
        old = FolderIndex.open(folder) if version else None
        remove_versions(folder, keep=version)
        record = ModelRecord.of(model)
        before = old.manifest.vectors if old else VectorSettings()
        kept = before.changed(record.dimension, dimensions, vectors)
        settings = (record, chunking.size, chunking.overlap, language, kept)
        reader = FileReader(files, chunking, old)
        if old is not None and is_settled(old, settings, reader):
            return report(old.manifest, old.manifest, 0, started)
        work = plan_index(folder, reader, settings, old, progress, rows_per_shard=rows_per_shard)
        shards = _encode(work, model, progress)
        return finish_index(
            folder, work, shards, record, old, progress, exact_below=exact_below, started=started
        )


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
    started = time.monotonic()
    with only_writer(folder), show_progress(quiet) as progress:
        old = FolderIndex.open(folder)
        old.check_model(model)
        remove_versions(folder, keep=old.version)
        gone = {*remove, *(file.name for file in add)}
        records = old.manifest.files.items()
        kept = [path for path, record in records if record.name not in gone]
        if not kept and not add:
            raise UniConvError("an index can't be left without documents; add another one first")
        settings = old.manifest.settings
        reader = FileReader(add, Chunking(*settings[1:3]), old, kept)
        if is_settled(old, settings, reader):
            return report(old.manifest, old.manifest, 0, started)
        work = plan_index(
            folder, reader, settings, old, progress, rows_per_shard=SHARD_ROWS, must_read=gone
        )
        shards = _encode(work, model, progress)
        # An index whose vectors are all compared whatever their number was asked to be so.
        exact_below = sys.maxsize if old.exact and len(old) >= EXACT_BELOW else EXACT_BELOW
        return finish_index(
            folder,
            work,
            shards,
            settings[0],
            old,
            progress,
            exact_below=exact_below,
            started=started,
        )


def _encode(work: Work, model: Encoder, progress: Progress) -> Shards:
    total = work.plan.passages
    done = total - work.plan.new
    task = progress.add_task("Encoding passages", total=total, completed=done)
    return work.encode(model, progress=lambda count: progress.advance(task, count))
