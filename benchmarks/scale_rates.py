"""What benchmarks/scale.py measures on this machine: the rates, and real runs to check them by."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from math import isqrt
from pathlib import Path
from statistics import median
from typing import Any

import faiss
import numpy as np

import scale_model as laws
from scale_model import Rates, Shape
from uniconv.model import UniConv
from uniconv.retrieval.approximate import build_vector_index
from uniconv.retrieval.bm25 import BM25, passage_text
from uniconv.retrieval.building import build_index
from uniconv.retrieval.interface import Index
from uniconv.retrieval.store import PassageStore
from uniconv.retrieval.vectors import VECTOR_FILE, Floats
from uniconv.types import Passage

SEARCHES = 100
_FIRST, _SECOND = 20_000, 60_000  # vectors from which the laws of IVF are fitted


@contextmanager
def clock(seconds: list[float]) -> Iterator[None]:
    """Appends what the block took."""
    started = time.perf_counter()
    yield
    seconds.append(time.perf_counter() - started)


def shape_of(model: UniConv) -> Shape:
    """The shape of a loaded model."""
    return Shape.of(model.lm.config)


def sample(corpus: Path, count: int, first: int | None = None) -> list[Passage]:
    """Passages drawn from the ``first`` of a BEIR corpus, or from all of it; in its order."""
    with corpus.open(encoding="utf-8") as file:
        rows = sum(1 for _ in islice(file, first))
    chosen = set(random.Random(0).sample(range(rows), min(count, rows)))
    with corpus.open(encoding="utf-8") as file:
        lines = (json.loads(line) for row, line in enumerate(islice(file, rows)) if row in chosen)
        return [Passage(line["_id"], line["text"], line.get("title", "")) for line in lines]


def mean_tokens(model: UniConv, passages: Sequence[Passage]) -> float:
    """Tokens that a passage has on average, as the model reads it."""
    return float(np.mean([len(model.template.passage(one)) for one in passages]))


def measure(corpus: Path, model: UniConv, work: Path, encoded: int = 2048) -> Rates:
    """The rates, from a sample of the corpus and from random vectors; a minute or two."""
    passages = sample(corpus, 10 * encoded)
    some = passages[::10][:encoded]
    model.encode_passages(some[:64])
    times: list[float] = []
    with clock(times):
        model.encode_passages(some)
    shape = shape_of(model)
    operations = sum(shape.reading(len(model.template.passage(one))) for one in some)
    text = _text(passages, work / "text")
    vectors = _vectors(shape.dimension, work)
    return Rates(operations / times[0], **text, **vectors)


def _text(passages: Sequence[Passage], work: Path) -> dict[str, float]:
    """Reading and BM25, of one passage."""
    work.mkdir(parents=True)
    source = work / "corpus.jsonl"
    with source.open("w", encoding="utf-8") as file:
        for one in passages:
            row = {"_id": one.id, "title": one.title, "text": one.text}
            file.write(json.dumps(row) + "\n")
    times: list[float] = []
    with clock(times):
        store = PassageStore.write(work / "store", (_passage(line) for line in source.open()))
    with clock(times):
        BM25.build((passage_text(one) for one in store), work / "bm25")
    count = len(passages)
    return {
        "read": times[0] / count,
        "bm25": times[1] / count,
        "text_bytes": size_of(work / "store") / count,
        "bm25_bytes": size_of(work / "bm25") / count,
    }


def _passage(line: str) -> Passage:
    row = json.loads(line)
    return Passage(row["_id"], row["text"], row["title"])


def _vectors(dimension: int, work: Path) -> dict[str, float]:
    """Building, from the larger of two sizes, and searching, from both."""
    counts = (_FIRST, _SECOND)
    made = [_built(count, dimension, work / f"vectors-{count}") for count in counts]
    ivf_start, ivf_rate = _line(
        [laws.probing_work(n, dimension) for n in counts], [one.ivf for one in made]
    )
    exact_start, exact = _line([n * dimension for n in counts], [one.exact for one in made])
    return {
        "train": made[1].train / laws.training_work(_SECOND, dimension),
        "add": made[1].add / laws.adding_work(_SECOND, dimension),
        "exact": exact,
        "exact_start": exact_start,
        "ivf": ivf_rate,
        "ivf_start": ivf_start,
    }


def _line(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Where the line through two points begins, not below 0, and how it rises."""
    rise = max(0.0, (y[1] - y[0]) / (x[1] - x[0]))
    begin = y[0] - rise * x[0]
    return (begin, rise) if begin >= 0 else (0.0, y[1] / x[1])


@dataclass(frozen=True, slots=True)
class _Built:
    """Seconds to train IVF's lists, to fill them, and of a search in them and through all."""

    train: float
    add: float
    ivf: float
    exact: float


def _built(count: int, dimension: int, folder: Path) -> _Built:
    """With random vectors."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((count, dimension), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    np.save(folder / VECTOR_FILE, vectors)
    exact = search_seconds(build_vector_index(folder, exact_below=count), vectors)
    whole: list[float] = []
    with clock(whole):
        index = build_vector_index(folder, exact_below=0)
    lists = isqrt(count)
    quantiser: Any = faiss.IndexFlatIP(dimension)
    quantiser.add(vectors[:lists])
    filling: list[float] = []
    with clock(filling):
        quantiser.search(vectors, 1)  # what filling takes: finding the nearest list of each
    add = min(filling[0], whole[0])
    return _Built(whole[0] - add, add, search_seconds(index, vectors), exact)


def search_seconds(index: Any, queries: Floats, k: int = 10) -> float:
    """The median of single searches."""
    times: list[float] = []
    for row in range(SEARCHES):
        with clock(times):
            index.search(queries[row : row + 1], k)
    return median(times[5:])


def size_of(folder: Path) -> int:
    """Bytes of the files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


@dataclass(frozen=True, slots=True)
class Run:
    """A real index: its passages, how many of them were encoded now, and what was seen.

    Seconds of encoding and of all else, of one search, and bytes on disk.
    """

    passages: int
    encoded: int
    tokens: float
    encoding: float
    rest: float
    search: float
    disk: int


class _Timed:
    """A model whose encoding is timed apart."""

    def __init__(self, model: UniConv) -> None:
        self._model = model
        self.times: list[float] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def encode_passages(self, passages: Sequence[Passage]) -> Floats:
        with clock(self.times):
            return self._model.encode_passages(passages)


def build(corpus: Path, sizes: Iterable[int], model: UniConv, work: Path) -> Iterator[Run]:
    """Indexes the first passages of a corpus, size after size, into one folder: like a collection
    that grows, each run encodes what is new and makes everything else again."""
    for size in sorted(sizes):
        part = work / "part.jsonl"
        with corpus.open(encoding="utf-8") as file:
            part.write_text("".join(islice(file, size)), encoding="utf-8")
        timed = _Timed(model)
        whole: list[float] = []
        with clock(whole):
            report = build_index([part], work / "index", timed, quiet=False)
        index = Index.open(work / "index")
        drawn = np.random.default_rng(0).permutation(len(index))[:SEARCHES]
        queries = index.vectors_at(drawn.tolist())
        yield Run(
            report.passages,
            report.encoded,
            mean_tokens(model, sample(corpus, 1000, first=size)),
            sum(timed.times),
            whole[0] - sum(timed.times),
            search_seconds(index, queries),
            size_of(work / "index"),
        )
