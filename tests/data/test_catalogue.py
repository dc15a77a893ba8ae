"""A converted folder leads to its passages, wherever they lie."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from uniconv.config import Source, located
from uniconv.data.beir import write_corpus
from uniconv.data.catalogue import CATALOGUE, convert
from uniconv.data.dataset import DataSet
from uniconv.types import Conversation, Passage, Turn

PASSAGES = [Passage("p", "text")]


@pytest.mark.parametrize("own", [True, False])
def test_a_folder_names_the_corpus_that_it_shares(
    own: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(source: Path, corpus: Path | None) -> DataSet:
        talks = [Conversation("c", (Turn("?", positives=("p",)),))]
        return DataSet({"train": talks}, [], PASSAGES if own else None)

    entry = next(iter(CATALOGUE.values()))
    monkeypatch.setitem(CATALOGUE, "tiny", replace(entry, read=read))
    shared = tmp_path / "wiki" / "corpus.jsonl"
    write_corpus(shared, PASSAGES)
    out = tmp_path / "sets" / "tiny"
    about = convert("tiny", tmp_path, out, shared)
    assert about["corpus"] == (None if own else "../../wiki/corpus.jsonl")
    (found,) = located(Source(set=out)).corpora
    assert found.resolve() == (out / "corpus.jsonl" if own else shared)
