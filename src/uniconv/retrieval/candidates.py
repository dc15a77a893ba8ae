"""Where candidates for negatives come from: BM25, the model over an index, or a run file."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from uniconv.config import MiningConfig, QueryForm
from uniconv.data.beir import read_corpus
from uniconv.data.runs import Run, ranked, read_run
from uniconv.errors import UniConvError
from uniconv.files import atomic_folder
from uniconv.retrieval.bm25 import BM25, passage_text
from uniconv.retrieval.encoding import Encoder
from uniconv.retrieval.index import FolderIndex
from uniconv.retrieval.queries import fuse, fused_depth, query_text
from uniconv.retrieval.store import PassageStore
from uniconv.retrieval.vectors import Floats
from uniconv.types import Conversation, Passage, ScoredPassage

_BM25 = "bm25"
_LANGUAGE = "english"


class ConversationEncoder(Encoder, Protocol):
    """A model that also embeds conversations, float32 [n, d], L2-normalised."""

    def encode_conversations(self, conversations: Sequence[Conversation]) -> Floats: ...


@dataclass(frozen=True, slots=True)
class Query:
    """A turn to mine for; ``context`` ends with its question."""

    id: str
    context: Conversation
    positives: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ranking:
    """Candidates by rank, and the best score of the turn's positives by the same measure.

    ``positive`` is minus infinity where a run lists none of them.
    """

    candidates: Sequence[ScoredPassage]
    positive: float


class Candidates(ABC):
    """Ranks the passages of ``store`` for queries."""

    def __init__(self, store: PassageStore, **about: Any) -> None:
        self.store = store
        self.about = {"passages": len(store), **about}
        """What a report should tell of them."""

    @abstractmethod
    def rank(self, queries: Sequence[Query], depth: int) -> list[Ranking]:
        """The best ``depth`` passages of each query; their rank counts where scores don't sort."""

    def rows(self, query: Query) -> list[int]:
        """The rows of a query's positives.

        Raises:
            UniConvError: one is not in the collection.
        """
        return [self._row(query, id, "the positive") for id in query.positives]

    def passages(self, query: Query) -> list[Passage]:
        """A query's positives."""
        return [self.store[row] for row in self.rows(query)]

    def _row(self, query: Query, id: str, called: str) -> int:
        row = self.store.row(id)
        if row is None:
            raise UniConvError(
                f"query '{query.id}' has {called} '{id}', which is not in the collection; mine in "
                "the collection that the conversations were made for"
            )
        return row


class ByWords(Candidates):
    """BM25."""

    def __init__(self, store: PassageStore, bm25: BM25, form: QueryForm) -> None:
        super().__init__(store)
        self._bm25 = bm25
        self._form = form

    def rank(self, queries: Sequence[Query], depth: int) -> list[Ranking]:
        texts = [query_text(query.context, self._form) for query in queries]
        found = self._bm25.search(texts, depth)
        return [
            self._ranking(query, text, dict(zip(rows.tolist(), scores.tolist(), strict=True)))
            for query, text, (scores, rows) in zip(queries, texts, found, strict=True)
        ]

    def _ranking(self, query: Query, text: str, found: dict[int, float]) -> Ranking:
        positives = self.rows(query)
        known = [found[row] for row in positives if row in found]
        if not known:  # to score a passage that was not found takes another search
            known = self._bm25.scores(text, positives).tolist()
        candidates = [ScoredPassage(self.store[row], score) for row, score in found.items()]
        return Ranking(candidates, max(known))


class ByModel(Candidates):
    """The model's ranking, or with ``hybrid`` that fused with BM25's.

    Scores are the model's inner products in both, since fused ones can't be compared between
    queries.
    """

    def __init__(self, index: FolderIndex, model: ConversationEncoder, *, hybrid: bool) -> None:
        index.check_model(model)
        about = {"name": index.model_name, "fingerprint": model.fingerprint}
        super().__init__(index.store, model=about)
        self._index = index
        self._model = model
        self._hybrid = hybrid

    def rank(self, queries: Sequence[Query], depth: int) -> list[Ranking]:
        contexts = [query.context for query in queries]
        embeddings = self._model.encode_conversations(contexts)
        found = self._index.search(embeddings, fused_depth(depth) if self._hybrid else depth)
        if self._hybrid:
            found = fuse(self._index, contexts, found, depth)
        return [
            self._ranking(query, embedding, [scored.passage for scored in ranking])
            for query, embedding, ranking in zip(queries, embeddings, found, strict=True)
        ]

    def _ranking(self, query: Query, embedding: Floats, found: Sequence[Passage]) -> Ranking:
        """All scores are made anew: those of an approximate index are not exact."""
        positives = self.rows(query)
        rows = [*positives, *(self._row(query, one.id, "found") for one in found)]
        scores = (self._index.vectors[np.array(rows)] @ self._index.cut(embedding)).tolist()
        candidates = [
            ScoredPassage(passage, score)
            for passage, score in zip(found, scores[len(positives) :], strict=True)
        ]
        return Ranking(candidates, max(scores[: len(positives)]))


class ByRun(Candidates):
    """A run file, which is held in memory."""

    def __init__(self, store: PassageStore, path: Path) -> None:
        super().__init__(store)
        self._path = path

    @cached_property
    def _run(self) -> Run:
        return read_run(self._path)

    def rank(self, queries: Sequence[Query], depth: int) -> list[Ranking]:
        return [self._ranking(query, depth) for query in queries]

    def _ranking(self, query: Query, depth: int) -> Ranking:
        scores = self._run.get(query.id, {})
        candidates = [
            ScoredPassage(self.store[self._row(query, id, f"in {self._path}")], score)
            for id, score in ranked(scores)[:depth]
        ]
        known = [scores[id] for id in query.positives if id in scores]
        return Ranking(candidates, max(known, default=-math.inf))


def open_candidates(config: MiningConfig, work: Path) -> Candidates:
    """What a configuration names. A corpus is indexed in the folder ``work``, once.

    Raises:
        IndexFolderError: there is no index, or it was made by another model.
        DataError: a line of the corpus or of the run is malformed.
        DuplicateIdError: two passages of the corpus have the same id.
    """
    index = None if config.index is None else FolderIndex.open(config.index)
    folder = work / "corpus"
    store = _corpus(config, folder) if index is None else index.store
    if config.run is not None:
        return ByRun(store, config.run)
    if index is None:
        return ByWords(store, BM25.load(folder / _BM25, _LANGUAGE), config.query)
    if config.retriever == "bm25":
        return ByWords(store, index.bm25, config.query)
    from uniconv.model import UniConv

    model = UniConv.from_pretrained(config.model or index.model_name)
    return ByModel(index, model, hybrid=config.retriever == "hybrid")


def _corpus(config: MiningConfig, folder: Path) -> PassageStore:
    """The corpus as a store; BM25 lies beside it unless a run takes its place."""
    if not folder.exists():
        with atomic_folder(folder) as temporary:
            store = PassageStore.write(temporary, read_corpus(cast(Path, config.corpus)))
            if config.run is None:
                BM25.build(map(passage_text, store), temporary / _BM25, _LANGUAGE)
    return PassageStore(folder)
