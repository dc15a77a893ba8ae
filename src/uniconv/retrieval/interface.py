"""What an index is to those who search it: a folder (index.py), or a Milvus collection (milvus.py).

``Index.open`` takes the path of either: the folder, or a YAML file that says where Milvus is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from uniconv.config.milvus import is_milvus
from uniconv.errors import IndexFolderError
from uniconv.retrieval.encoding import Encoder
from uniconv.retrieval.filters import MetadataFilters
from uniconv.retrieval.vectors import Floats
from uniconv.types import Passage, ScoredPassage


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


class Index(ABC):
    """Passages in rows from 0, searched by vectors and by words, from several threads.

    Attributes:
        path: What ``open`` was given.
        version: Another one when anything in the index is another.
        model: The model that made the vectors.
        identity: A checksum of the files that it was made of, and of how they were split.
        exact: Whether every vector is compared with a query.
    """

    path: Path
    version: str
    model: ModelRecord
    identity: str
    exact: bool

    @classmethod
    def open(cls, path: Path | str) -> Index:
        """Opens the current version of an index.

        Raises:
            IndexFolderError: there is no index, it is damaged, or its server can't be reached.
            ConfigError: a setting of a Milvus configuration is wrong.
        """
        if is_milvus(path):
            from uniconv.retrieval.milvus import MilvusIndex

            return MilvusIndex.open(path)
        from uniconv.retrieval.index import FolderIndex

        return FolderIndex.open(path)

    @abstractmethod
    def __len__(self) -> int:
        """The number of passages."""

    @abstractmethod
    def count(self, filters: MetadataFilters | None = None) -> int:
        """The number of passages that the filters leave."""

    @abstractmethod
    def find(self, ids: Iterable[str]) -> dict[str, Passage]:
        """The passages with these ids; those that the index lacks are left out."""

    @abstractmethod
    def passages_at(self, rows: Sequence[int]) -> list[Passage]:
        """The passages of some rows, in the order given."""

    @abstractmethod
    def vectors_at(self, rows: Sequence[int]) -> Floats:
        """The vectors of some rows, float32 as ``cut`` gives, in the order given."""

    @abstractmethod
    def _search(
        self, embeddings: Floats, k: int, filters: MetadataFilters
    ) -> list[list[ScoredPassage]]:
        """As ``search``, for one embedding or more."""

    @abstractmethod
    def _search_text(
        self, texts: Sequence[str], k: int, filters: MetadataFilters
    ) -> list[list[ScoredPassage]]:
        """As ``search_text``, for one text or more."""

    @property
    def kept(self) -> dict[str, Any]:
        """How vectors are kept where that is not whole as float32, for reports."""
        return {}

    def cut(self, embeddings: Floats) -> Floats:
        """What of embeddings, float32 [..., d], is compared with the index's vectors: all, here."""
        return embeddings

    def search(
        self, embeddings: Floats, k: int, filters: MetadataFilters | None = None
    ) -> list[list[ScoredPassage]]:
        """The ``k`` nearest passages of each embedding (float32 [n, d]), best first.

        Scores are inner products, so cosines for L2-normalised embeddings. ``filters`` leave only
        passages whose metadata has what they ask for (filters.py).

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
        return self._search(np.asarray(embeddings, np.float32), k, filters or {})

    def search_text(
        self, texts: Sequence[str], k: int, filters: MetadataFilters | None = None
    ) -> list[list[ScoredPassage]]:
        """BM25's best ``k`` passages of each text; fewer where fewer share a word with it."""
        _check_k(k)
        return self._search_text(texts, k, filters or {}) if texts else []

    @property
    def model_name(self) -> str:
        """Where the model that made the index was loaded from."""
        return self.model.name

    @property
    def dimension(self) -> int:
        """The length of the model's embeddings."""
        return self.model.dimension

    def check_model(self, model: Encoder) -> None:
        """Raises an IndexFolderError unless this very model made the index's vectors."""
        if model.fingerprint != self.model.fingerprint:
            raise IndexFolderError(
                f"{self.path}: the index was made by another model ('{self.model_name}', not "
                f"'{model.name}' as it is now); load that model, or make the index again with "
                "this one"
            )

    def passage(self, id: str) -> Passage | None:
        """A passage by its id, or None."""
        return self.find([id]).get(id)

    def sample_passages(self, count: int, *, seed: int) -> list[Passage]:
        """At most ``count`` of the passages, drawn without repetition."""
        rows = np.random.default_rng(seed).permutation(len(self))[:count]
        return self.passages_at(rows.tolist())


def _check_k(k: int) -> None:
    if k < 1:
        raise ValueError(f"k must be 1 or more, not {k}")
