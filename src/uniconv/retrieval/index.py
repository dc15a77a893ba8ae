"""An index folder: passages, their vectors and BM25, searched while a new version is being made.

The folder holds ``index.json``, which names the current version, and ``versions/<name>/`` with

- ``manifest.json``: the model, the settings, and the files that were read, with their checksums
- ``passages.arrow``, ``ids.npy``: the passages (store.py)
- ``vectors.npy`` and, for many passages, ``ivf.faiss`` (vectors.py)
- ``bm25/`` (bm25.py)

A version never changes. ``build_index`` (building.py) makes a new one beside it, renames
``index.json`` and removes the old one, which stays readable for whoever has it open.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from uniconv.errors import IndexFolderError
from uniconv.retrieval.bm25 import BM25
from uniconv.retrieval.encoding import Encoder
from uniconv.retrieval.store import PassageStore
from uniconv.retrieval.vectors import (
    VECTOR_FILE,
    ExactIndex,
    Floats,
    Rows,
    open_vector_index,
)
from uniconv.types import Passage, ScoredPassage

FORMAT = 1
POINTER = "index.json"
VERSIONS = "versions"
MANIFEST = "manifest.json"
BM25_FOLDER = "bm25"


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


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """The model that made the vectors."""

    name: str
    fingerprint: str
    dimension: int

    @classmethod
    def of(cls, model: Encoder) -> ModelRecord:
        """The record of a model."""
        return cls(model.name, model.fingerprint, model.dimension)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a version was made from; ``files`` by their absolute paths."""

    model: ModelRecord
    chunk_size: int
    chunk_overlap: int
    language: str | None
    files: dict[str, FileRecord]
    provenance: dict[str, Any]

    @property
    def settings(self) -> tuple[ModelRecord, int, int, str | None]:
        """All that decides what a file becomes."""
        return self.model, self.chunk_size, self.chunk_overlap, self.language

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Manifest:
        """Raises KeyError or TypeError where the values don't fit."""
        files = {path: FileRecord(**record) for path, record in value["files"].items()}
        return cls(**{**value, "model": ModelRecord(**value["model"]), "files": files})


class Index:
    """One version of an index, opened for reading; it may be searched from several threads."""

    def __init__(self, folder: Path, version: str) -> None:
        """See ``open``."""
        here = folder / VERSIONS / version
        self.folder = folder
        self.version = version
        self.manifest = Manifest.from_json(json.loads((here / MANIFEST).read_bytes()))
        self.store = PassageStore(here)
        self.vectors: Floats = np.load(here / VECTOR_FILE, mmap_mode="r")
        self._dense = open_vector_index(here)
        self.bm25 = BM25.load(here / BM25_FOLDER, self.manifest.language)
        sizes = {len(self.store), len(self.vectors), len(self._dense), len(self.bm25)}
        if len(sizes) > 1:
            raise ValueError(f"its parts hold different numbers of passages: {sorted(sizes)}")

    @classmethod
    def open(cls, folder: Path | str) -> Index:
        """Opens the current version of an index folder.

        Raises:
            IndexFolderError: there is no index, it is damaged, or its format is not known.
        """
        folder = Path(folder)
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
    def model_name(self) -> str:
        """Where the model that made the index was loaded from."""
        return self.manifest.model.name

    @property
    def dimension(self) -> int:
        """The length of the vectors."""
        return self.manifest.model.dimension

    @property
    def exact(self) -> bool:
        """Whether every vector is compared with a query."""
        return isinstance(self._dense, ExactIndex)

    def check_model(self, model: Encoder) -> None:
        """Raises an IndexFolderError unless this very model made the index's vectors."""
        if model.fingerprint != self.manifest.model.fingerprint:
            raise IndexFolderError(
                f"{self.folder}: the index was made by another model ('{self.model_name}', not "
                f"'{model.name}' as it is now); load that model, or make the index again with "
                "this one"
            )

    def passage(self, id: str) -> Passage | None:
        """A passage by its id, or None."""
        row = self.store.row(id)
        return None if row is None else self.store[row]

    def search(self, embeddings: Floats, k: int) -> list[list[ScoredPassage]]:
        """The ``k`` nearest passages of each embedding (float32 [n, d]), best first.

        Scores are inner products, so cosines for L2-normalised embeddings.

        Raises:
            ValueError: the embeddings are not of shape [n, d], or k is below 1.
        """
        if embeddings.ndim != 2 or embeddings.shape[1] != self.dimension:
            raise ValueError(
                f"embeddings of shape {embeddings.shape}; expected [n, {self.dimension}]"
            )
        _check_k(k)
        if not len(embeddings):
            return []
        found = self._dense.search(np.asarray(embeddings, np.float32), k)
        return self._scored(zip(*found, strict=True))

    def search_text(self, texts: Sequence[str], k: int) -> list[list[ScoredPassage]]:
        """BM25's best ``k`` passages of each text; fewer where fewer share a word with it."""
        _check_k(k)
        return self._scored(self.bm25.search(texts, k))

    def sample_vectors(self, count: int, *, seed: int) -> Floats:
        """At most ``count`` of the passages' vectors drawn without repetition, float32 [m, d]."""
        rows = np.random.default_rng(seed).permutation(len(self))[:count]
        return np.asarray(self.vectors[np.sort(rows)])

    def sample_passages(self, count: int, *, seed: int) -> list[Passage]:
        """At most ``count`` of the passages, drawn without repetition."""
        rows = np.random.default_rng(seed).permutation(len(self))[:count]
        return [self.store[int(row)] for row in rows]

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


def current_version(folder: Path) -> str:
    """The version that ``index.json`` names.

    Raises:
        IndexFolderError: there is no index, or its format is not known.
    """
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


def _check_k(k: int) -> None:
    if k < 1:
        raise ValueError(f"k must be 1 or more, not {k}")
