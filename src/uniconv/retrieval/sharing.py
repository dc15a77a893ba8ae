"""An index made by several processes, on one machine or many that share a file system.

    prepare_index(["corpus.jsonl"], "index", model)   # once, or by whoever comes first
    encode_share("index", model, 3, 16)               # in each of 16 processes
    merge_index("index")                              # once, when all are done

They meet in the folder ``building`` of the index (planning.py) and nowhere else. Each step can be
run again, twice at once too; what is there and whole stays. The vectors are, to the bit, those of
``build_index`` on one machine of the same kind.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from uniconv.errors import ConfigError, IndexFolderError
from uniconv.retrieval.bm25 import check_language
from uniconv.retrieval.chunking import Chunking
from uniconv.retrieval.documents import find_files
from uniconv.retrieval.encoding import SHARD_ROWS, Encoder
from uniconv.retrieval.index import FolderIndex, Manifest, Settings, index_folder
from uniconv.retrieval.interface import ModelRecord
from uniconv.retrieval.making import (
    BuildReport,
    finish_index,
    is_settled,
    plan_index,
    show_progress,
)
from uniconv.retrieval.planning import Plan, Work
from uniconv.retrieval.publishing import only_writer, published, remove_versions
from uniconv.retrieval.quantisation import Storage, VectorSettings
from uniconv.retrieval.reading import FileReader
from uniconv.retrieval.vectors import EXACT_BELOW


@dataclass(frozen=True, slots=True)
class ShareReport:
    """What one of several processes did: ``passages`` of its share, in ``shards``, are done.

    ``missing`` shards of all ``total`` are still to be made by others.
    """

    shards: int
    passages: int
    missing: int
    total: int
    seconds: float

    def __str__(self) -> str:
        rest = f"{self.missing} of {self.total} shards are still missing"
        if not self.missing:
            rest = f"all {self.total} shards are there, to be merged"
        return (
            f"{self.passages} passages in {self.shards} shards are done, "
            f"in {self.seconds:.1f} s; {rest}"
        )


def prepare_index(
    sources: Sequence[Path | str],
    out: Path | str,
    model: Encoder,
    *,
    chunking: Chunking | None = None,
    language: str | None = "english",
    rows_per_shard: int = SHARD_ROWS,
    dimensions: int | None = None,
    vectors: Storage | None = None,
    replace: bool = True,
    quiet: bool = False,
) -> Plan | None:
    """Reads the files and decides what is to be encoded; None where nothing has changed.

    The model is looked at, not run. What was prepared before stays if it is for the same, else it
    is replaced. With ``replace`` off, for processes that start at once, that is refused, and all
    but the first wait for the first; files are the same if their checksums are. ``dimensions`` and
    ``vectors`` are as of ``build_index``, for the index that is made of the shards; in these all
    vectors are whole.

    Raises:
        UniConvError, DataError, IndexFolderError: as of ``build_index``.
    """
    chunking = chunking or Chunking()
    check_language(language)
    record = ModelRecord.of(model)

    def settings_after(before: Manifest | None) -> Settings:
        kept = before.vectors if before else VectorSettings()
        kept = kept.changed(record.dimension, dimensions, vectors)
        return record, chunking.size, chunking.overlap, language, kept

    files = find_files(sources)
    folder = index_folder(out)
    if not replace and (work := Work.open(folder)) is not None and work.plan.shared:
        settings = settings_after(work.plan.manifest)
        _refuse_another(folder, work, settings, FileReader(files, chunking, None))
        return work.plan
    with only_writer(folder, wait=not replace) as version, show_progress(quiet) as progress:
        old = FolderIndex.open(folder) if version else None
        remove_versions(folder, keep=version)
        reader = FileReader(files, chunking, old)
        settings = settings_after(old.manifest if old else None)
        if is_settled(old, settings, reader):
            return None
        if not replace and (work := Work.open(folder)) is not None and work.plan.shared:
            _refuse_another(folder, work, settings_after(work.plan.manifest), reader)
        return plan_index(
            folder, reader, settings, old, progress, rows_per_shard=rows_per_shard, shared=True
        ).plan


def encode_share(
    out: Path | str, model: Encoder, process: int, processes: int, *, quiet: bool = False
) -> ShareReport:
    """Makes every ``processes``-th shard from ``process`` (from 0) on; whole ones are kept.

    Raises:
        ConfigError: there is no such share.
        IndexFolderError: nothing is prepared, or it is for another model.
        ModelError: the model gave vectors that make no sense.
    """
    check_share(process, processes)
    started = time.monotonic()
    work = open_work(Path(out))
    done: list[int] = []
    with show_progress(quiet) as progress:
        task = progress.add_task(
            f"Encoding shards, {process}/{processes}",
            total=len(range(process, work.shard_count, processes)),
        )

        def advance(passages: int) -> None:
            done.append(passages)
            progress.advance(task)

        work.encode(model, process=process, processes=processes, progress=advance)
    seconds = time.monotonic() - started
    return ShareReport(len(done), sum(done), len(work.missing()), work.shard_count, seconds)


def check_share(process: int, processes: int) -> None:
    """Raises a ConfigError unless there is such a share."""
    if not 0 <= process < processes:
        raise ConfigError(
            f"there is no share {process}/{processes}: they count from 0, so the last of n is "
            "(n - 1)/n"
        )


def open_work(folder: Path) -> Work:
    """What is prepared in an index folder.

    Raises:
        IndexFolderError: nothing is.
    """
    work = Work.open(folder)
    if work is None:
        raise IndexFolderError(
            f"{folder}: nothing is prepared here; run 'uniconv index SOURCES --prepare' first (all "
            "machines must see the same folder)"
        )
    return work


def merge_index(
    out: Path | str, *, exact_below: int = EXACT_BELOW, quiet: bool = False
) -> BuildReport:
    """Verifies all shards and publishes the index; needs neither the model nor the sources.

    Raises:
        IndexFolderError: nothing is prepared, shards are missing or damaged, or another process is
            updating the index.
    """
    started = time.monotonic()
    folder = Path(out)
    with only_writer(folder) as version, show_progress(quiet) as progress:
        work = open_work(folder)
        if work.plan.old != version:
            raise IndexFolderError(
                f"{folder}: the index was updated since this was prepared; run 'uniconv index' "
                "with --prepare and --shard again (shards that still fit are kept)"
            )
        old = FolderIndex.open(folder) if version else None
        task = progress.add_task("Verifying shards", total=work.plan.new)
        shards = work.finished(lambda passages: progress.advance(task, passages))
        model = work.plan.manifest.model
        return finish_index(
            folder, work, shards, model, old, progress, exact_below=exact_below, started=started
        )


def _refuse_another(folder: Path, work: Work, settings: Settings, reader: FileReader) -> None:
    if difference := work.difference(settings, reader, published(folder)):
        raise IndexFolderError(
            f"{folder}: an index with {difference} is being made here; give all processes the "
            "same sources and model, or begin anew with --prepare"
        )
