"""Loads an index folder into Milvus: a new collection beside the old one, then one switch of alias.

Passages go in messages of some megabytes, in their order; after each one the folder notes how far
it came (``loading.json``), so a run that was stopped goes on there. Nobody sees the collection
before all of it is there, indexed and counted.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.progress import Progress

from uniconv.config.milvus import MilvusConfig, load_milvus
from uniconv.errors import IndexFolderError
from uniconv.files import write_json
from uniconv.retrieval.building import build_index
from uniconv.retrieval.encoding import SHARD_ROWS, Encoder
from uniconv.retrieval.index import FolderIndex
from uniconv.retrieval.making import BuildReport, show_progress
from uniconv.retrieval.milvus_schema import Field, create_indexes, entity, schema
from uniconv.retrieval.milvus_server import Record, connect, find_record, told
from uniconv.retrieval.publishing import only_writer
from uniconv.retrieval.quantisation import Storage

NOTE = "loading.json"
MESSAGE_BYTES = 8 * 2**20


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What loading did; ``loaded`` passages were sent now."""

    alias: str
    collection: str
    passages: int
    loaded: int
    seconds: float
    built: BuildReport | None = None

    def __str__(self) -> str:
        lines = [str(self.built)] if self.built else []
        lines.append(
            f"'{self.alias}' in Milvus is the collection {self.collection}: {self.passages} "
            f"passages, {self.loaded} of them loaded now, in {self.seconds:.1f} s"
        )
        return "\n".join(lines)


def index_in_milvus(
    sources: Sequence[Path | str],
    path: Path | str,
    model: Encoder,
    *,
    dimensions: int | None = None,
    vectors: Storage | None = None,
    quiet: bool = False,
) -> LoadReport:
    """Makes the folder that a Milvus configuration names hold the sources, and loads it.

    ``dimensions`` and ``vectors`` are those of ``build_index``, for the folder. Milvus is given
    what the folder keeps, as float32.

    Raises:
        UniConvError: as ``build_index`` and ``load_in_milvus``.
    """
    config = load_milvus(path)
    _current(connect(config), config)  # before hours of encoding
    built = build_index(
        sources,
        config.built,
        model,
        dimensions=dimensions,
        vectors=vectors,
        exact_below=sys.maxsize,
        quiet=quiet,
    )
    return replace(load_in_milvus(path, quiet=quiet), built=built)


def load_in_milvus(path: Path | str, *, quiet: bool = False) -> LoadReport:
    """Loads the folder that a Milvus configuration names, as it is.

    Raises:
        ConfigError: the configuration is wrong.
        IndexFolderError: there is no index in the folder, or Milvus can't be reached or refuses.
        UniConvError: a passage is longer than Milvus allows.
    """
    config = load_milvus(path)
    client = connect(config)
    FolderIndex.open(config.built)  # before the lock, which would make the folder
    with only_writer(config.built):
        return _Loading(config, client, FolderIndex.open(config.built)).run(quiet)


class _Loading:
    """The loading of one version of a folder as the indexing of a configuration."""

    def __init__(self, config: MilvusConfig, client: Any, source: FolderIndex) -> None:
        self._config = config
        self._client = client
        self._source = source
        self._note = source.folder / NOTE
        self._dimensions = source.manifest.vectors.dimensions or source.dimension
        self._vector = Field.vector(source.model.fingerprint, self._dimensions)
        made_from = [source.version, config.shards, config.properties, asdict(config.index)]
        self._version = hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:16]
        self._name = f"{config.collection}_{self._version}"

    def run(self, quiet: bool) -> LoadReport:
        """Loads what isn't there, and switches the alias."""
        started, rows = time.monotonic(), len(self._source)
        first = rows
        current = _current(self._client, self._config)
        if current != self._name:
            with show_progress(quiet) as progress:
                first = self._load(progress)
            with told(self._config):
                switch = self._client.alter_alias if current else self._client.create_alias
                switch(self._name, self._config.collection, timeout=self._config.timeout)
        self._note.unlink(missing_ok=True)
        self._drop_others()
        seconds = time.monotonic() - started
        return LoadReport(self._config.collection, self._name, rows, rows - first, seconds)

    def _load(self, progress: Progress) -> int:
        """Gives the row that it began with."""
        config, client, rows = self._config, self._client, len(self._source)
        first = start = self._begin()
        task = progress.add_task("Loading passages", total=rows, completed=start)
        for message in self._messages(start):
            with told(config):
                # What was sent last before a stop may be there or not, whole or in part.
                send = client.upsert if start == first > 0 else client.insert
                send(self._name, message, timeout=config.timeout)
            start += len(message)
            write_json(self._note, self._progress(start))
            progress.advance(task, len(message))
        task = progress.add_task("Indexing in Milvus", total=2)
        with told(config):
            client.flush(self._name)
            create_indexes(client, self._name, self._vector, config)
            progress.advance(task)
            client.load_collection(self._name)
            (found,) = client.query(
                self._name,
                filter="",
                output_fields=["count(*)"],
                consistency_level="Strong",
                timeout=config.timeout,
            )
        progress.advance(task)
        if found["count(*)"] != rows:
            self._note.unlink(missing_ok=True)
            raise IndexFolderError(
                f"{config.uri}: {self._name} holds {found['count(*)']} passages after loading "
                f"{rows}; run the same command again, which loads all of them anew"
            )
        return first

    def _begin(self) -> int:
        """Where an earlier run stopped, or 0 in a new collection."""
        config, client = self._config, self._client
        with told(config):
            if client.has_collection(self._name, timeout=config.timeout):
                if (start := self._noted()) is not None:
                    return start
                client.drop_collection(self._name, timeout=config.timeout)
            source = self._source
            record = Record(
                config.collection,
                self._version,
                source.model,
                self._dimensions,
                len(source),
                source.identity,
            )
            client.create_collection(
                self._name,
                schema=schema(client, self._vector, self._dimensions, source.manifest.language),
                num_shards=config.shards,
                properties={**_texts(config.properties), **record.properties()},
                timeout=config.timeout,
            )
        write_json(self._note, self._progress(0))
        return 0

    def _progress(self, rows: int) -> dict[str, Any]:
        return {"uri": self._config.uri, "collection": self._name, "rows": rows}

    def _noted(self) -> int | None:
        try:
            rows = int(json.loads(self._note.read_bytes())["rows"])
            return rows if json.loads(self._note.read_bytes()) == self._progress(rows) else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _messages(self, start: int) -> Iterator[list[dict[str, Any]]]:
        """Passages from a row on, with their vectors, as much as one message may hold."""
        store = self._source.store
        for block in range(start, len(store), SHARD_ROWS):
            rows = range(block, min(block + SHARD_ROWS, len(store)))
            vectors = self._source.vectors_at(rows)
            message: list[dict[str, Any]] = []
            size = 0
            for row, passage, vector in zip(
                rows, store.rows(rows.start, rows.stop), vectors, strict=True
            ):
                sent = {Field.row: row, self._vector: vector, **entity(passage)}
                message.append(sent)
                size += vector.nbytes + 2 * len(sent[Field.content].encode())
                if size >= MESSAGE_BYTES:
                    yield message
                    message, size = [], 0
            if message:
                yield message

    def _drop_others(self) -> None:
        """Removes earlier versions of this alias, and those whose loading was given up."""
        config, client = self._config, self._client
        ours = re.compile(re.escape(config.collection) + "_[0-9a-f]{16}")
        with told(config):
            for name in client.list_collections(timeout=config.timeout):
                if name == self._name or not ours.fullmatch(name):
                    continue
                record = Record.read(client.describe_collection(name, timeout=config.timeout))
                if record is not None and record.alias == config.collection:
                    client.drop_collection(name, timeout=config.timeout)


def _current(client: Any, config: MilvusConfig) -> str | None:
    """The collection that the alias stands for.

    Raises:
        IndexFolderError: there is a collection of this very name, or another program made it.
    """
    found = find_record(client, config, config.collection)
    if found is not None and found[0] == config.collection:
        raise IndexFolderError(
            f"{config.uri}: '{config.collection}' is a collection, not an alias; choose another "
            "name"
        )
    return None if found is None else found[0]


def _texts(properties: dict[str, Any]) -> dict[str, str]:
    """As Milvus has them: ``true``, not ``True``."""
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in properties.items()
    }
