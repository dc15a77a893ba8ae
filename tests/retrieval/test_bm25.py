from __future__ import annotations

import random

import bm25s
import numpy as np
import pytest

from uniconv.errors import ConfigError
from uniconv.retrieval import bm25_blocks
from uniconv.retrieval.bm25 import BM25, check_language, score_texts

TEXTS = [
    "The old harbour tower",
    "A glacier moves slowly",
    "The harbour and the harbour master",
    "",
]


def rows(index, text, k=10):
    return index.search([text], k)[0][1].tolist()


def test_search_ranks_by_words_that_are_shared(tmp_path):
    BM25.build(iter(TEXTS), tmp_path)
    index = BM25.load(tmp_path, "english")
    assert len(index) == 4
    assert rows(index, "Harbour?") == [2, 0]
    assert rows(index, "harbour tower") == [0, 2]
    assert rows(index, "harbour tower", k=1) == [0]
    scores, _ = index.search(["harbour tower"], 10)[0]
    assert scores[0] > scores[1] > 0


@pytest.mark.parametrize("text", ["", "the and of", "unheard words", "!?"])
def test_a_text_without_known_words_finds_nothing(tmp_path, text):
    index = BM25.build(TEXTS, tmp_path)
    assert rows(index, text) == []


def test_several_texts_at_once_give_what_each_gives(tmp_path):
    index = BM25.build(TEXTS, tmp_path)
    asked = ["glacier", "nothing known", "tower harbour"]
    together = [found.tolist() for _, found in index.search(asked, 3)]
    assert together == [rows(index, text, 3) for text in asked] == [[1], [], [0, 2]]
    assert index.search([], 3) == []


def test_stop_words_are_the_language_s(tmp_path):
    assert rows(BM25.build(["the tower", "der turm"], tmp_path / "en"), "the der") == [1]
    assert rows(BM25.build(["the tower", "der turm"], tmp_path / "de", "german"), "the der") == [0]
    assert rows(BM25.build(["the tower", "of"], tmp_path / "none", None), "the") == [0]


def test_an_unknown_language_is_an_error():
    check_language(None)
    with pytest.raises(ConfigError, match="'klingon'"):
        check_language("klingon")


@pytest.mark.filterwarnings("error")
def test_a_corpus_without_words(tmp_path):
    assert rows(BM25.build(["!", "?", ""], tmp_path), "word") == []


def test_an_open_index_survives_the_removal_of_its_files(tmp_path):
    index = BM25.build(TEXTS, tmp_path)
    for path in tmp_path.iterdir():
        path.unlink()
    assert rows(index, "glacier") == [1]


def test_any_passage_can_be_scored(tmp_path):
    index = BM25.build(TEXTS, tmp_path)
    for text in ("harbour tower", "the harbour HARBOUR master", "glacier unheard"):
        scores, found = index.search([text], 4)[0]
        expected = dict(zip(found.tolist(), scores.tolist(), strict=True))
        assert index.scores(text, [3, 2, 1, 0]).tolist() == [
            expected.get(row, 0.0) for row in (3, 2, 1, 0)
        ]
    assert index.scores("", [0, 1]).tolist() == [0.0, 0.0]
    assert index.scores("unheard", [0]).tolist() == [0.0]


def test_an_index_made_in_blocks_is_that_of_bm25s(tmp_path, monkeypatch):
    monkeypatch.setattr(bm25_blocks, "_TEXTS", 7)
    monkeypatch.setattr(bm25_blocks, "_PAIRS", 11)
    rng = random.Random(1)
    words = ["harbour", "tower", "glacier", "ice", "moves", "old", "bread", "1893", "yeast"]
    texts = [" ".join(rng.choices(words, k=rng.randint(0, 12))) for _ in range(60)]
    BM25.build(texts, tmp_path)
    ours = bm25s.BM25.load(tmp_path)
    theirs = bm25s.BM25()
    theirs.index(bm25s.tokenize(texts, stopwords="english", show_progress=False))
    for word in words:
        np.testing.assert_array_equal(ours.get_scores([word]), theirs.get_scores([word]))
        start, end = ours.scores["indptr"][ours.vocab_dict[word] :][:2]
        assert (np.diff(ours.scores["indices"][start:end]) > 0).all()
    assert ours.scores["data"].dtype == theirs.scores["data"].dtype
    assert {path.name for path in tmp_path.iterdir()} == {
        *("data.csc.index.npy", "indices.csc.index.npy", "indptr.csc.index.npy"),
        *("params.index.json", "vocab.index.json"),
    }


def test_a_few_texts_are_scored_as_an_index_of_them_would(tmp_path):
    index = BM25.build(iter(TEXTS), tmp_path, language=None)
    for query in ("the harbour", "GLACIER?", "tower tower", "unknown", "", "a"):
        expected = index.scores(query, range(len(TEXTS)))
        np.testing.assert_allclose(score_texts(query, TEXTS), expected, rtol=1e-6)


@pytest.mark.parametrize("texts", [["", "?"], ["a"]])
def test_texts_without_words_score_nothing(texts):
    assert score_texts("the harbour", texts).tolist() == [0.0] * len(texts)


def test_scoring_texts_tells_nothing(caplog):
    caplog.set_level("DEBUG")
    score_texts("harbour", TEXTS)
    assert not caplog.records
