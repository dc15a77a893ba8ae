"""An index in Milvus: passages, metadata, vectors and BM25 of one collection, found by its alias.

Every search goes to the alias, so a server that is running goes over to a new collection in the
moment in which loading (milvus_loading.py) switches the alias. Vectors lie in a field whose name
depends on their model: a collection of another model is refused by Milvus itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from uniconv.config.milvus import MilvusConfig, load_milvus
from uniconv.errors import ConfigError, IndexFolderError
from uniconv.retrieval.filters import MetadataFilters, Wanted, wanted
from uniconv.retrieval.interface import Index
from uniconv.retrieval.milvus_schema import Field, expression
from uniconv.retrieval.milvus_server import (
    NO_COLLECTION,
    NOT_LOADED,
    Record,
    connect,
    find_record,
    told,
)
from uniconv.retrieval.quantisation import VectorSettings
from uniconv.retrieval.store import id_hash
from uniconv.retrieval.vectors import Floats
from uniconv.types import Passage, ScoredPassage

MOST_RESULTS = 16_384
"""What Milvus gives for one query at most."""
_REPLY = 4096
"""Passages in one reply, so that it stays within some megabytes."""
_KEYS = 1024
"""Rows or ids asked for at once."""
_AT_LEAST_K = ("ef", "search_list")
"""Parameters of a search that Milvus refuses below the number of results."""
_PASSAGE = [Field.id, Field.title, Field.content, Field.metadata]


class MilvusIndex(Index):
    """A collection, opened for reading."""

    def __init__(self, path: Path, config: MilvusConfig, client: Any, record: Record) -> None:
        """See ``open``."""
        self.path = path
        self.version = record.version
        self.model = record.model
        self.identity = record.identity
        self.exact = config.index.type.upper() == "FLAT"
        self._config = config
        self._client = client
        self._passages = record.passages
        self._vector = Field.vector(record.model.fingerprint, record.dimensions)
        self._kept = VectorSettings(record.dimensions)
        self._count = lru_cache(maxsize=64)(self._counted)

    @classmethod
    def open(cls, path: Path | str) -> MilvusIndex:
        """Opens the collection that a configuration names.

        Raises:
            ConfigError: the configuration can't be read, or a setting is wrong.
            IndexFolderError: the server can't be reached, or has no such collection.
        """
        path = Path(path)
        config = load_milvus(path)
        client = connect(config)
        found = find_record(client, config, config.collection)
        if found is None:
            raise IndexFolderError(
                f"{path}: Milvus has no collection '{config.collection}'; load one with "
                f"'uniconv index SOURCES --out {path}'"
            )
        index = cls(path, config, client, found[1])
        with told(config):
            index._load()
        return index

    def __len__(self) -> int:
        return self._passages

    def count(self, filters: MetadataFilters | None = None) -> int:
        return self._count(wanted(filters)) if filters else len(self)

    def find(self, ids: Iterable[str]) -> dict[str, Passage]:
        by_hash = {id_hash(id): id for id in ids}
        asked = set(by_hash.values())
        found = self._query(Field.id_hash, list(by_hash), _PASSAGE)
        passages = (_passage(entity) for entity in found)
        return {passage.id: passage for passage in passages if passage.id in asked}

    def passages_at(self, rows: Sequence[int]) -> list[Passage]:
        found = self._query(Field.row, rows, [Field.row, *_PASSAGE])
        passages = {entity[Field.row]: _passage(entity) for entity in found}
        return [passages[row] for row in rows]

    def vectors_at(self, rows: Sequence[int]) -> Floats:
        found = self._query(Field.row, rows, [Field.row, self._vector])
        vectors = {entity[Field.row]: entity[self._vector] for entity in found}
        return np.array([vectors[row] for row in rows], np.float32).reshape(len(rows), -1)

    def cut(self, embeddings: Floats) -> Floats:
        return self._kept.cut(embeddings)

    def _search(
        self, embeddings: Floats, k: int, filters: MetadataFilters
    ) -> list[list[ScoredPassage]]:
        index = self._config.index
        least = {name: max(k, index.search[name]) for name in _AT_LEAST_K if name in index.search}
        params = {"metric_type": index.metric, "params": {**index.search, **least}}
        return self._ranked(self.cut(embeddings), k, filters, self._vector, params)

    def _search_text(
        self, texts: Sequence[str], k: int, filters: MetadataFilters
    ) -> list[list[ScoredPassage]]:
        found = self._ranked(texts, k, filters, Field.words, {"metric_type": "BM25"})
        # Milvus Lite gives BM25's scores with a minus.
        return [[replace(one, score=abs(one.score)) for one in ranking] for ranking in found]

    def _ranked(
        self,
        queries: Floats | Sequence[str],
        k: int,
        filters: MetadataFilters,
        field: str,
        params: dict[str, Any],
    ) -> list[list[ScoredPassage]]:
        if k > MOST_RESULTS:
            raise ConfigError(f"Milvus finds {MOST_RESULTS} passages at most, not {k}")
        together = max(1, _REPLY // k)
        ranked: list[list[ScoredPassage]] = []
        for start in range(0, len(queries), together):
            part = queries[start : start + together]
            hits = self._ask(
                "search",
                data=list(part),
                anns_field=field,
                limit=k,
                filter=expression(filters),
                search_params=params,
                output_fields=_PASSAGE,
            )
            ranked += [
                [ScoredPassage(_passage(hit["entity"]), hit["distance"]) for hit in one]
                for one in hits
            ]
        return ranked

    def _query(
        self, field: str, keys: Sequence[int], fields: Sequence[str]
    ) -> Iterator[dict[str, Any]]:
        """The passages of which ``field`` is one of the keys."""
        for start in range(0, len(keys), _KEYS):
            among = f"{field} in {list(keys[start : start + _KEYS])}"
            yield from self._ask("query", filter=among, output_fields=list(fields))

    def _load(self) -> None:
        """Has the collection in memory; most servers keep it, Milvus Lite forgets."""
        from pymilvus.client.types import LoadState

        name = self._config.collection
        if self._client.get_load_state(name)["state"] != LoadState.Loaded:
            self._client.load_collection(name)

    def _counted(self, asked: Wanted) -> int:
        (counted,) = self._ask("query", filter=expression(dict(asked)), output_fields=["count(*)"])
        return int(counted["count(*)"])

    def _ask(self, verb: str, **arguments: Any) -> Any:
        """What ``search`` or ``query`` of the client gives.

        It is asked again if the alias was switched meanwhile, or the collection was released.
        """
        from pymilvus.exceptions import MilvusException

        ask = partial(
            getattr(self._client, verb),
            self._config.collection,
            timeout=self._config.timeout,
            **arguments,
        )
        with told(self._config):
            try:
                return ask()
            except MilvusException as error:
                if error.code in (NO_COLLECTION, NOT_LOADED):
                    self._load()
                    return ask()
                if self._vector in str(error.message):
                    raise IndexFolderError(
                        f"{self.path}: the collection has other vectors now, of another model or "
                        "fewer dimensions; open the index again"
                    ) from error
                raise


def _passage(entity: dict[str, Any]) -> Passage:
    title, content = entity[Field.title], entity[Field.content]
    return Passage(entity[Field.id], content[len(title) + 1 :], title, entity[Field.metadata])
