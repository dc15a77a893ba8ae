"""Mining end to end: candidates of every kind, what is written, and going on after a stop."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiny import tiny_uniconv
from uniconv.config import MiningConfig
from uniconv.data.beir import write_corpus
from uniconv.data.conversations import read_conversations, write_conversations
from uniconv.data.runs import write_run
from uniconv.errors import ConfigError, DataError, UniConvError
from uniconv.retrieval import mining
from uniconv.retrieval.building import build_index
from uniconv.retrieval.candidates import ByModel, ByRun, ByWords, Query
from uniconv.retrieval.interface import Index
from uniconv.retrieval.mining import MiningReport, mine
from uniconv.retrieval.queries import fuse
from uniconv.types import Conversation, Passage, Turn

CORPUS = [
    Passage("harbour", "The old harbour tower was built in 1893 by engineers.", "Tower"),
    Passage("copy", "Note that the old harbour tower was built in 1893 by engineers!", "Tower"),
    Passage("bridge", "The bridge over the harbour was built in 1901.", "Bridge"),
    Passage("gate", "The harbour gate opens at noon.", "Gate"),
    Passage("ship", "A ship is in the harbour.", "Ship"),
    Passage("ice", "A glacier moves slowly.", "Glacier"),
]
TALKS = [
    Conversation(
        "a",
        (
            Turn("Who built the harbour tower?", "Engineers.", positives=("harbour",)),
            Turn("And the bridge of the harbour?", "Others.", positives=("bridge", "gate")),
            Turn("Thanks.", "You are welcome.", negatives=("ice",)),
        ),
    ),
    Conversation(
        "b",
        (Turn("When was the harbour bridge built?", positives=("bridge",), negatives=("ice",)),),
    ),
]

Make = Callable[..., MiningConfig]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A configuration over the corpus; what it reads is written anew every time."""
    write_corpus(tmp_path / "corpus.jsonl", CORPUS)
    write_conversations(tmp_path / "talks.jsonl", TALKS)

    def make(**settings: Any) -> MiningConfig:
        if "index" not in settings:
            settings.setdefault("corpus", tmp_path / "corpus.jsonl")
        settings.setdefault("out", tmp_path / "mined.jsonl")
        settings.setdefault("query", "last")
        return MiningConfig(tmp_path / "talks.jsonl", **settings)

    return make


def mined(config: MiningConfig) -> dict[str, tuple[str, ...]]:
    """The negatives of each turn."""
    mine(config, quiet=True)
    talks = list(read_conversations(config.out))
    bare = [
        Conversation(one.id, tuple(replace(t, negatives=()) for t in one.turns)) for one in talks
    ]
    expected = [
        Conversation(one.id, tuple(replace(t, negatives=()) for t in one.turns)) for one in TALKS
    ]
    assert bare == expected
    return {
        one.query_id(number): turn.negatives
        for one in talks
        for number, turn in enumerate(one.turns, start=1)
    }


def test_words_find_negatives_and_filters_spare_what_may_be_relevant(make: Make) -> None:
    negatives = mined(make())
    assert set(negatives["a_1"]) == {"bridge", "gate", "ship"}
    assert set(negatives["a_2"]) == {"harbour", "copy", "ship"}
    assert negatives["a_3"] == ("ice",)
    # The gate is relevant to another turn on the bridge.
    assert negatives["b_1"][0] == "ice"
    assert set(negatives["b_1"]) == {"ice", "harbour", "copy", "ship"}


def test_what_is_known_to_be_relevant_can_be_narrow_or_wide(make: Make, tmp_path: Path) -> None:
    narrow = mined(make(known="turn"))
    assert "gate" in narrow["b_1"]
    wide = mined(make(known="conversation", out=tmp_path / "wide.jsonl"))
    assert wide["a_1"] == ("ship",)
    assert set(wide["a_2"]) == {"copy", "ship"}


def test_existing_negatives_can_be_left_out(make: Make) -> None:
    negatives = mined(make(existing="replace"))
    assert negatives["a_3"] == ()
    assert "ice" not in negatives["b_1"]


def test_the_report_counts_every_candidate(make: Make) -> None:
    config = make(negatives=50)
    report = mine(config, quiet=True)
    assert (report.turns, report.mined) == (4, 3)
    assert report.candidates == report.removed.total() + report.negatives
    assert report.removed["near-duplicate"] == 1
    assert report.removed["known positive"] == 1 + 2 + 2
    written = json.loads((config.out.parent / "mined.mining.json").read_text())
    assert MiningReport.from_json(written["report"]) == report
    assert written["config"]["query"] == "last"
    assert written["inputs"]["corpus"]["sha256"]
    assert written["passages"] == len(CORPUS)
    assert str(report).startswith("3 of 4 turns have positives; ")
    assert sorted(path.name for path in config.out.parent.iterdir()) == [
        "corpus.jsonl",
        "mined.jsonl",
        "mined.mining.json",
        "talks.jsonl",
    ]


def test_a_run_is_filtered_by_its_own_scores(make: Make, tmp_path: Path) -> None:
    run = {
        "a_1": {"harbour": 10.0, "bridge": 9.6, "gate": 9.4, "ice": 2.0},
        "a_2": {"harbour": 3.0, "ice": 2.0},  # neither positive was retrieved
        "b_1": {"ship": 8.0, "bridge": 6.0, "harbour": 5.0},
    }
    write_run(tmp_path / "run.trec", run)
    free = mined(make(run=tmp_path / "run.trec"))
    assert free["a_1"] == ("bridge", "gate", "ice")
    assert free["a_2"] == ("harbour", "ice")
    config = make(run=tmp_path / "run.trec", out=tmp_path / "strict.jsonl", percentage=0.95)
    strict = mined(config)
    assert strict == {"a_1": ("gate", "ice"), "a_2": (), "a_3": ("ice",), "b_1": ("ice", "harbour")}
    report = json.loads((tmp_path / "strict.mining.json").read_text())["report"]
    assert report["without"] == ["a_2"]
    assert report["per_turn"] == {"0": 1, "1": 1, "2": 1}


def test_a_turn_that_a_run_lacks_is_left_without(make: Make, tmp_path: Path) -> None:
    write_run(tmp_path / "run.trec", {"a_1": {"ice": 1.0}})
    assert mined(make(run=tmp_path / "run.trec"))["a_2"] == ()


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny model and its index of the corpus."""
    folder = tmp_path_factory.mktemp("indexed")
    write_corpus(folder / "corpus.jsonl", CORPUS)
    model = tiny_uniconv()
    model.save_pretrained(folder / "model")
    from uniconv.model import UniConv

    loaded = UniConv.from_pretrained(folder / "model", device="cpu")
    build_index([folder / "corpus.jsonl"], folder / "index", loaded, quiet=True)
    return folder


QUERIES = [
    Query("a_2", TALKS[0].context(2), ("bridge", "gate")),
    Query("b_1", TALKS[1].context(1), ("bridge",)),
]


def test_the_model_ranks_by_inner_products(indexed: Path) -> None:
    from uniconv.model import UniConv

    model = UniConv.from_pretrained(indexed / "model", device="cpu")
    index = Index.open(indexed / "index")
    contexts = [query.context for query in QUERIES]
    embeddings = model.encode_conversations(contexts)
    products = embeddings @ model.encode_passages(CORPUS).T
    ids = [passage.id for passage in CORPUS]
    dense = ByModel(index, model, hybrid=False).rank(QUERIES, 4)
    hybrid = ByModel(index, model, hybrid=True).rank(QUERIES, 4)
    fused = fuse(index, contexts, index.search(embeddings, 100), 4)
    for row, query in enumerate(QUERIES):
        best = [ids[column] for column in np.argsort(-products[row])[:4]]
        assert [one.passage.id for one in dense[row].candidates] == best
        assert [one.passage for one in hybrid[row].candidates] == [
            one.passage for one in fused[row]
        ]
        for ranking in (dense[row], hybrid[row]):
            expected = max(products[row][ids.index(id)] for id in query.positives)
            assert ranking.positive == pytest.approx(expected, abs=1e-5)
            for one in ranking.candidates:
                score = products[row][ids.index(one.passage.id)]
                assert one.score == pytest.approx(score, abs=1e-5)


@pytest.mark.parametrize("retriever", ["dense", "hybrid", "bm25"])
def test_an_index_is_mined(make: Make, indexed: Path, retriever: str) -> None:
    config = make(index=indexed / "index", retriever=retriever, query="history")
    negatives = mined(config)
    assert not {"harbour", "copy"} & set(negatives["a_1"])
    assert negatives["a_1"]
    written = json.loads((config.out.parent / "mined.mining.json").read_text())
    assert ("model" in written) == (retriever != "bm25")


def test_a_positive_is_scored_wherever_it_ranks(indexed: Path) -> None:
    index = Index.open(indexed / "index")
    by_words = ByWords(index.store, index.bm25, "last")
    query = Query("b_1", TALKS[1].context(1), ("gate", "ship"))
    (deep,), (shallow,) = by_words.rank([query], 6), by_words.rank([query], 1)
    assert len(shallow.candidates) == 1
    scores = {one.passage.id: one.score for one in deep.candidates}
    assert deep.positive == max(scores["gate"], scores["ship"])
    assert shallow.positive == pytest.approx(deep.positive)


def test_a_stopped_run_goes_on_at_its_last_whole_block(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make(out=tmp_path / "whole.jsonl", sample="random", negatives=2)
    at_once = mine(whole, quiet=True)
    asked: list[str] = []
    rank = ByWords.rank

    def stopped(self: ByWords, queries: Sequence[Query], depth: int) -> Any:
        asked.extend(query.id for query in queries)
        if asked.count("b_1") == 1 and queries[0].id == "b_1":
            raise KeyboardInterrupt
        return rank(self, queries, depth)

    monkeypatch.setattr(mining, "BLOCK", 1)
    monkeypatch.setattr(ByWords, "rank", stopped)
    config = replace(whole, out=tmp_path / "mined.jsonl")
    with pytest.raises(KeyboardInterrupt):
        mine(config, quiet=True)
    assert not config.out.exists()
    with pytest.raises(ConfigError, match=r"stopped here with another seed; take that again"):
        mine(replace(config, seed=1), quiet=True)
    assert mine(config, quiet=True) == at_once
    assert asked == ["a_1", "a_2", "b_1", "b_1"]
    assert config.out.read_bytes() == whole.out.read_bytes()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_stopped_run_needs_the_same_input(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any) -> Any:
        raise KeyboardInterrupt

    config = make()
    monkeypatch.setattr(mining, "BLOCK", 1)
    with monkeypatch.context() as patch:
        patch.setattr(mining, "write_lines", stop)
        with pytest.raises(KeyboardInterrupt):
            mine(config, quiet=True)
    write_conversations(config.conversations, TALKS[:1])
    with pytest.raises(ConfigError, match="stopped here with another conversations"):
        mine(config, quiet=True)


def test_a_run_that_never_began_stands_in_nobodys_way(make: Make, tmp_path: Path) -> None:
    write_run(tmp_path / "run.trec", {"a_1": {"who": 1.0}})
    with pytest.raises(UniConvError, match="not in the collection"):
        mine(make(run=tmp_path / "run.trec"), quiet=True)
    assert mine(make(), quiet=True).mined == 3


def test_what_is_there_is_never_overwritten(make: Make, tmp_path: Path) -> None:
    config = make()
    mine(config, quiet=True)
    with pytest.raises(ConfigError, match=r"mined.jsonl: exists already"):
        mine(config, quiet=True)
    with pytest.raises(ConfigError, match=r"talks.jsonl: exists already"):
        mine(make(out=tmp_path / "talks.jsonl"), quiet=True)


def test_mistakes_are_named(make: Make, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"run: there is no file nowhere\.trec"):
        mine(make(run=Path("nowhere.trec")), quiet=True)
    write_run(tmp_path / "run.trec", {"a_1": {"who": 1.0}})
    with pytest.raises(UniConvError, match=r"'a_1' has in .*run.trec 'who', which is not in"):
        mine(make(run=tmp_path / "run.trec"), quiet=True)
    write_corpus(tmp_path / "small.jsonl", CORPUS[:2])
    with pytest.raises(UniConvError, match=r"'a_2' has the positive 'bridge', which is not in"):
        mine(make(corpus=tmp_path / "small.jsonl", out=tmp_path / "other.jsonl"), quiet=True)
    config = make()
    write_conversations(config.conversations, [Conversation("c", (Turn("x"),))])
    with pytest.raises(DataError, match="no turn has positives"):
        mine(config, quiet=True)


def test_a_run_may_hold_more_than_is_asked_of_it(make: Make, tmp_path: Path) -> None:
    write_run(tmp_path / "run.trec", {"b_1": {"ship": 3.0, "bridge": 2.0, "ice": 1.0}})
    index = tmp_path / "store"
    from uniconv.retrieval.store import PassageStore

    by_run = ByRun(PassageStore.write(index, CORPUS), tmp_path / "run.trec")
    (ranking,) = by_run.rank(QUERIES[1:], 1)
    assert [one.passage.id for one in ranking.candidates] == ["ship"]
    assert ranking.positive == 2.0
