"""What is told of Milvus when something is wrong, and that secrets stay secret."""

from __future__ import annotations

import sys

import pytest
from retrieval_fixtures import FakeEncoder

from uniconv.config.milvus import TOKEN_VARIABLE
from uniconv.errors import ConfigError, IndexFolderError, UniConvError
from uniconv.retrieval.building import build_index
from uniconv.retrieval.interface import Index
from uniconv.types import Passage

pytest.importorskip("pymilvus", reason="needs uniconv[milvus]")
pytest.importorskip("milvus_lite", reason="needs uniconv[milvus]")

from milvus_address import milvus_address
from milvus_place import CORPUS, Place, nearest

from uniconv.retrieval.milvus_loading import load_in_milvus


def test_a_server_with_a_token(tmp_path, monkeypatch):
    secret = "root:a-secret-of-mine"
    with milvus_address(tmp_path / "data", secret) as address:
        place = Place(tmp_path, address, "guarded")
        for wrong in ("root:wrong", ""):
            monkeypatch.setenv(TOKEN_VARIABLE, wrong)
            with pytest.raises(IndexFolderError, match=f"{address}: .* {TOKEN_VARIABLE}"):
                Index.open(place.path)
        monkeypatch.setenv(TOKEN_VARIABLE, secret)
        assert place.index(CORPUS).loaded == 40
        assert nearest(Index.open(place.path), CORPUS[3]) == CORPUS[3]
        place.client.create_collection("theirs", dimension=4)
        place.name = "theirs"
        place.configure()
        with pytest.raises(IndexFolderError, match="'theirs' was not made by uniconv"):
            place.index(CORPUS)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert written
    assert not any(b"a-secret-of-mine" in path.read_bytes() for path in written)


def test_a_server_that_is_not_there(tmp_path):
    place = Place(tmp_path, "http://127.0.0.1:9", "absent")
    model = FakeEncoder()
    with pytest.raises(IndexFolderError, match=r"http://127.0.0.1:9: Milvus can't be reached"):
        place.index(CORPUS, model)
    assert model.calls == []  # it is noticed before anything is encoded


def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / "no.db").write_text("text")
    with pytest.raises(IndexFolderError, match=r"no\.db: the Milvus Lite file can't be opened"):
        Place(tmp_path, "no.db", "broken").index(CORPUS)


def test_what_is_missing(place, tmp_path, monkeypatch):
    with pytest.raises(IndexFolderError, match=r"has no collection .* .uniconv index SOURCES"):
        Index.open(place.path)
    with pytest.raises(IndexFolderError, match="there is no index here"):
        load_in_milvus(place.path)
    (tmp_path / "notes.md").write_text("A note.")
    with pytest.raises(IndexFolderError, match="needs an index folder"):
        build_index([tmp_path / "notes.md"], place.path, FakeEncoder())
    with pytest.raises(ConfigError, match="can't be read"):
        Index.open(tmp_path / "absent.yaml")
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(UniConvError, match=r"package pymilvus: pip install 'uniconv\[milvus\]'"):
        Index.open(place.path)


def test_an_alias_that_is_a_collection(place):
    report = place.index(CORPUS)
    place.name = report.collection
    place.configure()
    with pytest.raises(IndexFolderError, match="is a collection, not an alias"):
        place.index(CORPUS)


@pytest.mark.parametrize(
    ("passage", "problem"),
    [
        (Passage("long", "ü" * 32_768), "'long': its text has 65537 bytes"),
        (Passage("much", "text", "", {"a": "b" * 70_000}), "'much': its metadata has 70002 bytes"),
    ],
)
def test_a_passage_that_milvus_can_not_hold(place, passage, problem):
    with pytest.raises(UniConvError, match=problem):
        place.index([passage])
