"""Quality, size and speed of the ways to keep vectors, from an index that has them whole.

    python benchmarks/vectors.py INDEX CONVERSATIONS [--dimensions 256 128] [--exact]

Every way is made of the index's vectors in a folder of its own, without the passages, and searched
by a fresh process, which tells what of the files is in its memory afterwards.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import numpy as np

from uniconv.evaluation.retrieval import queries_of, without_own
from uniconv.evaluation.retrieval_metrics import retrieval_metrics
from uniconv.model import UniConv
from uniconv.retrieval.approximate import build_vector_index, open_vector_index
from uniconv.retrieval.index import FolderIndex
from uniconv.retrieval.quantisation import Storage, VectorSettings, write_kept
from uniconv.retrieval.vectors import EXACT_BELOW, VECTOR_FILE, Floats, Rows, block_search

BLOCK = 16_384
DEPTH = 100
TIMED = 100
"""Queries that are asked one by one."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("index", type=Path)
    parser.add_argument("conversations", type=Path)
    parser.add_argument("--dimensions", type=int, nargs="+", help="all by default")
    parser.add_argument(
        "--storage", nargs="+", choices=get_args(Storage), default=get_args(Storage)
    )
    parser.add_argument(
        "--exact", action="store_true", help="compare all vectors above 100,000 too"
    )
    arguments = parser.parse_args()
    index = FolderIndex.open(arguments.index)
    if index.manifest.vectors != VectorSettings():
        parser.error("the index must have whole vectors as float32")
    contexts, qrels = queries_of(arguments.conversations, None)
    queries = UniConv.from_pretrained(index.model_name).encode_conversations(
        list(contexts.values())
    )
    _, expected = block_search(queries, index.vectors, 10)
    exact_below = len(index) if arguments.exact else EXACT_BELOW
    for dimensions in arguments.dimensions or [index.dimension]:
        for storage in arguments.storage:
            how = VectorSettings().changed(index.dimension, dimensions, storage)
            found, row = measured(index, queries, how, exact_below)
            ids = [[index.store[int(place)].id for place in places] for places in found["rows"]]
            run = {
                query: dict(zip(ids[n], found["scores"][n].tolist(), strict=True))
                for n, query in enumerate(contexts)
            }
            values = retrieval_metrics(qrels, without_own(run, contexts, qrels)).values()
            for measure in ("ndcg@3", "recall@10", "recall@100"):
                row[measure] = round(float(np.mean([one[measure] for one in values])), 4)
            same = [len({*a} & {*b}) for a, b in zip(found["rows"][:, :10], expected, strict=True)]
            row["same of exact top 10"] = round(float(np.mean(same)) / expected.shape[1], 4)
            print(json.dumps({"dimensions": dimensions, "storage": storage, **row}), flush=True)


def measured(
    index: FolderIndex, queries: Floats, how: VectorSettings, exact_below: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What one way finds, and what it costs: bytes a passage, seconds and milliseconds of CPU."""
    rows = len(index)
    with TemporaryDirectory() as name:
        folder = Path(name)
        started = time.process_time()
        blocks = (np.asarray(index.vectors[n : n + BLOCK]) for n in range(0, rows, BLOCK))
        write_kept(folder, rows, index.dimension, blocks, how)
        build_vector_index(folder, how.storage, exact_below=exact_below)
        seconds = time.process_time() - started
        disk = {path.name: path.stat().st_size for path in folder.iterdir()}
        with ProcessPoolExecutor(1, get_context("spawn")) as fresh:
            found = fresh.submit(search, folder, how, queries).result()
    resident = found["resident"]
    return found, {
        "disk": round(sum(disk.values()) / rows, 1),
        "searched": round((sum(resident.values()) - resident.get(VECTOR_FILE, 0)) / rows, 1),
        "kept, in memory": round(resident.get(VECTOR_FILE, 0) / rows, 1),
        "seconds to make": round(seconds, 1),
        "ms": round(found["ms"], 2),
    }


def search(folder: Path, how: VectorSettings, queries: Floats) -> dict[str, Any]:
    """In a process of its own: scores, rows, median milliseconds of CPU, and resident bytes."""
    before = dict(resident(folder))
    index = open_vector_index(folder, how.storage)
    cut = how.cut(queries)
    index.search(cut[:1], DEPTH)
    times = []
    for query in cut[:TIMED]:
        started = time.process_time()
        index.search(query[None], DEPTH)
        times.append(time.process_time() - started)
    alone = dict(resident(folder))  # a batch would read blocks of its own into memory
    scores, rows = _all(index.search(cut, DEPTH))
    found = {name: size - before.get(name, 0) for name, size in alone.items()}
    milliseconds = float(np.median(times)) * 1e3
    return {"scores": scores, "rows": rows, "ms": milliseconds, "resident": found}


def _all(found: tuple[Floats, Rows]) -> tuple[Floats, Rows]:
    scores, rows = found
    if (rows < 0).any():
        raise SystemExit(f"fewer than {DEPTH} passages were found for a query")
    return scores, rows


def resident(folder: Path) -> Iterator[tuple[str, int]]:
    """Bytes of memory by file of the folder, and of what is of no file (``anonymous``)."""
    sizes: dict[str, int] = {}
    name = None
    for line in Path("/proc/self/smaps").read_text().splitlines():
        key, _, rest = line.partition(" ")
        if not key.endswith(":"):
            path = line.split(maxsplit=5)[5:]
            inside = path and path[0].startswith(str(folder))
            name = Path(path[0]).name if inside else None if path else "anonymous"
        elif key == "Rss:" and name is not None:
            sizes[name] = sizes.get(name, 0) + int(rest.split()[0]) * 1024
    yield from sizes.items()


if __name__ == "__main__":
    main()
