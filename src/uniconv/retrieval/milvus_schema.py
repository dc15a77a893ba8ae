"""What a collection of ours looks like in Milvus: its fields, its indexes, and filters on it."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from uniconv.config.milvus import MilvusConfig
from uniconv.errors import UniConvError
from uniconv.retrieval.bm25 import passage_text, stop_words
from uniconv.retrieval.filters import MetadataFilters, wanted
from uniconv.retrieval.store import id_hash
from uniconv.types import Passage

MOST_BYTES = 65_535
"""Of a text in Milvus."""


class Field:
    """The names of a collection's fields."""

    row = "row"
    """The primary key: a passage's place, from 0."""
    id = "passage_id"
    id_hash = "id_hash"
    """By which an id is looked up, so that no id needs quoting in an expression."""
    title = "title"
    content = "content"
    """The title, a space, and the text: what BM25 searches."""
    words = "words"
    """BM25's sparse vector of the content, made by Milvus."""
    metadata = "metadata"
    labels = "labels"
    """The metadata as ``field=value``, percent-encoded: what filters look for."""

    @staticmethod
    def vector(fingerprint: str, dimensions: int) -> str:
        """The vectors of a model, or their first dimensions.

        Others have another name, so that none are mistaken for them.
        """
        made_from = f"{dimensions} of {fingerprint}"
        return f"vector_{hashlib.sha256(made_from.encode()).hexdigest()[:8]}"


def schema(client: Any, vector: str, dimension: int, language: str | None) -> Any:
    """The schema of a collection; BM25 leaves out the stop words of the language."""
    from pymilvus import DataType, Function, FunctionType

    analyzer = {
        "tokenizer": "standard",
        "filter": [
            "lowercase",
            {"type": "stop", "stop_words": stop_words(language)},
        ],
    }
    made = client.create_schema(
        auto_id=False, enable_dynamic_field=False, description="Passages of uniconv"
    )
    made.add_field(Field.row, DataType.INT64, is_primary=True)
    made.add_field(Field.id, DataType.VARCHAR, max_length=MOST_BYTES)
    made.add_field(Field.id_hash, DataType.INT64)
    on_disk = {"mmap_enabled": True}  # what is read of the few passages that are found
    made.add_field(Field.title, DataType.VARCHAR, max_length=MOST_BYTES, **on_disk)
    made.add_field(
        Field.content,
        DataType.VARCHAR,
        max_length=MOST_BYTES,
        enable_analyzer=True,
        analyzer_params=analyzer,
        **on_disk,
    )
    made.add_field(Field.metadata, DataType.JSON, **on_disk)
    made.add_field(
        Field.labels,
        DataType.ARRAY,
        element_type=DataType.VARCHAR,
        max_capacity=4096,
        max_length=MOST_BYTES,
    )
    made.add_field(vector, DataType.FLOAT_VECTOR, dim=dimension)
    made.add_field(Field.words, DataType.SPARSE_FLOAT_VECTOR)
    made.add_function(
        Function(
            name="bm25",
            function_type=FunctionType.BM25,
            input_field_names=[Field.content],
            output_field_names=[Field.words],
        )
    )
    return made


def entity(passage: Passage) -> dict[str, Any]:
    """A passage as Milvus keeps it, without its row and its vector.

    Raises:
        UniConvError: it is longer than Milvus allows.
    """
    content = passage_text(passage)
    labels = [label(name, value) for name, value in passage.metadata.items()]
    for name, text in (("text", content), ("metadata", " ".join(labels))):
        if len(text.encode()) > MOST_BYTES:
            raise UniConvError(
                f"passage '{passage.id}': its {name} has {len(text.encode())} bytes, and Milvus "
                f"holds {MOST_BYTES} at most; split the passage"
            )
    return {
        Field.id: passage.id,
        Field.id_hash: id_hash(passage.id),
        Field.title: passage.title,
        Field.content: content,
        Field.metadata: dict(passage.metadata),
        Field.labels: labels,
    }


def create_indexes(client: Any, collection: str, vector: str, config: MilvusConfig) -> None:
    """Indexes what a collection holds; they are there when this returns."""
    from pymilvus.exceptions import MilvusException

    index = config.index
    params = client.prepare_index_params()
    params.add_index(vector, index_type=index.type, metric_type=index.metric, params=index.build)
    params.add_index(
        Field.words,
        index_type="SPARSE_INVERTED_INDEX",
        metric_type="BM25",
        params={"bm25_k1": 1.5, "bm25_b": 0.75},  # as bm25.py
    )
    params.add_index(Field.id_hash, index_type="INVERTED")
    client.create_index(collection, params)
    quicker = client.prepare_index_params()
    quicker.add_index(Field.labels, index_type="INVERTED")
    with suppress(MilvusException):  # Milvus Lite has no index on arrays, and filters without
        client.create_index(collection, quicker)


def label(name: str, value: str) -> str:
    """A field of metadata and its value as one token without quotes, spaces and backslashes."""
    return f"{quote(name, safe='')}={quote(value, safe='')}"


def expression(filters: MetadataFilters) -> str:
    """Filters in Milvus's language; what users give occurs in it percent-encoded only."""
    clauses = []
    for name, values in wanted(filters):
        labels = json.dumps([label(name, value) for value in values])
        clauses.append(f"array_contains_any({Field.labels}, {labels})")
    return " and ".join(clauses)
