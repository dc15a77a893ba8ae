"""Retrieval evaluation: what is searched with, files written, and every kind of retriever."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from listed import ListedIndex
from uniconv.data.beir import read_qrels, write_corpus, write_qrels
from uniconv.data.conversations import write_conversations
from uniconv.data.runs import read_run, write_run
from uniconv.errors import ConfigError, DataError, UniConvError
from uniconv.evaluation.breakdowns import read_groups
from uniconv.evaluation.retrieval import evaluate_retrieval
from uniconv.evaluation.retrieval_settings import RetrievalEvaluation
from uniconv.files import sha256
from uniconv.retrieval.filters import MetadataFilters
from uniconv.types import Conversation, Passage, ScoredPassage, Turn

PASSAGES = {
    "tower": Passage("tower", "The tower stands near the harbour.", "Tower"),
    "bridge": Passage("bridge", "A bridge crosses the river.", "Bridge"),
    "bread": Passage("bread", "Bread is baked from rye flour.", "Bread"),
}
CONVERSATION = Conversation(
    "c",
    (
        Turn("Where is the tower?", "Near the harbour.", positives=("tower",)),
        Turn("Thanks.", "Welcome."),
        Turn("And what crosses it?", "A bridge.", "What crosses the river?", ("bridge",)),
    ),
)


class FakeModel:
    """Embeds a conversation as a one-hot vector of its number of turns."""

    name = "fake"
    fingerprint = "f00d"
    read: Sequence[Conversation] = ()

    def encode_conversations(
        self, conversations: Sequence[Conversation], progress: Callable[[int], None]
    ) -> np.ndarray:
        assert all(conversation.waits for conversation in conversations)
        self.read = conversations
        progress(len(conversations))
        return np.eye(4, dtype=np.float32)[[len(one.turns) for one in conversations]]


class FakeIndex(ListedIndex):
    """Dense search finds the tower for one turn and bread before the bridge for three."""

    def __init__(self) -> None:
        super().__init__(list(PASSAGES.values()))

    def _search(
        self, embeddings: np.ndarray, k: int, filters: MetadataFilters
    ) -> list[list[ScoredPassage]]:
        assert not filters
        ranked = {1: ["tower", "bread"], 3: ["bread", "bridge", "tower"]}
        return [
            [
                ScoredPassage(PASSAGES[id], 1.0 - n)
                for n, id in enumerate(ranked[int(row.argmax())])
            ][:k]
            for row in embeddings
        ]

    def _search_text(
        self, texts: Sequence[str], k: int, filters: MetadataFilters
    ) -> list[list[ScoredPassage]]:
        assert not filters
        self.texts = list(texts)
        return [[ScoredPassage(PASSAGES["bridge"], 7.0)][:k] for _ in texts]


@pytest.fixture
def conversations(tmp_path: Path) -> Path:
    path = tmp_path / "dev.jsonl"
    write_conversations(path, [CONVERSATION])
    return path


def run(
    settings: RetrievalEvaluation, index: FakeIndex | None = None, fake: FakeModel | None = None
) -> dict[str, Any]:
    console = Console(file=io.StringIO(), width=120)
    model: Any = fake or FakeModel()
    opened: Any = index
    return evaluate_retrieval(settings, index=opened, model=model, console=console)


def mean(result: dict[str, Any], measure: str, depth: str) -> float:
    value: float = result["breakdowns"]["depth"][depth]["metrics"][measure]["mean"]
    return value


def test_bm25_over_a_corpus_writes_its_run_and_what_made_it(
    conversations: Path, tmp_path: Path
) -> None:
    corpus, out = tmp_path / "corpus.jsonl", tmp_path / "out"
    write_corpus(corpus, PASSAGES.values())
    settings = RetrievalEvaluation(
        conversations, out, corpus=corpus, retriever="bm25", query="last"
    )
    result = run(settings)
    found = read_run(out / "run.trec")
    assert set(found["c_1"]) == {"tower"}
    assert set(found["c_3"]) == {"bridge"}
    assert read_qrels(out / "qrels.tsv") == {"c_1": {"tower": 1}, "c_3": {"bridge": 1}}
    assert result == json.loads((out / "result.json").read_text())
    assert result["queries"] == 2
    assert result["metrics"]["mrr"] == {"queries": 2, "mean": 1.0, "low": 1.0, "high": 1.0}
    assert mean(result, "recall@5", "3") == 1.0
    assert result["inputs"]["corpus"] == {"path": str(corpus), "sha256": sha256(corpus)}
    assert result["config"]["query"] == "last"
    assert result["passages"] == 3
    rows = [json.loads(line) for line in (out / "queries.jsonl").read_text().splitlines()]
    assert [row["_id"] for row in rows] == ["c_1", "c_3"]
    assert rows[0].keys() == {"_id", *result["metrics"]}
    assert rows[0]["mrr"] == 1.0
    assert read_groups(out) == {"depth": {"c_1": ("1",), "c_3": ("3",)}}
    assert (out / "table.md").read_text().startswith("### Retrieval: bm25, last\n\n|  | queries |")


def test_dense_retrieval_reads_every_context_once(conversations: Path, tmp_path: Path) -> None:
    settings = RetrievalEvaluation(conversations, tmp_path / "out", index=tmp_path)
    result = run(settings, FakeIndex())
    assert mean(result, "mrr", "1") == 1.0
    assert mean(result, "mrr", "3") == 0.5
    assert result["metrics"]["mrr"]["mean"] == 0.75
    assert result["model"] == {"name": "fake", "fingerprint": "f00d"}


def test_hybrid_retrieval_fuses_the_rankings(conversations: Path, tmp_path: Path) -> None:
    settings = RetrievalEvaluation(
        conversations, tmp_path / "out", index=tmp_path, retriever="hybrid"
    )
    index = FakeIndex()
    run(settings, index)
    assert index.texts == ["Where is the tower?", "And what crosses it?"]
    scores = read_run(tmp_path / "out/run.trec")["c_3"]
    words = 3 / 2**0.5  # 7 above the 0 of the two others, in deviations
    assert scores["bridge"] == pytest.approx(1.5**0.5 + 2 * words)  # dense, history, last
    assert scores["bread"] == pytest.approx(6**0.5)


def test_other_judgements_choose_the_queries(conversations: Path, tmp_path: Path) -> None:
    qrels = tmp_path / "unseen.tsv"
    write_qrels(qrels, {"c_3": {"bread": 1}, "c_1": {"tower": 0}})
    settings = RetrievalEvaluation(conversations, tmp_path / "out", index=tmp_path, qrels=qrels)
    result = run(settings, FakeIndex())
    assert (result["queries"], result["metrics"]["mrr"]["mean"]) == (1, 1.0)
    write_qrels(qrels, {"c_9": {"bread": 1}})
    with pytest.raises(DataError, match="query 'c_9' is no turn"):
        run(settings, FakeIndex())
    write_qrels(qrels, {"c_1": {"tower": 0}})
    with pytest.raises(DataError, match="no query with a relevant passage"):
        run(settings, FakeIndex())


def test_a_dense_query_is_one_question_where_asked_for(conversations: Path, tmp_path: Path) -> None:
    fake = FakeModel()
    settings = RetrievalEvaluation(conversations, tmp_path / "out", index=tmp_path, query="last")
    run(settings, FakeIndex(), fake)
    assert [one.turns for one in fake.read] == [
        (Turn("Where is the tower?"),),
        (Turn("And what crosses it?"),),
    ]


def test_only_what_is_searched_with_is_needed(conversations: Path, tmp_path: Path) -> None:
    index = FakeIndex()
    run(RetrievalEvaluation(conversations, tmp_path / "out", index=tmp_path), index)
    assert not hasattr(index, "texts")
    settings = RetrievalEvaluation(
        conversations, tmp_path / "other", index=tmp_path, retriever="bm25", query="rewrite"
    )
    with pytest.raises(UniConvError, match="query 'c_1' has no rewrite"):
        run(settings, index)
    assert not (tmp_path / "other").exists()


def test_a_run_file_is_evaluated_as_it_is(conversations: Path, tmp_path: Path) -> None:
    path = tmp_path / "other.trec"
    write_run(path, {"c_3": {"bread": 2.5, "bridge": 1.5}, "z_1": {"tower": 1.0}})
    settings = RetrievalEvaluation(conversations, tmp_path / "out", run=path)
    result = run(settings)
    assert (mean(result, "mrr", "1"), mean(result, "mrr", "3")) == (0.0, 0.5)
    assert result["inputs"]["run"] == {"path": str(path), "sha256": sha256(path)}
    assert read_run(tmp_path / "out/run.trec") == {"c_3": {"bread": 2.5, "bridge": 1.5}}
    write_run(path, {"z_1": {"tower": 1.0}})
    with pytest.raises(
        DataError, match=r"none of the queries, such as 'c_1'; its own are .* 'z_1'"
    ):
        run(settings)


def test_a_query_that_is_a_passage_does_not_find_itself(tmp_path: Path) -> None:
    path = tmp_path / "queries.jsonl"
    turn = Turn("The tower stands near the harbour.", positives=("bridge",))
    judged = Turn("Bread is baked from rye flour.", positives=("bread",))
    write_conversations(path, [Conversation("tower", (turn,)), Conversation("bread", (judged,))])
    write_run(
        tmp_path / "run.trec",
        {"tower_1": {"tower": 9.0, "bridge": 1.0}, "bread_1": {"bread": 9.0, "tower": 1.0}},
    )
    result = run(RetrievalEvaluation(path, tmp_path / "out", run=tmp_path / "run.trec"))
    assert result["metrics"]["mrr"]["mean"] == 1.0
    assert read_run(tmp_path / "out/run.trec") == {
        "tower_1": {"bridge": 1.0},
        "bread_1": {"bread": 9.0, "tower": 1.0},
    }


def test_gold_that_training_has_seen_is_told_apart(conversations: Path, tmp_path: Path) -> None:
    train = tmp_path / "train.jsonl"
    write_conversations(train, [Conversation("t", (Turn("q", "r", positives=("bridge",)),))])
    settings = RetrievalEvaluation(conversations, tmp_path / "out", index=tmp_path, train=(train,))
    result = run(settings, FakeIndex())
    gold = result["breakdowns"]["gold"]
    assert {group: entry["metrics"]["mrr"]["mean"] for group, entry in gold.items()} == {
        "seen": 0.5,
        "unseen": 1.0,
    }
    assert result["inputs"]["train 1"]["sha256"] == sha256(train)


def test_the_least_relevant_grade_can_be_chosen(conversations: Path, tmp_path: Path) -> None:
    qrels = tmp_path / "graded.tsv"
    write_qrels(qrels, {"c_1": {"tower": 1}, "c_3": {"bread": 1, "bridge": 2}})
    settings = RetrievalEvaluation(
        conversations, tmp_path / "out", index=tmp_path, qrels=qrels, relevant=2
    )
    result = run(settings, FakeIndex())
    assert (result["queries"], mean(result, "mrr", "3")) == (1, 0.5)
    assert mean(result, "ndcg@3", "3") == pytest.approx((1 + 2 / 1.58496) / (2 + 1 / 1.58496))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "give an index, or a corpus"),
        ({"index": Path("i"), "corpus": Path("c")}, "give an index, or a corpus"),
        ({"corpus": Path("c")}, "dense retrieval needs an index"),
        ({"index": Path("i"), "k": 0}, r"k \(0\) and relevant \(1\) must be"),
        ({"index": Path("i"), "retriever": "hybrid", "query": "last"}, "hybrid retrieval takes"),
        ({"run": Path("r"), "index": Path("i")}, "evaluated as it is"),
        ({"encoder": "e", "corpus": Path("c")}, "an encoder needs an index"),
        ({"encoder": "e", "index": Path("i"), "retriever": "bm25"}, "neither bm25 nor"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        RetrievalEvaluation(Path("dev.jsonl"), Path("out"), **options)
