"""Both evaluations with a real index and a tiny random model."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chat_server import Reply, chat_server
from rich.console import Console

from tiny import tiny_uniconv
from uniconv.data.beir import write_corpus
from uniconv.data.conversations import write_conversations
from uniconv.data.runs import ranked, read_run
from uniconv.errors import IndexFolderError
from uniconv.evaluation.response import evaluate_responses
from uniconv.evaluation.response_settings import ResponseEvaluation
from uniconv.evaluation.retrieval import evaluate_retrieval
from uniconv.evaluation.retrieval_settings import RetrievalEvaluation
from uniconv.model import UniConv
from uniconv.retrieval.building import build_index
from uniconv.retrieval.interface import Index
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
    first_turns = result["breakdowns"]["depth"]["1"]["metrics"]
    assert first_turns["mrr"]["mean"] == pytest.approx(first)


def test_another_model_is_refused(folder: Path, tmp_path: Path) -> None:
    settings = RetrievalEvaluation(folder / "dev.jsonl", tmp_path, index=folder / "index")
    with pytest.raises(IndexFolderError):
        evaluate_retrieval(settings, model=tiny_uniconv(seed=1), console=quiet())
    assert not list(tmp_path.iterdir())


def test_passages_and_history_change_the_responses(
    folder: Path, model: UniConv, tmp_path: Path
) -> None:
    settings = ResponseEvaluation(
        folder / "dev.jsonl",
        tmp_path,
        passages=("none", "retrieved", "relevant", "irrelevant"),
        history=(0, "all"),
        index=folder / "index",
        read=1,
        max_new_tokens=8,
    )
    result = evaluate_responses(settings, model=model, console=quiet())
    texts = {}
    for part, summary in result["parts"].items():
        assert summary["queries"] == 2
        rows = [json.loads(line) for line in (tmp_path / part / "predictions.jsonl").open()]
        texts[part] = tuple(row["prediction"] for row in rows)
        for row in rows:
            relevant = [passage["relevant"] for passage in row["passages"]]
            if part.startswith("relevant"):
                assert relevant == [True]
            if part.startswith("irrelevant"):
                assert relevant == [False]
    assert len(texts) == 8
    assert len({texts[part] for part in ("none", "relevant", "irrelevant")}) == 3
    for part in ("none", "relevant"):  # the first turn has no history, the second one has
        assert texts[part][0] == texts[f"{part}-history-0"][0]
        assert texts[part][1] != texts[f"{part}-history-0"][1]


def test_another_generator_reads_what_the_index_s_model_retrieved(
    folder: Path, model: UniConv, tmp_path: Path
) -> None:
    other = tiny_uniconv("qwen3", seed=1)
    other.save_pretrained(tmp_path / "other")
    search = ConversationalSearch(model, Index.open(folder / "index"))
    rows: dict[str, list[dict[str, Any]]] = {}
    with chat_server(lambda *_: Reply("Near the harbour [1].")) as server:
        for name, options in (
            ("own", {}),
            ("other", {"generator": str(tmp_path / "other")}),
            ("extractive", {"generator": "extractive"}),
            ("server", {"generator": server.url, "generator_model": "big"}),
        ):
            settings = ResponseEvaluation(
                folder / "dev.jsonl",
                tmp_path / name,
                index=folder / "index",
                max_new_tokens=8,
                **options,  # type: ignore[arg-type]
            )
            result = evaluate_responses(settings, search=search, console=quiet())
            lines = (tmp_path / name / "retrieved" / "predictions.jsonl").open()
            rows[name] = [json.loads(line) for line in lines]
            if name == "server":
                assert result["parts"]["retrieved"]["tokens"] == {"prompt": 14, "completion": 6}
    read = {name: [row["passages"] for row in made] for name, made in rows.items()}
    assert read["own"] == read["other"] == read["server"]
    assert read["extractive"] == [passages[:1] for passages in read["own"]]
    assert rows["own"][0]["prediction"] != rows["other"][0]["prediction"]
    first = rows["extractive"][0]
    assert first["prediction"] == f"{first['passages'][0]['text']} [1]"
    assert [row["prediction"] for row in rows["server"]] == ["Near the harbour [1]."] * 2
    assert [row["confidence"] is None for row in (rows["own"][0], rows["server"][0])] == [
        False,
        True,
    ]


def test_a_judge_grades_every_part(folder: Path, model: UniConv, tmp_path: Path) -> None:
    def answer(number: int, body: dict[str, Any]) -> Reply:
        return Reply(json.dumps({"score": 2 if number < 2 else 4, "reason": "Because."}))

    with chat_server(answer) as server:
        settings = ResponseEvaluation(
            folder / "dev.jsonl",
            tmp_path,
            passages=("none", "relevant"),
            corpus=folder / "corpus.jsonl",
            model="tiny",
            max_new_tokens=8,
            judge=server.url,
            judge_model="strict",
        )
        result = evaluate_responses(settings, model=model, console=quiet())
        assert result["parts"]["none"]["metrics"]["judge"]["mean"] == 2
        assert result["parts"]["relevant"]["metrics"]["judge"]["mean"] == 4
        assert result["parts"]["none"]["judge"]["failures"] == 0
        evaluate_responses(settings, model=model, console=quiet())
        assert len(server.requests) == 4
