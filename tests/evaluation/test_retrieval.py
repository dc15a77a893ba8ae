"""Retrieval evaluation: forms of a query, files written, and the dense and hybrid paths."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from uniconv.data.beir import read_qrels, write_corpus, write_qrels
from uniconv.data.conversations import write_conversations
from uniconv.data.runs import read_run
from uniconv.errors import ConfigError, DataError, UniConvError
from uniconv.evaluation.retrieval import RetrievalEvaluation, evaluate_retrieval, query_text
from uniconv.files import sha256
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

    fingerprint = "f00d"

    def encode_conversations(
        self, conversations: Sequence[Conversation], progress: Callable[[int], None]
    ) -> np.ndarray:
        assert all(conversation.waits for conversation in conversations)
        progress(len(conversations))
        return np.eye(4, dtype=np.float32)[[len(one.turns) for one in conversations]]


class FakeIndex:
    """Dense search finds the tower for one turn and bread before the bridge for three."""

    model_name = "fake"

    def __len__(self) -> int:
        return 3

    def check_model(self, model: object) -> None:
        assert isinstance(model, FakeModel)

    def search(self, embeddings: np.ndarray, k: int) -> list[list[ScoredPassage]]:
        ranked = {1: ["tower", "bread"], 3: ["bread", "bridge", "tower"]}
        return [
            [
                ScoredPassage(PASSAGES[id], 1.0 - n)
                for n, id in enumerate(ranked[int(row.argmax())])
            ][:k]
            for row in embeddings
        ]

    def search_text(self, texts: Sequence[str], k: int) -> list[list[ScoredPassage]]:
        self.texts = list(texts)
        return [[ScoredPassage(PASSAGES["bridge"], 7.0)][:k] for _ in texts]


@pytest.fixture
def conversations(tmp_path: Path) -> Path:
    path = tmp_path / "dev.jsonl"
    write_conversations(path, [CONVERSATION])
    return path


def run(settings: RetrievalEvaluation, index: FakeIndex | None = None) -> dict[str, Any]:
    console = Console(file=io.StringIO(), width=120)
    model: Any = FakeModel()
    opened: Any = index
    return evaluate_retrieval(settings, index=opened, model=model, console=console)


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("last", "And what crosses it?"),
        ("questions", "Where is the tower? Thanks. And what crosses it?"),
        (
            "history",
            "Where is the tower? Near the harbour. Thanks. Welcome. And what crosses it?",
        ),
        ("rewrite", "What crosses the river?"),
    ],
)
def test_forms_of_a_query(form: Any, text: str) -> None:
    assert query_text(CONVERSATION.context(3), form) == text


def test_a_missing_rewrite_names_the_query() -> None:
    with pytest.raises(UniConvError, match="query 'c_1' has no rewrite"):
        query_text(CONVERSATION.context(1), "rewrite")


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
    assert result["metrics"]["mrr"] == {"mean": 1.0, "low": 1.0, "high": 1.0}
    assert result["by_depth"]["3"]["recall@5"] == 1.0
    assert result["inputs"]["corpus"] == {"path": str(corpus), "sha256": sha256(corpus)}
    assert result["config"]["query"] == "last"
    assert result["passages"] == 3


def test_dense_retrieval_reads_every_context_once(conversations: Path, tmp_path: Path) -> None:
    settings = RetrievalEvaluation(conversations, tmp_path / "out", index=tmp_path)
    result = run(settings, FakeIndex())
    assert result["by_depth"]["1"]["mrr"] == 1.0
    assert result["by_depth"]["3"]["mrr"] == 0.5
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
    assert scores["bridge"] == pytest.approx(1 / 62 + 1 / 61 + 1 / 61)  # dense, history, last
    assert scores["bread"] == pytest.approx(1 / 61)


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


def test_settings_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not both"):
        RetrievalEvaluation(tmp_path, tmp_path)
    with pytest.raises(ConfigError, match="dense retrieval needs an index"):
        RetrievalEvaluation(tmp_path, tmp_path, corpus=tmp_path)
    with pytest.raises(ConfigError, match="k must be"):
        RetrievalEvaluation(tmp_path, tmp_path, index=tmp_path, k=0)
