from __future__ import annotations

import tempfile
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from retrieval_fixtures import passages

from uniconv.retrieval import store as module
from uniconv.retrieval.store import DuplicateIdError, PassageStore, digest
from uniconv.types import Passage

texts = st.text(st.characters(codec="utf-8"), max_size=20)
corpora = st.lists(
    st.builds(
        Passage,
        id=texts,
        text=texts,
        title=texts,
        metadata=st.dictionaries(texts, texts, max_size=2),
    ),
    unique_by=lambda passage: passage.id,
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(corpora)
def test_what_is_written_is_read(corpus):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BATCH_ROWS", 3)
        PassageStore.write(folder, corpus)
        store = PassageStore(folder)
        assert list(store) == corpus
        assert [store[row] for row in range(len(store))] == corpus
        assert [store.row(passage.id) for passage in corpus] == list(range(len(corpus)))
        assert [bytes(one) for one in store.digests()] == [digest(one) for one in corpus]


def test_rows_cross_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BATCH_ROWS", 4)
    corpus = passages(11)
    store = PassageStore.write(tmp_path, iter(corpus))
    assert list(store.rows(3, 9)) == corpus[3:9]
    assert list(store.rows(5, 5)) == []


def test_unknown_ids_and_rows(tmp_path):
    store = PassageStore.write(tmp_path, passages(3))
    assert store.row("p7") is None
    with pytest.raises(IndexError, match="row 3 of a store of 3"):
        store[3]


def test_ids_whose_hashes_collide_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "id_hash", lambda id: len(id))
    store = PassageStore.write(tmp_path, passages(10))
    assert [store.row(f"p{n}") for n in range(10)] == list(range(10))
    assert store.row("p?") is None


@pytest.mark.parametrize("collide", [False, True])
def test_a_duplicate_id_names_both_rows(tmp_path, monkeypatch, collide):
    if collide:
        monkeypatch.setattr(module, "id_hash", lambda _: 1)
    corpus = passages(6)
    corpus[4] = replace(corpus[4], id="p1")
    with pytest.raises(DuplicateIdError, match="'p1' is used twice, by passages 2 and 5") as error:
        PassageStore.write(tmp_path, corpus)
    assert error.value.rows == (1, 4)


def test_the_digest_sees_title_and_text_and_where_they_part():
    one = Passage("a", "bc", "a")
    assert digest(one) == digest(Passage("z", "bc", "a", {"x": "y"}))
    assert len({digest(one), digest(Passage("a", "c", "ab")), digest(Passage("a", "bd", "a"))}) == 3


def test_an_open_store_survives_the_removal_of_its_files(tmp_path):
    store = PassageStore.write(tmp_path, passages(50))
    for path in tmp_path.iterdir():
        path.unlink()
    assert store[49].id == "p49"
    assert store.row("p20") == 20


def test_an_empty_store(tmp_path):
    store = PassageStore.write(tmp_path, [])
    assert (len(store), list(store), store.row("x")) == (0, [], None)
    assert store.digests().shape == (0,)
    assert store.digests().dtype == np.dtype("V16")
