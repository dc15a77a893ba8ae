"""What models are measured on: drawn the same way each time, and whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from uniconv.config import Judging
from uniconv.data.beir import read_corpus
from uniconv.data.conversations import read_conversations
from uniconv.errors import ConfigError, DataError
from uniconv.studies.material import draw_conversations, prepare, reduce_corpus


def judging(world: Path, **settings: int) -> Judging:
    return Judging(world / "dev.jsonl", (world / "corpus.jsonl",), **settings)


def test_whole_conversations_are_drawn_by_the_seed(world: Path) -> None:
    path = world / "dev.jsonl"
    drawn = draw_conversations(path, 3, seed=1)
    assert len(drawn) == 2  # of two turns with positives each
    assert drawn == draw_conversations(path, 3, seed=1)
    assert [one in drawn for one in read_conversations(path)].count(True) == 2
    draws = {tuple(one.id for one in draw_conversations(path, 3, seed)) for seed in range(9)}
    assert len(draws) > 1
    assert draw_conversations(path, 99, seed=0) == list(read_conversations(path))


def test_a_reduced_corpus_holds_the_positives(world: Path, tmp_path: Path) -> None:
    out = tmp_path / "corpus.jsonl"
    count = reduce_corpus(
        [world / "dev.jsonl"], [world / "corpus.jsonl"], out, distractors=2, seed=0
    )
    kept = [passage.id for passage in read_corpus(out)]
    positives = {
        id
        for one in read_conversations(world / "dev.jsonl")
        for t in one.turns
        for id in t.positives
    }
    assert count == len(kept) == len(positives) + 2
    assert positives < set(kept)
    whole = [passage.id for passage in read_corpus(world / "corpus.jsonl")]
    assert kept == [id for id in whole if id in kept]  # in the corpus's order


def test_a_positive_that_no_corpus_holds_is_told(world: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "one.jsonl"
    corpus.write_text('{"_id": "p6", "title": "", "text": "Six."}\n')
    with pytest.raises(DataError, match=r"positives, such as 'p0', are in no corpus"):
        reduce_corpus([world / "dev.jsonl"], [corpus], tmp_path / "out", distractors=0, seed=0)


def test_what_is_not_drawn_is_taken_as_it_is(world: Path, tmp_path: Path) -> None:
    material = prepare(judging(world), tmp_path)
    assert material.conversations == world / "dev.jsonl"
    assert material.corpora == (world / "corpus.jsonl",)


def test_other_settings_or_data_are_refused(world: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_bytes((world / "corpus.jsonl").read_bytes())
    settings = replace(judging(world, turns=2, distractors=1), corpora=(corpus,))
    material = prepare(settings, tmp_path / "out")
    assert prepare(settings, tmp_path / "out") == material
    assert len(list(read_conversations(material.conversations))) == 1
    with pytest.raises(ConfigError, match="other settings or other data"):
        prepare(replace(settings, turns=3), tmp_path / "out")
    corpus.write_text(corpus.read_text() + '{"_id": "new", "title": "", "text": "New."}\n')
    with pytest.raises(ConfigError, match="other settings or other data"):
        prepare(settings, tmp_path / "out")
