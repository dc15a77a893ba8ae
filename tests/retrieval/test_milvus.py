"""What is Milvus's own: loading that goes on, the switch of the alias, search parameters.

What it shares with an index folder is in test_index_contract.py.
"""

from __future__ import annotations

import threading

import numpy as np
import pytest
from retrieval_fixtures import DIMENSION, FakeEncoder

from uniconv.config.milvus import load_milvus
from uniconv.errors import ConfigError, IndexFolderError
from uniconv.retrieval.building import build_index
from uniconv.retrieval.interface import Index
from uniconv.types import Passage

pytest.importorskip("pymilvus", reason="needs uniconv[milvus]")
pytest.importorskip("milvus_lite", reason="needs uniconv[milvus]")

from milvus_place import CORPUS, nearest

from uniconv.retrieval import milvus_loading
from uniconv.retrieval.milvus_loading import NOTE, index_in_milvus, load_in_milvus


class Stop(Exception):
    """In place of a process that is killed."""


@pytest.mark.parametrize("moment", ["before it is sent", "after it was sent"])
def test_a_stopped_loading_goes_on(place, monkeypatch, moment):
    monkeypatch.setattr(milvus_loading, "SHARD_ROWS", 8)
    client, sent = place.client, []
    insert = type(client).insert

    def stop_at_the_third(self, collection, rows, **options):
        if len(sent) == 2 and moment == "before it is sent":
            raise Stop
        insert(self, collection, rows, **options)
        sent.append([row["row"] for row in rows])
        if len(sent) == 3:
            raise Stop

    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(type(client), "insert", stop_at_the_third)
        place.index(CORPUS)
    with pytest.raises(IndexFolderError, match="has no collection"):
        Index.open(place.path)

    model = FakeEncoder()
    report = place.index(CORPUS, model)
    assert (report.passages, report.loaded, model.calls) == (40, 24, [])
    index = Index.open(place.path)
    assert index.count({"n": [str(n) for n in range(40)]}) == 40
    assert index.passages_at(range(40)) == CORPUS
    np.testing.assert_array_equal(index.vectors_at(range(40)), model.encode_passages(CORPUS))
    assert not (load_milvus(place.path).built / NOTE).exists()
    assert place.index(CORPUS).loaded == 0


def test_passages_that_got_lost_are_noticed(place, monkeypatch):
    monkeypatch.setattr(milvus_loading, "SHARD_ROWS", 8)
    insert = type(place.client).insert

    def lose_one(self, collection, rows, **options):
        insert(self, collection, [row for row in rows if row["row"] != 20], **options)

    with monkeypatch.context() as patch:
        patch.setattr(type(place.client), "insert", lose_one)
        with pytest.raises(IndexFolderError, match="holds 39 passages after loading 40"):
            place.index(CORPUS)
    assert place.index(CORPUS).loaded == 40


def test_a_message_is_bounded_in_bytes(place, monkeypatch):
    monkeypatch.setattr(milvus_loading, "MESSAGE_BYTES", 1000)
    sizes, insert = [], type(place.client).insert

    def count(self, collection, rows, **options):
        sizes.append(len(rows))
        insert(self, collection, rows, **options)

    monkeypatch.setattr(type(place.client), "insert", count)
    place.index(CORPUS)
    assert sum(sizes) == 40
    assert max(sizes) < 12


def test_a_reader_goes_over_to_the_new_collection(place):
    place.index(CORPUS)
    (before,) = place.collections()
    theirs = f"{place.name}_{'0' * 16}"  # looks like an old version, and isn't one
    place.client.create_collection(theirs, dimension=4)
    reader, failed, stop, searches = Index.open(place.path), [], threading.Event(), []

    def read():
        while not stop.is_set():
            try:
                assert nearest(reader, CORPUS[1]) == CORPUS[1]
                searches.append(1)
            except BaseException as error:
                failed.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    new = Passage("new", "A passage that came later.")
    try:
        report = place.index([*CORPUS[1:], new])
    finally:
        stop.set()
        thread.join()
    assert not failed
    assert len(searches) > 10
    assert nearest(reader, new) == new
    assert reader.passage("p0") is None
    assert sorted(place.collections()) == sorted([report.collection, theirs])
    assert report.collection != before
    assert report.built.encoded == 1


def test_a_collection_that_was_released_is_loaded_again(place):
    place.index(CORPUS)
    index = Index.open(place.path)
    place.client.release_collection(place.name)
    assert nearest(index, CORPUS[2]) == CORPUS[2]
    assert len(index.search_text(["number"], 3)[0]) == 3


def test_another_indexing_is_another_collection(place):
    before = place.index(CORPUS)
    place.configure(index={"type": "HNSW", "build": {"M": 8}, "search": {"ef": 4}})
    after = load_in_milvus(place.path, quiet=True)
    assert (after.loaded, after.collection != before.collection) == (40, True)
    index = Index.open(place.path)
    assert not index.exact
    assert len(index.search(FakeEncoder().encode_passages(CORPUS[:1]), 30)[0]) == 30


def test_search_parameters_reach_milvus(place, monkeypatch):
    place.configure(index={"type": "HNSW", "search": {"ef": 7, "radius": 0.5}})
    place.index(CORPUS)
    index, asked, search = Index.open(place.path), [], type(place.client).search

    def record(self, *arguments, **options):
        asked.append(options["search_params"]["params"])
        return search(self, *arguments, **options)

    monkeypatch.setattr(type(place.client), "search", record)
    for k in (2, 30):  # Milvus refuses an ef below k
        index.search(np.ones((1, DIMENSION), np.float32), k)
    assert asked == [{"ef": 7, "radius": 0.5}, {"ef": 30, "radius": 0.5}]
    with pytest.raises(ConfigError, match="16384 passages at most, not 20000"):
        index.search(np.ones((1, DIMENSION), np.float32), 20_000)


def test_many_queries_come_in_replies_of_bounded_size(place, monkeypatch):
    place.index(CORPUS)
    monkeypatch.setattr("uniconv.retrieval.milvus._REPLY", 10)
    monkeypatch.setattr("uniconv.retrieval.milvus._KEYS", 3)
    index = Index.open(place.path)
    found = index.search(FakeEncoder().encode_passages(CORPUS), 4)
    assert [ranking[0].passage for ranking in found] == CORPUS
    assert list(index.find([one.id for one in CORPUS]).values()) == CORPUS


def test_a_collection_of_another_model_is_refused(place):
    place.index(CORPUS)
    reader = Index.open(place.path)
    place.index(CORPUS, FakeEncoder(fingerprint="fake-2"))
    with pytest.raises(IndexFolderError, match=r"of another model .* open the index again"):
        nearest(reader, CORPUS[0])
    with pytest.raises(IndexFolderError, match="made by another model"):
        Index.open(place.path).check_model(FakeEncoder())


def test_the_same_files_have_the_same_identity(place, tmp_path):
    place.index(CORPUS)
    build_index([place.corpus], tmp_path / "folder", FakeEncoder(), quiet=True)
    assert Index.open(place.path).identity == Index.open(tmp_path / "folder").identity


def test_vectors_that_are_cut_and_kept_as_bytes(place):
    place.index(CORPUS)
    index_in_milvus(
        [place.corpus], place.path, FakeEncoder(), dimensions=12, vectors="int8", quiet=True
    )
    index, folder = Index.open(place.path), Index.open(load_milvus(place.path).built)
    asked = np.random.default_rng(0).standard_normal((5, DIMENSION)).astype(np.float32)
    np.testing.assert_allclose(index.cut(asked), folder.cut(asked))
    np.testing.assert_allclose(index.vectors_at([3, 1]), folder.vectors_at([3, 1]), atol=1e-6)
    for ours, theirs in zip(index.search(asked, 4), folder.search(asked, 4), strict=True):
        assert [one.passage for one in ours] == [one.passage for one in theirs]
        assert [one.score for one in ours] == pytest.approx([one.score for one in theirs], abs=1e-5)
