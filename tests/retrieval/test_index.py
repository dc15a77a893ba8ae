from __future__ import annotations

import json
import threading

import numpy as np
import pytest
from retrieval_fixtures import DIMENSION, FakeEncoder, passages

from tiny import tiny_uniconv
from uniconv.data.beir import write_corpus
from uniconv.errors import IndexFolderError
from uniconv.retrieval.building import build_index
from uniconv.retrieval.index import POINTER, VERSIONS
from uniconv.retrieval.interface import Index

CORPUS = passages(40)


@pytest.fixture
def folder(tmp_path):
    write_corpus(tmp_path / "corpus.jsonl", CORPUS)
    build_index([tmp_path / "corpus.jsonl"], tmp_path / "index", FakeEncoder(), quiet=True)
    return tmp_path / "index"


def ids(ranking):
    return [scored.passage.id for scored in ranking]


def test_search_finds_the_nearest(folder):
    index = Index.open(folder)
    asked = np.random.default_rng(0).standard_normal((20, DIMENSION)).astype(np.float32)
    products = asked @ FakeEncoder().encode_passages(CORPUS).T
    for embeddings, expected in ((asked, products), (asked[:1], products[:1])):
        for ranking, scores in zip(index.search(embeddings, 5), expected, strict=True):
            best = np.argsort(-scores)[:5]
            assert ids(ranking) == [CORPUS[row].id for row in best]
            assert [one.score for one in ranking] == pytest.approx(scores[best].tolist(), abs=1e-5)


def test_found_passages_are_whole(folder):
    index = Index.open(folder)
    (ranking,) = index.search(FakeEncoder().encode_passages(CORPUS[7:8]), 1)
    assert ranking[0].passage == CORPUS[7]
    assert ranking[0].score == pytest.approx(1)
    assert len(index) == 40


def test_search_by_words(folder):
    index = Index.open(folder)
    assert ids(index.search_text(["number 17"], 1)[0]) == ["p17"]
    assert [len(ranking) for ranking in index.search_text(["number", "unheard"], 50)] == [40, 0]


def test_the_edges_of_search(folder):
    index = Index.open(folder)
    assert index.search(np.empty((0, DIMENSION), np.float32), 3) == []
    assert len(index.search(np.ones((1, DIMENSION), np.float32), 100)[0]) == 40
    with pytest.raises(ValueError, match=r"shape \(1, 3\); expected \[n, 16\]"):
        index.search(np.ones((1, 3), np.float32), 1)
    with pytest.raises(ValueError, match="k must be 1 or more"):
        index.search(np.ones((1, DIMENSION), np.float32), 0)


def test_passages_by_id(folder):
    index = Index.open(folder)
    assert index.passage("p31") == CORPUS[31]
    assert index.passage("absent") is None


def test_another_model_is_refused(folder):
    index = Index.open(folder)
    index.check_model(FakeEncoder(name="moved"))
    assert (index.model_name, index.dimension) == ("fake", DIMENSION)
    with pytest.raises(IndexFolderError, match="made by another model"):
        index.check_model(FakeEncoder(fingerprint="fake-2"))


def test_there_is_no_index(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path, tmp_path / "absent", tmp_path / "file"):
        with pytest.raises(IndexFolderError, match="there is no index here; make one with"):
            Index.open(folder)


def test_the_format_is_not_known(folder):
    (folder / POINTER).write_text(json.dumps({"format": 99, "version": "x"}))
    with pytest.raises(IndexFolderError, match="has format 99, this version of uniconv knows 1"):
        Index.open(folder)


@pytest.mark.parametrize("pointer", ["", "[]", '{"format": 1}', "\x00"])
def test_the_pointer_is_damaged(folder, pointer):
    (folder / POINTER).write_text(pointer)
    with pytest.raises(IndexFolderError, match="is this an index folder"):
        Index.open(folder)


@pytest.mark.parametrize(
    "name",
    ["manifest.json", "passages.arrow", "ids.npy", "vectors.npy", "bm25/data.csc.index.npy"],
)
@pytest.mark.parametrize("harm", ["removed", "cut"])
def test_a_part_is_damaged(folder, name, harm):
    (path,) = (folder / VERSIONS).glob(f"*/{name}")
    if harm == "removed":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(IndexFolderError, match="the index is damaged"):
        Index.open(folder)


def test_threads_search_together(folder):
    index = Index.open(folder)
    asked = FakeEncoder().encode_passages(CORPUS)
    wrong = []

    def search(row):
        for _ in range(20):
            found = ids(index.search(asked[row : row + 1], 3)[0])
            words = ids(index.search_text([f"number {row}"], 1)[0])
            if found[0] != f"p{row}" or words != [f"p{row}"]:
                wrong.append((row, found, words))

    threads = [threading.Thread(target=search, args=(row,)) for row in range(10, 18)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_with_a_model(tmp_path):
    model = tiny_uniconv()
    write_corpus(tmp_path / "corpus.jsonl", CORPUS)
    build_index([tmp_path], tmp_path / "index", model, quiet=True)
    index = Index.open(tmp_path / "index")
    index.check_model(model)
    found = index.search(model.encode_passages(CORPUS[:5]), 1)
    assert [ranking[0].score for ranking in found] == pytest.approx([1] * 5, abs=1e-5)
