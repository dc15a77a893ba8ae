"""Both evaluations with a real index and a tiny random model."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from tiny import tiny_uniconv
from uniconv.data.beir import write_corpus
from uniconv.data.conversations import write_conversations
from uniconv.data.runs import ranked, read_run
from uniconv.errors import IndexFolderError
from uniconv.evaluation.response import ResponseEvaluation, evaluate_responses
from uniconv.evaluation.retrieval import RetrievalEvaluation, evaluate_retrieval
from uniconv.model import UniConv
from uniconv.retrieval.building import build_index
from uniconv.retrieval.index import Index
from uniconv.search import ConversationalSearch, SearchSettings
from uniconv.types import Conversation, Passage, Turn

PASSAGES = [
    Passage(f"p{number}", f"The {word} of the old harbour.", word.title())
    for number, word in enumerate(("tower", "bridge", "bread", "glacier", "moon"))
]
CONVERSATION = Conversation(
    "c",
    (
        Turn("Where is the tower?", "Near the harbour.", positives=("p0",)),
        Turn("And the bridge?", "Over the river.", positives=("p1", "p4")),
    ),
)


@pytest.fixture(scope="module")
def model() -> UniConv:
    return tiny_uniconv()


@pytest.fixture(scope="module")
def folder(model: UniConv, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluation")
    write_corpus(folder / "corpus.jsonl", PASSAGES)
    write_conversations(folder / "dev.jsonl", [CONVERSATION])
    build_index([folder / "corpus.jsonl"], folder / "index", model, quiet=True)
    return folder


def quiet() -> Console:
    return Console(file=io.StringIO(), width=120)


@pytest.mark.parametrize("retriever", ["dense", "hybrid"])
def test_the_run_is_what_search_retrieves(
    folder: Path, model: UniConv, tmp_path: Path, retriever: str
) -> None:
    settings = RetrievalEvaluation(
        folder / "dev.jsonl",
        tmp_path,
        index=folder / "index",
        retriever=retriever,  # type: ignore[arg-type]
        k=5,
    )
    evaluate_retrieval(settings, model=model, console=quiet())
    run = read_run(tmp_path / "run.trec")
    search = ConversationalSearch(
        model,
        Index.open(folder / "index"),
        SearchSettings(retriever=retriever, retrieve=5),  # type: ignore[arg-type]
    )
    for turn in (1, 2):
        retrieved = search.retrieve(CONVERSATION.context(turn))
        expected = {scored.passage.id: scored.score for scored in retrieved}
        assert run[CONVERSATION.query_id(turn)] == pytest.approx(expected, abs=1e-5)


def test_dense_scores_are_dot_products(folder: Path, model: UniConv, tmp_path: Path) -> None:
    settings = RetrievalEvaluation(folder / "dev.jsonl", tmp_path, index=folder / "index")
    result = evaluate_retrieval(settings, model=model, console=quiet())
    contexts = [CONVERSATION.context(turn) for turn in (1, 2)]
    scores = model.encode_conversations(contexts) @ model.encode_passages(PASSAGES).T
    run = read_run(tmp_path / "run.trec")
    for row, turn in enumerate((1, 2)):
        order = [PASSAGES[column].id for column in np.argsort(-scores[row])]
        assert [id for id, _ in ranked(run[f"c_{turn}"])] == order
    first = 1 / (1 + [id for id, _ in ranked(run["c_1"])].index("p0"))
    assert result["by_depth"]["1"]["mrr"] == pytest.approx(first)


def test_another_model_is_refused(folder: Path, tmp_path: Path) -> None:
    settings = RetrievalEvaluation(folder / "dev.jsonl", tmp_path, index=folder / "index")
    with pytest.raises(IndexFolderError):
        evaluate_retrieval(settings, model=tiny_uniconv(seed=1), console=quiet())
    assert not list(tmp_path.iterdir())


def test_relevant_passages_change_the_responses(
    folder: Path, model: UniConv, tmp_path: Path
) -> None:
    texts = {}
    for passages in ("none", "relevant"):
        out = tmp_path / passages
        settings = ResponseEvaluation(
            folder / "dev.jsonl",
            out,
            passages=passages,  # type: ignore[arg-type]
            corpus=folder / "corpus.jsonl",
            model="tiny",
            max_new_tokens=8,
        )
        result = evaluate_responses(settings, model=model, console=quiet())
        assert result["queries"] == 2
        texts[passages] = (out / "predictions.jsonl").read_text()
    assert texts["none"] != texts["relevant"]
