"""How quick Milvus Lite is beside an index folder, with random vectors over a corpus's passages.

python benchmarks/milvus_speed.py corpus.jsonl --passages 20000
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

from uniconv.data.beir import read_corpus, write_corpus
from uniconv.retrieval.interface import Index
from uniconv.retrieval.milvus_loading import index_in_milvus
from uniconv.types import Passage


@dataclass
class RandomVectors:
    """An encoder that costs nothing."""

    dimension: int
    fingerprint: str = "random"
    name: str = "random"

    def encode_passages(self, passages: Sequence[Passage]) -> np.ndarray:
        """Directions by chance, the same for the same passages."""
        seed = sum(passages[0].id.encode())
        random = np.random.default_rng(seed).standard_normal((len(passages), self.dimension))
        vectors = random / np.linalg.norm(random, axis=1, keepdims=True)
        return np.asarray(vectors, np.float32)


def milliseconds(work: Callable[[], object], times: int = 10) -> float:
    """The median, after one more that isn't counted."""
    work()
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return 1000 * median(taken)


def main() -> None:
    """Prints what loading and searches take."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--passages", type=int, default=20_000)
    parser.add_argument("--dimension", type=int, default=384)
    options = parser.parse_args()
    model = RandomVectors(options.dimension)
    with TemporaryDirectory() as name:
        place = Path(name)
        write_corpus(place / "corpus.jsonl", islice(read_corpus(options.corpus), options.passages))
        config = place / "lite.yaml"
        config.write_text("uri: lite.db\ncollection: lite\nindex: {type: FLAT}\n")
        print(index_in_milvus([place / "corpus.jsonl"], config, model, quiet=True))
        query = np.ones((1, options.dimension), np.float32)
        for called, path in (("Milvus Lite", config), ("folder", place / "lite-build")):
            index = Index.open(path)
            dense = milliseconds(lambda index=index: index.search(query, 10))  # type: ignore[misc]
            words = milliseconds(lambda index=index: index.search_text(["river bridge"], 10))  # type: ignore[misc]
            print(f"{called}: vectors {dense:.1f} ms, words {words:.1f} ms")


if __name__ == "__main__":
    main()
