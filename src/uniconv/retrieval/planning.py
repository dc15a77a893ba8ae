"""What an index shall hold, decided once, so that several processes can make it together.

In the folder ``building`` of an index lie

- ``plan.json``: the manifest: the model, the settings, the files with their checksums, the counts
- ``version/``: the passages (store.py), which become those of the next version
- ``new.npy``: int64 [m], the rows of the passages that are to be encoded, in their order
- ``places.npy``: int64 [n], the place of each passage among these, or -1 - r where the vector is
  that of row r in the version before
- ``shards/``: the vectors of the passages that are to be encoded (encoding.py)

``plan.json`` is written last: without it there is no plan.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from uniconv.errors import IndexFolderError
from uniconv.files import atomic, identity, write_json
from uniconv.retrieval.encoding import (
    RECORD,
    SHARD,
    Encoder,
    Shards,
    basis_of,
    encode_corpus,
    is_whole,
    made_from,
    shards_of,
)
from uniconv.retrieval.index import Manifest, Settings
from uniconv.retrieval.quantisation import Kept
from uniconv.retrieval.reading import FileReader
from uniconv.retrieval.store import Digests, PassageStore
from uniconv.retrieval.vectors import Floats, Rows

BUILDING = "building"
PLAN = "plan.json"

_STORE = "version"
_SHARDS = "shards"
_NEW = "new.npy"
_PLACES = "places.npy"


@dataclass(frozen=True, slots=True)
class Plan:
    """The manifest of an index in the making.

    ``new`` of the ``passages`` are to be encoded, the vectors of the others are in the version
    ``old``. A ``shared`` plan is not replaced unasked: other machines may be at work by it.
    """

    manifest: Manifest
    passages: int
    new: int
    rows_per_shard: int
    old: str | None
    shared: bool

    def __str__(self) -> str:
        shards = -(-self.new // self.rows_per_shard)
        return f"{self.passages} passages, {self.new} of them to be encoded in {shards} shards"

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Plan:
        """Raises KeyError or TypeError where the values don't fit."""
        return cls(**{**value, "manifest": Manifest.from_json(value["manifest"])})


class Work:
    """An index in the making, opened; nothing in memory grows with the corpus."""

    def __init__(self, building: Path) -> None:
        """See ``open``."""
        self._path = building / PLAN
        self._is = identity(self._path)
        self.plan = Plan.from_json(json.loads(self._path.read_bytes()))
        self.staging = building / _STORE
        self.store = PassageStore(self.staging)
        self._new: Rows = np.load(building / _NEW, mmap_mode="r")
        self._places: Rows = np.load(building / _PLACES, mmap_mode="r")
        self._shards = shards_of(building / _SHARDS, len(self._new), self.plan.rows_per_shard)
        sizes = len(self.store), len(self._places), len(self._new)
        if sizes != (self.plan.passages, self.plan.passages, self.plan.new):
            raise ValueError(f"its parts hold {sizes} rows")

    @classmethod
    def open(cls, folder: Path) -> Work | None:
        """The work that is planned in an index folder, None where there is none or it is broken."""
        try:
            return cls(folder / BUILDING)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def difference(
        self,
        settings: Settings,
        reader: FileReader,
        old: str | None,
    ) -> str | None:
        """In what the plan is another than what is asked for; None where it is the same."""
        manifest = self.plan.manifest
        if manifest.model.fingerprint != settings[0].fingerprint:
            return f"another model ('{manifest.model.name}')"
        if manifest.settings[1:4] != settings[1:4]:
            return "other chunks or another language"
        if manifest.vectors != settings[4]:
            return "vectors kept otherwise"
        if path := reader.first_difference(manifest.files):
            return f"other files (see {path})"
        if self.plan.old != old:
            return "another version of the index to update"
        return None

    def share(self) -> Work:
        """The same work, by a plan that is not replaced unasked."""
        if self.plan.shared:
            return self
        write_json(self._path, asdict(replace(self.plan, shared=True)))
        return Work(self._path.parent)

    def encode(
        self,
        encoder: Encoder,
        *,
        process: int = 0,
        processes: int = 1,
        progress: Callable[[int], None] | None = None,
    ) -> Shards:
        """Makes every ``processes``-th shard from ``process`` on; those that are whole are kept.

        Raises:
            IndexFolderError: the plan is another model's, or is not current any more.
            ModelError: as of ``encode_corpus``.
        """
        planned = self.plan.manifest.model
        if planned.fingerprint != encoder.fingerprint:
            raise IndexFolderError(
                f"{self._path.parent.parent}: prepared for another model ('{planned.name}', not "
                f"'{encoder.name}' as it is here); give all processes the same model"
            )
        return encode_corpus(
            self.store.select(self._new),
            encoder,
            self._path.parent / _SHARDS,
            digests=self._digests,
            rows_per_shard=self.plan.rows_per_shard,
            progress=progress,
            check=self._check_current,
            process=process,
            processes=processes,
        )

    @property
    def shard_count(self) -> int:
        """How many shards there will be."""
        return len(self._shards)

    def missing(self) -> list[int]:
        """The shards that nobody has finished yet; the files of others are not looked into."""
        folder = self._path.parent / _SHARDS
        there = {path.stem for path in folder.glob(f"*{RECORD}")} if folder.exists() else set()
        return [n for n, (path, _) in enumerate(self._shards) if path.stem not in there]

    def finished(self, progress: Callable[[int], None]) -> Shards:
        """All shards, each verified by its checksum; ``progress`` is told the passages of each.

        Raises:
            IndexFolderError: one is missing, damaged, or of other passages.
        """
        fingerprint = self.plan.manifest.model.fingerprint
        lacking = []
        for number, (path, rows) in enumerate(self._shards):
            if not is_whole(path, made_from(fingerprint, self._digests(rows))):
                path.with_suffix(RECORD).unlink(missing_ok=True)
                lacking.append(number)
            progress(len(rows))
        if lacking:
            raise IndexFolderError(
                f"{self._path.parent.parent}: {len(lacking)} of {len(self._shards)} shards are "
                f"missing or damaged (the first is number {lacking[0]}); run the jobs with --shard "
                "again, which make only what is missing, or 'uniconv index' without --merge"
            )
        return Shards([path for path, _ in self._shards], self.plan.rows_per_shard)

    def vectors(
        self, shards: Shards, known: Kept | None, cut: Callable[[Floats], Floats]
    ) -> Iterator[Floats]:
        """The vectors of all passages in their order, float32 blocks of [rows, d].

        ``known`` are those of the version before. ``cut`` makes of those and of the new ones what
        is to be kept.
        """
        for start in range(0, len(self._places), self.plan.rows_per_shard):
            places = self._places[start : start + self.plan.rows_per_shard]
            is_new = places >= 0
            parts = []
            if is_new.any():
                parts.append((is_new, cut(shards.take(places[is_new]))))
            if known is not None and not is_new.all():
                parts.append((~is_new, cut(known[-1 - places[~is_new]])))
            block = np.empty((len(places), parts[0][1].shape[1]), np.float32)
            for where, vectors in parts:
                block[where] = vectors
            yield block

    def forget_others(self) -> None:
        """Takes the shards of other passages, which an earlier plan left, for missing."""
        fingerprint = self.plan.manifest.model.fingerprint
        left = set((self._path.parent / _SHARDS).glob(f"*{RECORD}"))
        for path, rows in self._shards:
            if (record := path.with_suffix(RECORD)) in left:
                left.remove(record)
                if basis_of(path) != made_from(fingerprint, self._digests(rows)):
                    record.unlink(missing_ok=True)
        for record in left:
            record.unlink(missing_ok=True)
            record.with_suffix(SHARD).unlink(missing_ok=True)

    def _check_current(self) -> None:
        if identity(self._path) != self._is:
            raise IndexFolderError(
                f"{self._path.parent.parent}: was published or prepared anew by another process "
                "meanwhile; run this command again if it was prepared anew"
            )

    def _digests(self, rows: range) -> Iterable[bytes]:
        return (self.store.digest(int(row)) for row in self._new[rows.start : rows.stop])


def write_plan(
    folder: Path,
    store: PassageStore,
    manifest: Manifest,
    *,
    known: Digests | None,
    old: str | None,
    rows_per_shard: int,
    shared: bool,
) -> Work:
    """Plans what is to be encoded of the store that lies where ``begin_store`` said.

    A passage whose title and text are ``known``, those of the version ``old``, or are those of an
    earlier passage, is not encoded. In memory are about 90 bytes a passage.
    """
    building = folder / BUILDING
    new, places = _find_places(store.digests(), known)
    for name, rows in ((_NEW, new), (_PLACES, places)):
        with atomic(building / name) as temporary, temporary.open("wb") as file:
            np.save(file, rows)
    plan = Plan(manifest, len(store), len(new), rows_per_shard, old, shared)
    write_json(building / PLAN, asdict(plan))
    work = Work(building)
    work.forget_others()
    return work


def begin_store(folder: Path) -> Path:
    """Forgets any plan in an index folder; gives the place of the next one's passages.

    Shards stay: those that fit the next plan are used.
    """
    (folder / BUILDING / PLAN).unlink(missing_ok=True)
    shutil.rmtree(folder / BUILDING / _STORE, ignore_errors=True)
    return folder / BUILDING / _STORE


def _find_places(digests: Digests, known: Digests | None) -> tuple[Rows, Rows]:
    """``new`` and ``places`` of a plan."""
    unique, first, which = np.unique(digests, return_index=True, return_inverse=True)
    old_rows = _find(unique, known)
    missing = np.flatnonzero(old_rows < 0)
    missing = missing[np.argsort(first[missing])]  # in the corpus's order
    places = -1 - old_rows
    places[missing] = np.arange(len(missing))
    return first[missing], places[which]


def _find(digests: Digests, known: Digests | None) -> Rows:
    """For each digest the row of its known vector, or -1."""
    rows = np.full(len(digests), -1)
    if known is not None and len(known):
        order = np.argsort(known)
        places = np.searchsorted(known, digests, sorter=order)
        candidates = order[np.minimum(places, len(order) - 1)]
        same = known[candidates] == digests
        rows[same] = candidates[same]
    return rows
