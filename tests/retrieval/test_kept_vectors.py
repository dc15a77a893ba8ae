"""Indexes that keep less of their vectors: made, updated, searched, mined and answered from."""

from __future__ import annotations

import json

import numpy as np
import pytest
from retrieval_fixtures import DIMENSION, FakeEncoder, passages

from tiny import tiny_uniconv
from uniconv.data.beir import write_corpus
from uniconv.errors import IndexFolderError, UniConvError
from uniconv.retrieval.building import build_index, update_index
from uniconv.retrieval.candidates import ByModel, Query
from uniconv.retrieval.documents import SourceFile
from uniconv.retrieval.index import VERSIONS
from uniconv.retrieval.interface import Index
from uniconv.retrieval.quantisation import VectorSettings
from uniconv.retrieval.sharing import encode_share, merge_index, prepare_index
from uniconv.search import ConversationalSearch, SearchSettings
from uniconv.types import Conversation

CORPUS = passages(60)
HOW = [(8, "int8"), (8, "binary"), (None, "int8"), (8, "float32")]


@pytest.fixture
def corpus(tmp_path):
    write_corpus(tmp_path / "corpus.jsonl", CORPUS)
    return tmp_path / "corpus.jsonl"


def build(source, out, dimensions=None, vectors=None, **options):
    encoder = FakeEncoder()
    build_index(
        [source], out, encoder, dimensions=dimensions, vectors=vectors, quiet=True, **options
    )
    return len(encoder.encoded)


def files(index):
    here = index.folder / VERSIONS / index.version
    return {path.name: path.read_bytes() for path in here.iterdir() if path.suffix == ".npy"}


def shortened(vectors, dimensions):
    part = vectors[:, :dimensions]
    return part / np.linalg.norm(part, axis=1, keepdims=True)


@pytest.mark.parametrize(("dimensions", "vectors"), HOW)
def test_an_index_remembers_how_it_keeps_vectors(corpus, tmp_path, dimensions, vectors):
    out = tmp_path / "index"
    assert build(corpus, out, dimensions, vectors) == 60
    index = Index.open(out)
    assert index.manifest.vectors == VectorSettings(dimensions, vectors)
    assert index.kept == {"dimensions": dimensions, "storage": vectors}
    assert build(corpus, out) == 0
    assert Index.open(out).version == index.version
    write_corpus(corpus, [*CORPUS[5:], *passages(2, "new")])
    assert build(corpus, out, rows_per_shard=7) == 2
    assert build(corpus, tmp_path / "fresh", dimensions, vectors) == 57
    assert files(Index.open(out)) == files(Index.open(tmp_path / "fresh"))

    added = tmp_path / "note.txt"
    added.write_text("A note.")
    update_index(out, FakeEncoder(), add=[SourceFile(added, "note.txt")])
    index = Index.open(out)
    assert index.manifest.vectors == VectorSettings(dimensions, vectors)
    assert len(index) == 58
    expected = shortened(FakeEncoder().encode_passages(list(index.store)), dimensions)
    np.testing.assert_allclose(index.vectors[:], expected, atol=0.01)


@pytest.mark.parametrize("exact_below", [10, 1000])
@pytest.mark.parametrize(("dimensions", "vectors"), HOW)
def test_whole_embeddings_search_it(corpus, tmp_path, dimensions, vectors, exact_below):
    build(corpus, tmp_path / "index", dimensions, vectors, exact_below=exact_below)
    index = Index.open(tmp_path / "index")
    assert index.exact == (exact_below == 1000)
    assert index.dimension == DIMENSION
    embeddings = FakeEncoder().encode_passages(CORPUS)
    for asked in (embeddings[:5], embeddings[20:]):
        for number, ranking in enumerate(index.search(asked, 3), 0 if len(asked) == 5 else 20):
            assert ranking[0].passage == CORPUS[number]
            assert ranking[0].score == pytest.approx(1, abs=0.01)
    assert index.vectors_at(range(7)).shape == (7, dimensions or DIMENSION)
    with pytest.raises(ValueError, match=r"shape \(1, 8\); expected \[n, 16\]"):
        index.search(np.ones((1, 8), np.float32), 1)


def test_less_is_kept_of_an_index_without_encoding_it_again(corpus, tmp_path):
    out = tmp_path / "index"
    build(corpus, out)
    assert build(corpus, out, 8, "int8") == 0
    assert build(corpus, tmp_path / "fresh", 8, "int8") == 60
    assert files(Index.open(out)) == files(Index.open(tmp_path / "fresh"))
    assert build(corpus, out, vectors="binary") == 0  # of the same bytes
    assert Index.open(out).manifest.vectors == VectorSettings(8, "binary")
    assert build(corpus, out, DIMENSION, "float32") == 60
    assert Index.open(out).manifest.vectors == VectorSettings()


def test_several_processes_make_the_same(corpus, tmp_path):
    out, encoder = tmp_path / "index", FakeEncoder()
    how = {"dimensions": 8, "vectors": "binary"}
    prepare_index([corpus], out, encoder, rows_per_shard=16, **how, quiet=True)
    for share in range(2):  # a job that names the sources, and not how vectors are kept
        prepare_index([corpus], out, encoder, replace=False, quiet=True)
        encode_share(out, encoder, share, 2, quiet=True)
    merge_index(out, quiet=True)
    build(corpus, tmp_path / "alone", **how)
    assert files(Index.open(out)) == files(Index.open(tmp_path / "alone"))
    assert prepare_index([corpus], out, encoder, quiet=True) is None
    with pytest.raises(IndexFolderError, match="vectors kept otherwise"):
        prepare_index([corpus], out, encoder, dimensions=4, quiet=True)
        prepare_index([corpus], out, encoder, dimensions=5, replace=False, quiet=True)


def test_an_index_of_before_keeps_everything(corpus, tmp_path):
    build(corpus, tmp_path / "index")
    (path,) = (tmp_path / "index" / VERSIONS).glob("*/manifest.json")
    manifest = json.loads(path.read_text())
    del manifest["vectors"]
    path.write_text(json.dumps(manifest))
    assert Index.open(tmp_path / "index").manifest.vectors == VectorSettings()
    assert build(corpus, tmp_path / "index") == 0


@pytest.mark.parametrize("dimensions", [0, DIMENSION + 1])
def test_more_dimensions_than_there_are(corpus, tmp_path, dimensions):
    with pytest.raises(UniConvError, match=f"have {DIMENSION}, of which 1 to {DIMENSION} can be"):
        build(corpus, tmp_path / "index", dimensions)


@pytest.mark.parametrize("name", ["vectors.npy", "scales.npy", "bits.faiss"])
@pytest.mark.parametrize("harm", ["removed", "cut"])
def test_a_part_is_damaged(corpus, tmp_path, name, harm):
    build(corpus, tmp_path / "index", 8, "binary")
    (path,) = (tmp_path / "index" / VERSIONS).glob(f"*/{name}")
    if harm == "removed":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(IndexFolderError, match="the index is damaged"):
        Index.open(tmp_path / "index")


def test_answers_and_negatives_come_from_it(corpus, tmp_path):
    model = tiny_uniconv()
    build_index([corpus], tmp_path / "index", model, dimensions=12, vectors="int8", quiet=True)
    index = Index.open(tmp_path / "index")
    context = Conversation.start("Which text has the number 7?")
    embedding = model.encode_conversations([context])
    cosines = (shortened(embedding, 12) @ shortened(model.encode_passages(CORPUS), 12).T)[0]

    settings = SearchSettings(retriever="dense", retrieve=60, max_new_tokens=4)
    search = ConversationalSearch(model, index, settings)
    answer = search.stream(context)
    assert len(answer.passages) == 60
    for one in answer.passages:
        assert one.score == pytest.approx(cosines[CORPUS.index(one.passage)], abs=0.02)
    assert answer.confidence == pytest.approx(max(cosines), abs=0.02)

    query = Query("q", context, ("p3",))
    (ranking,) = ByModel(index, model, hybrid=False).rank([query], 5)
    assert ranking.positive == pytest.approx(cosines[3], abs=0.02)
    assert len(ranking.candidates) == 5
