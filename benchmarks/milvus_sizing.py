"""How much memory and disk a collection in Milvus takes: the tables of docs/milvus.md.

    python benchmarks/milvus_sizing.py

Everything is arithmetic on bytes per passage; the constants say where they come from.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

PASSAGES = (1_000_000, 25_000_000, 54_000_000)
DIMENSIONS = (384, 1024, 4096)

TEXT = 651
"""Bytes of title and text: the mean of every twentieth of 236,000 Wikipedia passages."""
TERMS = 57
"""Different words of a passage without stop words, of the same passages."""
STORED = 2 * 25 + 120
"""Bytes of a title once more and an id, and of metadata, as JSON and as labels."""
KEYS = 100
"""Bytes in memory for the primary key, the hash of the id and their indexes, labels and times."""
GRAPH = 144
"""Bytes of HNSW's links with M = 16: faiss writes this much beside a vector (20,000 vectors)."""
POSTING = 8
"""Bytes of a word in a passage in BM25's index: a row and a weight."""
DISKANN = 0.125 + 0.1
"""Parts of the vectors that DiskANN keeps in memory: codes and a cache, as Milvus sets them."""
DEGREE = 56
"""DiskANN's links of a vector on disk, 4 bytes each, as Milvus sets them."""
USABLE = 0.9
"""Of the memory of query nodes; Milvus loads no more."""
NODE = 64
"""GiB of memory of a query node in the tables."""
ROWS_PER_SHARD = 50_000_000
"""Milvus's makers advise one shard for 50 to 200 million rows."""


def index_bytes(kind: str, dimension: int) -> float:
    """Bytes of memory that the index of a vector takes."""
    return {
        "HNSW": 4 * dimension + GRAPH,
        "HNSW_SQ": dimension + GRAPH,
        "IVF_SQ8": dimension + 8,
        "DISKANN": DISKANN * 4 * dimension,
    }[kind]


def memory(kind: str, passages: int, dimension: int) -> float:
    """GiB that the query nodes need together, for one copy of the collection."""
    each = index_bytes(kind, dimension) + TERMS * POSTING + KEYS
    return passages * each / USABLE / 2**30


def storage(passages: int, dimension: int) -> float:
    """GiB in object storage: rows, words, and an index that holds the vectors once more."""
    row = 4 * dimension + TEXT + STORED + TERMS * POSTING
    return passages * (row + 4 * dimension + GRAPH + TERMS * POSTING) / 2**30


def mapped(kind: str, passages: int, dimension: int) -> float:
    """GiB on the disks of query nodes: texts, and DiskANN's vectors and links."""
    graph = 4 * dimension + 4 * DEGREE if kind == "DISKANN" else 0
    return passages * (TEXT + STORED + graph) / 2**30


def folder(passages: int, dimension: int) -> float:
    """GiB of the folder while it is made: passages, shards of vectors, and these put together."""
    return passages * (2 * 4 * dimension + TEXT + STORED) / 2**30


def rounded(gib: float) -> str:
    """Three digits are more than an estimate has."""
    return f"{gib:.1f}" if gib < 10 else f"{gib:,.0f}"


def tables() -> Iterator[str]:
    """Two tables in Markdown, line by line."""
    kinds = ("HNSW", "HNSW_SQ", "IVF_SQ8", "DISKANN")
    yield f"| passages | dimensions | {' | '.join(kinds)} | {NODE}-GiB nodes: HNSW, HNSW_SQ |"
    yield "|---:|---:|" + "---:|" * (len(kinds) + 1)
    for count in PASSAGES:
        for dimension in DIMENSIONS:
            needed = [memory(kind, count, dimension) for kind in kinds]
            nodes = ", ".join(str(ceil(needed[place] / NODE)) for place in (0, 1))
            cells = " | ".join(map(rounded, needed))
            yield f"| {count // 10**6} M | {dimension:,} | {cells} | {nodes} |"
    yield ""
    yield "| passages | dimensions | object storage | query nodes' disks: texts | with DISKANN | folder while made | shards |"  # noqa: E501
    yield "|---:|---:|---:|---:|---:|---:|---:|"
    for count in PASSAGES:
        for dimension in DIMENSIONS:
            cells = " | ".join(
                rounded(gib)
                for gib in (
                    storage(count, dimension),
                    mapped("HNSW", count, dimension),
                    mapped("DISKANN", count, dimension),
                    folder(count, dimension),
                )
            )
            shards = ceil(count / ROWS_PER_SHARD)
            yield f"| {count // 10**6} M | {dimension:,} | {cells} | {shards} |"


if __name__ == "__main__":
    print("\n".join(tables()))
