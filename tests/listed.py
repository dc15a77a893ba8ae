"""An index of passages in a list, for tests of what stands on an index."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from uniconv.retrieval.filters import MetadataFilters
from uniconv.retrieval.interface import Index, ModelRecord
from uniconv.retrieval.vectors import Floats
from uniconv.types import Passage, ScoredPassage


class ListedIndex(Index):
    """``files`` is what it was made of. What is found is for tests to say, in their own class."""

    def __init__(
        self,
        passages: Sequence[Passage],
        model: ModelRecord | None = None,
        files: str = "files",
    ) -> None:
        self.path = Path("listed")
        self.version = "v1"
        self.model = model or ModelRecord("fake", "f00d", 4)
        self.identity = files
        self.exact = True
        self._passages = list(passages)

    def __len__(self) -> int:
        return len(self._passages)

    def count(self, filters: MetadataFilters | None = None) -> int:
        assert not filters
        return len(self)

    def find(self, ids: Iterable[str]) -> dict[str, Passage]:
        wanted = set(ids)
        return {one.id: one for one in self._passages if one.id in wanted}

    def passages_at(self, rows: Sequence[int]) -> list[Passage]:
        return [self._passages[row] for row in rows]

    def vectors_at(self, rows: Sequence[int]) -> Floats:
        raise NotImplementedError

    def _search(
        self, embeddings: Floats, k: int, filters: MetadataFilters
    ) -> list[list[ScoredPassage]]:
        raise NotImplementedError

    def _search_text(
        self, texts: Sequence[str], k: int, filters: MetadataFilters
    ) -> list[list[ScoredPassage]]:
        raise NotImplementedError
