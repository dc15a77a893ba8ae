"""An index folder: passages, their vectors and BM25, searched while a new version is being made.

The folder holds ``index.json``, which names the current version, and ``versions/<name>/`` with

- ``manifest.json``: the model, the settings, and the files that were read, with their checksums
- ``passages.arrow``, ``ids.npy``: the passages (store.py)
- ``vectors.npy`` and what belongs to it (quantisation.py, approximate.py)
- ``bm25/`` (bm25.py)

A version never changes. ``build_index`` (building.py) makes a new one beside it, renames
``index.json`` and removes the old one, which stays readable for whoever has it open.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from uniconv.config.milvus import is_milvus
from uniconv.errors import IndexFolderError
from uniconv.retrieval.approximate import open_vector_index
from uniconv.retrieval.bm25 import BM25
from uniconv.retrieval.filters import MetadataFilters, Wanted, matches, wanted
from uniconv.retrieval.interface import Index, ModelRecord
from uniconv.retrieval.quantisation import Kept, VectorSettings, open_kept
from uniconv.retrieval.store import PassageStore
from uniconv.retrieval.vectors import Floats, Rows, block_search
from uniconv.types import Passage, ScoredPassage

FORMAT = 1
POINTER = "index.json"
VERSIONS = "versions"
MANIFEST = "manifest.json"
BM25_FOLDER = "bm25"
_FILTERS = 8
"""Filters whose rows are kept."""


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A file that was read: its passages are rows ``start`` to ``start + count - 1``.

    ``name`` is the base of its passages' ids; ``problem`` says why it could not be read.
    """

    name: str
    sha256: str
    start: int
    count: int
    problem: str | None = None


Settings = tuple[ModelRecord, int, int, str | None, VectorSettings]
"""As ``Manifest.settings``."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a version was made from; ``files`` by their absolute paths."""

    model: ModelRecord
    chunk_size: int
    chunk_overlap: int
    language: str | None
    vectors: VectorSettings
    files: dict[str, FileRecord]
    provenance: dict[str, Any]

    @property
    def settings(self) -> Settings:
        """All that decides what a file becomes."""
        return self.model, self.chunk_size, self.chunk_overlap, self.language, self.vectors

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Manifest:
        """Raises KeyError or TypeError where the values don't fit."""
        files = {path: FileRecord(**record) for path, record in value["files"].items()}
        model = ModelRecord(**value["model"])
        vectors = VectorSettings(**value.get("vectors", {}))
        return cls(**{**value, "model": model, "vectors": vectors, "files": files})


class FolderIndex(Index):
    """One version of an index folder, opened for reading."""

    def __init__(self, folder: Path, version: str) -> None:
        """See ``open``."""
        here = folder / VERSIONS / version
        self.path = self.folder = folder
        self.version = version
        self.manifest = Manifest.from_json(json.loads((here / MANIFEST).read_bytes()))
        self.model = self.manifest.model
        self.store = PassageStore(here)
        self.vectors = open_kept(here)
        self._dense = open_vector_index(here, self.manifest.vectors.storage)
        self.bm25 = BM25.load(here / BM25_FOLDER, self.manifest.language)
        sizes = {len(self.store), len(self.vectors), len(self._dense), len(self.bm25)}
        if len(sizes) > 1:
            raise ValueError(f"its parts hold different numbers of passages: {sorted(sizes)}")
        self._matching = lru_cache(maxsize=_FILTERS)(self._match)

    @classmethod
    def open(cls, path: Path | str) -> FolderIndex:
        """Opens the current version of an index folder.

        Raises:
            IndexFolderError: there is no index, it is damaged, or its format is not known.
        """
        folder = Path(path)
        while True:
            version = current_version(folder)
            try:
                return cls(folder, version)
            except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
                # An update may have replaced the version between the two lines above.
                if current_version(folder) == version:
                    raise IndexFolderError(
                        f"{folder}: the index is damaged ({error}); remove the folder and make "
                        "it again"
                    ) from error

    def __len__(self) -> int:
        return len(self.store)

    @property
    def exact(self) -> bool:  # type: ignore[override]
        """Whether every vector is compared with a query."""
        return self._dense.exhaustive

    @cached_property
    def identity(self) -> str:  # type: ignore[override]
        """A checksum of the files that it was made of, and of how they were split."""
        manifest = self.manifest
        files = sorted(f"{file.name} {file.sha256}" for file in manifest.files.values())
        chunks = [manifest.chunk_size, manifest.chunk_overlap, manifest.language]
        return hashlib.sha256("\n".join([*files, str(chunks)]).encode()).hexdigest()[:16]

    def count(self, filters: MetadataFilters | None = None) -> int:
        asked = wanted(filters)
        return len(self._matching(asked)) if asked else len(self)

    def find(self, ids: Iterable[str]) -> dict[str, Passage]:
        rows = ((id, self.store.row(id)) for id in ids)
        return {id: self.store[row] for id, row in rows if row is not None}

    def passages_at(self, rows: Sequence[int]) -> list[Passage]:
        return [self.store[row] for row in rows]

    def vectors_at(self, rows: Sequence[int]) -> Floats:
        return np.asarray(self.vectors[np.asarray(rows, np.int64)])

    @property
    def kept(self) -> dict[str, Any]:
        vectors = self.manifest.vectors
        return asdict(vectors) if vectors != VectorSettings() else {}

    def cut(self, embeddings: Floats) -> Floats:
        return self.manifest.vectors.cut(embeddings)

    def _search(
        self, embeddings: Floats, k: int, filters: MetadataFilters
    ) -> list[list[ScoredPassage]]:
        """Filtered vectors are compared one and all, whatever the number of passages."""
        asked, embeddings = wanted(filters), self.cut(embeddings)
        if not asked:
            return self._scored(zip(*self._dense.search(embeddings, k), strict=True))
        matching = self._matching(asked)
        if not len(matching):
            return [[] for _ in embeddings]
        scores, places = block_search(embeddings, _Chosen(self.vectors, matching), k)
        return self._scored(zip(scores, matching[places], strict=True))

    def _search_text(
        self, texts: Sequence[str], k: int, filters: MetadataFilters
    ) -> list[list[ScoredPassage]]:
        asked = wanted(filters)
        among = self._matching(asked) if asked else None
        return self._scored(self.bm25.search(texts, k, among))

    def _match(self, asked: Wanted) -> Rows:
        """The rows that filters leave; reads all metadata, so what was asked last is kept."""
        return self.store.matching(lambda metadata: matches(metadata, asked))

    def _scored(self, rankings: Iterable[tuple[Floats, Rows]]) -> list[list[ScoredPassage]]:
        """Scores and rows as passages; what several queries found is read once."""
        passages: dict[int, Passage] = {}
        scored = []
        for scores, rows in rankings:
            for row in rows.tolist():
                if row >= 0 and row not in passages:
                    passages[row] = self.store[row]
            pairs = zip(scores.tolist(), rows.tolist(), strict=True)
            scored.append([ScoredPassage(passages[row], score) for score, row in pairs if row >= 0])
        return scored


class _Chosen:
    """Some rows of a matrix, asked for block by block."""

    def __init__(self, vectors: Kept, rows: Rows) -> None:
        self._vectors = vectors
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, places: slice) -> Floats:
        return np.asarray(self._vectors[self._rows[places]])


def index_folder(path: Path | str) -> Path:
    """``path`` as an index folder.

    Raises:
        IndexFolderError: it is a Milvus configuration.
    """
    if is_milvus(path):
        raise IndexFolderError(
            f"{path}: this needs an index folder, not a collection in Milvus; give the folder that "
            "the collection was loaded from"
        )
    return Path(path)


def current_version(folder: Path) -> str:
    """The version that ``index.json`` names.

    Raises:
        IndexFolderError: there is no index, it is in Milvus, or its format is not known.
    """
    folder = index_folder(folder)
    try:
        pointer = json.loads((folder / POINTER).read_bytes())
        form, version = pointer["format"], pointer["version"]
    except (FileNotFoundError, NotADirectoryError) as error:
        raise IndexFolderError(
            f"{folder}: there is no index here; make one with 'uniconv index'"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IndexFolderError(
            f"{folder / POINTER}: can't be read ({error}); is this an index folder?"
        ) from error
    if form != FORMAT:
        raise IndexFolderError(
            f"{folder}: the index has format {form}, this version of uniconv knows {FORMAT}; "
            "update uniconv or make the index again"
        )
    return str(version)
