"""Passages drawn by chance: reproducible, without repetition, never an excluded one."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listed import ListedIndex
from uniconv.data.beir import write_corpus
from uniconv.errors import DataError
from uniconv.evaluation.collection import Collection, CorpusCollection, Draw, IndexCollection
from uniconv.types import Passage

PASSAGES = [Passage(f"p{number}", f"Text {number}.") for number in range(20)]


@pytest.fixture(params=["index", "corpus"])
def collection(request: pytest.FixtureRequest, tmp_path: Path) -> Collection:
    if request.param == "index":
        return IndexCollection(ListedIndex(PASSAGES))
    write_corpus(tmp_path / "corpus.jsonl", PASSAGES)
    return CorpusCollection(tmp_path / "corpus.jsonl")


def test_what_is_there_is_found(collection: Collection) -> None:
    assert collection.find(["p3", "nowhere", "p1"]) == {"p3": PASSAGES[3], "p1": PASSAGES[1]}


def test_a_draw_depends_on_its_name_and_the_seed_alone(collection: Collection) -> None:
    draw = Draw(3, {"p0"})
    alone = collection.draw({"q": draw}, 7)
    with_others = collection.draw({"other": Draw(5, set()), "q": draw}, 7)
    assert alone["q"] == with_others["q"]
    assert collection.draw({"r": draw}, 7)["r"] != alone["q"]
    assert collection.draw({"q": draw}, 8)["q"] != alone["q"]


def test_index_and_corpus_draw_the_same(tmp_path: Path) -> None:
    write_corpus(tmp_path / "corpus.jsonl", PASSAGES)
    index = ListedIndex(PASSAGES)
    draws = {"q": Draw(4, {"p1", "p2"})}
    expected = IndexCollection(index).draw(draws, 0)
    assert CorpusCollection(tmp_path / "corpus.jsonl").draw(draws, 0) == expected


def test_fewer_where_fewer_are_left(collection: Collection) -> None:
    without = {one.id for one in PASSAGES[:18]}
    drawn = collection.draw({"q": Draw(5, without)}, 0)["q"]
    assert {one.id for one in drawn} == {"p18", "p19"}
    everything = {one.id for one in PASSAGES}
    assert collection.draw({"q": Draw(5, everything)}, 0) == {"q": []}


@given(st.integers(0, 20), st.sets(st.sampled_from([one.id for one in PASSAGES])), st.text())
def test_draws_hold_what_was_asked_for(count: int, without: set[str], name: str) -> None:
    index = ListedIndex(PASSAGES)
    drawn = IndexCollection(index).draw({name: Draw(count, without)}, 0)[name]
    ids = [one.id for one in drawn]
    assert len(ids) == len(set(ids)) == min(count, 20 - len(without))
    assert not without & set(ids)


def test_an_empty_corpus_is_told(tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text("")
    with pytest.raises(DataError, match="has no passages"):
        CorpusCollection(tmp_path / "corpus.jsonl").draw({"q": Draw(1, set())}, 0)
