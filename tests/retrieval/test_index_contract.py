"""What every index promises, whether it is a folder or a collection in Milvus."""

from __future__ import annotations

import numpy as np
import pytest
from retrieval_fixtures import DIMENSION, FakeEncoder

from uniconv.data.beir import write_corpus
from uniconv.errors import ConfigError, IndexFolderError
from uniconv.retrieval.building import build_index
from uniconv.retrieval.interface import Index
from uniconv.types import Passage

ODD = """quo"te, back\\slash, 'single', {braces} [brackets] % = 漢字"""
CORPUS = [
    Passage(
        f"p{n}", f"Text number {n} of many.", f"Title {n % 7}", {"n": str(n), "part": str(n % 3)}
    )
    for n in range(40)
] + [
    Passage(ODD, f"A passage about {ODD}", "", {"part": "odd", ODD: f"{ODD}\n"}),
    Passage("bare", "Nothing is known of this one."),
]


@pytest.fixture(scope="module", params=["folder", "milvus"])
def index(request, tmp_path_factory):
    here = tmp_path_factory.mktemp("contract")
    write_corpus(here / "corpus.jsonl", CORPUS)
    if request.param == "folder":
        build_index([here / "corpus.jsonl"], here / "index", FakeEncoder(), quiet=True)
        return Index.open(here / "index")
    pytest.importorskip("pymilvus", reason="needs uniconv[milvus]")
    pytest.importorskip("milvus_lite", reason="needs uniconv[milvus]")
    from uniconv.retrieval.milvus_loading import index_in_milvus

    config = here / "index.yaml"
    config.write_text("uri: contract.db\ncollection: contract\nindex: {type: FLAT}\n")
    index_in_milvus([here / "corpus.jsonl"], config, FakeEncoder(), quiet=True)
    return Index.open(config)


def ids(ranking):
    return [scored.passage.id for scored in ranking]


def rows(wanted):
    return [row for row, passage in enumerate(CORPUS) if wanted(passage.metadata)]


def test_what_it_says_of_itself(index):
    assert len(index) == len(CORPUS)
    assert (index.model_name, index.dimension, index.exact) == ("fake", DIMENSION, True)
    index.check_model(FakeEncoder())
    with pytest.raises(IndexFolderError, match="another model"):
        index.check_model(FakeEncoder(fingerprint="fake-2"))
    assert index.version
    assert index.identity


def test_the_nearest_passages_with_their_scores(index):
    asked = np.random.default_rng(0).standard_normal((20, DIMENSION)).astype(np.float32)
    products = asked @ FakeEncoder().encode_passages(CORPUS).T
    for embeddings, expected in ((asked, products), (asked[:1], products[:1])):
        found = index.search(embeddings, 5)
        assert len(found) == len(embeddings)
        for ranking, scores in zip(found, expected, strict=True):
            best = np.argsort(-scores)[:5]
            assert ids(ranking) == [CORPUS[row].id for row in best]
            assert [one.score for one in ranking] == pytest.approx(scores[best].tolist(), abs=1e-5)


def test_found_passages_are_whole(index):
    for row in (7, 40, 41):
        (ranking,) = index.search(FakeEncoder().encode_passages(CORPUS[row : row + 1]), 1)
        assert ranking[0].passage == CORPUS[row]
        assert ranking[0].score == pytest.approx(1, abs=1e-5)


def test_search_by_words(index):
    assert ids(index.search_text(["number 17"], 1)[0]) == ["p17"]
    assert ids(index.search_text(["漢字"], 3)[0]) == [ODD]
    several = index.search_text(["number", "unheard", "the of"], 50)
    assert [len(ranking) for ranking in several] == [40, 0, 0]
    assert index.search_text([], 3) == []
    scores = [one.score for one in index.search_text(["number 17"], 9)[0]]
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] > 0


def test_titles_are_searched_by_words(index):
    assert {one.passage.title for one in index.search_text(["title"], 50)[0]} == {
        f"Title {n}" for n in range(7)
    }


def test_the_edges_of_search(index):
    assert index.search(np.empty((0, DIMENSION), np.float32), 3) == []
    assert len(index.search(np.ones((1, DIMENSION), np.float32), 100)[0]) == len(CORPUS)
    with pytest.raises(ValueError, match=r"shape \(1, 3\); expected \[n, 16\]"):
        index.search(np.ones((1, 3), np.float32), 1)
    for search in (index.search, index.search_text):
        with pytest.raises(ValueError, match="k must be 1 or more"):
            search(np.ones((1, DIMENSION), np.float32), 0)


def test_passages_by_id_and_by_row(index):
    assert index.passage("p31") == CORPUS[31]
    assert index.passage("absent") is None
    assert index.find(["p3", "absent", ODD, "p3"]) == {"p3": CORPUS[3], ODD: CORPUS[40]}
    assert index.passages_at([5, 2, 41, 5]) == [CORPUS[row] for row in (5, 2, 41, 5)]


def test_samples(index):
    vectors = FakeEncoder().encode_passages(CORPUS)
    np.testing.assert_array_equal(index.vectors_at([9, 3, 9]), vectors[[9, 3, 9]])
    drawn = index.sample_passages(10, seed=0)
    assert len({passage.id for passage in drawn}) == 10
    assert drawn == index.sample_passages(10, seed=0) != index.sample_passages(10, seed=1)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"part": "1"}, rows(lambda metadata: metadata.get("part") == "1")),
        ({"part": ["0", "odd"]}, rows(lambda metadata: metadata.get("part") in ("0", "odd"))),
        ({"part": "1", "n": ["4", "5", "7"]}, [4, 7]),
        ({ODD: f"{ODD}\n"}, [40]),
        ({"part": "1 or 1 == 1"}, []),
        ({"absent": "1"}, []),
        ({}, list(range(len(CORPUS)))),
    ],
)
def test_filters_on_metadata(index, filters, expected):
    """The best of what the filters leave, not what the filters leave of the best."""
    asked = np.random.default_rng(1).standard_normal((3, DIMENSION)).astype(np.float32)
    products = asked @ FakeEncoder().encode_passages(CORPUS).T
    for k in (2, 50):
        for ranking, scores in zip(index.search(asked, k, filters), products, strict=True):
            best = sorted(expected, key=lambda row: -scores[row])[:k]
            assert ids(ranking) == [CORPUS[row].id for row in best]
    by_words = ids(index.search_text(["number many"], 50, filters)[0])
    assert sorted(by_words) == sorted(CORPUS[row].id for row in expected if row < 40)
    assert index.count(filters) == len(expected)


def test_a_filter_without_values_is_refused(index):
    with pytest.raises(ConfigError, match="'part' names no value"):
        index.search(np.ones((1, DIMENSION), np.float32), 1, {"part": []})
