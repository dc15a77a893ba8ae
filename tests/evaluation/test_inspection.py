"""The inspection page: what it holds of each turn, and what can't be inspected."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from saved_results import (
    CONVERSATION,
    PASSAGES,
    RUN,
    prediction_row,
    write_inputs,
    write_response,
    write_retrieval,
)
from test_inspect_page import data_of

from uniconv.data.lines import write_jsonl
from uniconv.errors import ConfigError, DataError, UniConvError
from uniconv.evaluation.inspection import InspectSettings, inspect_results

TOWER, STORM, BRIDGE = PASSAGES


@pytest.fixture
def config(tmp_path: Path) -> dict[str, str]:
    return write_inputs(tmp_path)


@pytest.fixture
def retrieval(tmp_path: Path, config: dict[str, str]) -> Path:
    return write_retrieval(tmp_path / "dense", config)


@pytest.fixture
def response(tmp_path: Path, config: dict[str, str]) -> Path:
    rows = [
        prediction_row("c_1", "In 1893 [1].", [TOWER, BRIDGE], confidence=2.5),
        prediction_row("c_2", "It crosses the river [1].", [BRIDGE, STORM]),
        prediction_row("c_3", "Sheep did [7].", [BRIDGE]),
    ]
    return write_response(tmp_path / "answers", config, rows, {"c_1": 1.0, "c_2": 0.1, "c_3": 0.0})


def inspect(tmp_path: Path, *results: Path, **settings: Any) -> dict[str, Any]:
    page = tmp_path / "page.html"
    told = inspect_results(InspectSettings(results, page, **settings))
    assert told.size == page.stat().st_size
    data: dict[str, Any] = data_of(page.read_text("utf-8"))
    assert told.turns == len(data["turns"])
    assert told.passages == len(data["passages"])
    return data


def ids(data: dict[str, Any], entries: list[dict[str, Any]]) -> list[str]:
    return [data["passages"][entry["passage"]]["id"] for entry in entries]


def test_a_retrieval_result_shows_its_judged_turns(tmp_path: Path, retrieval: Path) -> None:
    data = inspect(tmp_path, retrieval)
    first, second, fourth = data["turns"]
    assert [turn["id"] for turn in data["turns"]] == ["c_1", "c_2", "c_4"]
    assert [turn["reason"] for turn in data["turns"]] == ["retrieved", "retrieved", "not-retrieved"]
    assert ids(data, second["retrieved"]) == ["bridge#1", "tower#2", "tower#1"]
    assert [entry["score"] for entry in second["retrieved"]] == [0.8, 0.7, 0.1]
    assert second["relevant"][0]["rank"] == 3
    assert (fourth["relevant"][0]["rank"], fourth["relevant"][0]["unranked"]) == (None, True)
    assert second["measures"]["mrr"] == pytest.approx(0.33333)
    assert first["answer"] is None
    assert first["references"] == ["In 1893."]
    assert data["firstMeasure"] == "ndcg@3"
    assert data["conversations"][0]["turns"][2]["query"] == "Who painted it?"
    assert {"id": "tower#2", "title": "Storm", "text": STORM.text, "cut": False} in data["passages"]


def test_a_response_result_shows_answers_and_what_was_read(tmp_path: Path, response: Path) -> None:
    data = inspect(tmp_path, response)
    first, second, third = data["turns"]
    assert [turn["reason"] for turn in data["turns"]] == [
        "answered",
        "not-read",
        "answered-unanswerable",
    ]
    assert ids(data, first["read"]) == ["tower#1", "bridge#1"]
    assert [entry["cited"] for entry in first["read"]] == [True, False]
    assert (first["answer"], first["confidence"]) == ("In 1893 [1].", 2.5)
    assert second["retrieved"] == []
    assert second["relevant"][0]["unranked"] is False
    assert [entry["cited"] for entry in third["read"]] == [False]  # [7] points nowhere
    assert third["labels"] == [["answerability", "unanswerable"]]
    assert data["firstMeasure"] == "f1"


def test_both_together_tell_retrieved_from_read(
    tmp_path: Path, retrieval: Path, response: Path
) -> None:
    data = inspect(tmp_path, retrieval, response)
    assert [turn["id"] for turn in data["turns"]] == ["c_1", "c_2", "c_3", "c_4"]
    second = data["turns"][1]
    assert second["reason"] == "not-read"
    assert second["steps"][:2] == [
        "The relevant passage is at rank 3 of 3.",
        "The model read 2 passages, 0 relevant.",
    ]
    assert second["measures"].keys() >= {"mrr", "f1"}
    low = inspect(tmp_path, retrieval, response, top=2)
    assert low["turns"][1]["reason"] == "ranked-low"


def test_the_last_question_alone_tells_who_needs_the_history(
    tmp_path: Path, config: dict[str, str], retrieval: Path
) -> None:
    run = {"c_1": {"bridge#1": 1.0}, "c_2": {"bridge#1": 1.0}, "c_4": {"tower#2": 1.0}}
    last = write_retrieval(tmp_path / "last", {**config, "query": "last"}, run)
    data = inspect(tmp_path, retrieval, last_question=last)
    assert [turn["needsHistory"] for turn in data["turns"]] == [None, True, False]
    assert data["turns"][2]["steps"][-1].endswith("no history is needed.")
    with pytest.raises(ConfigError, match="of the last questions alone"):
        inspect(tmp_path, retrieval, last_question=retrieval)


def test_breakdowns_are_labels(tmp_path: Path, retrieval: Path) -> None:
    groups = {"depth": ["2"], "topic": ["shift"], "gold": ["unseen"], "type": ["how"]}
    write_jsonl(retrieval / "groups.jsonl", [{"_id": "c_2", **groups}])
    labels = [turn["labels"] for turn in inspect(tmp_path, retrieval)["turns"]]
    told = [["turn", "shift"], ["relevant passages in training", "unseen"]]
    assert labels == [[], told, []]


def test_passages_are_capped_and_shortened(tmp_path: Path, retrieval: Path) -> None:
    data = inspect(tmp_path, retrieval, passages=1, characters=9)
    second = data["turns"][1]
    assert ids(data, second["retrieved"]) == ["bridge#1"]
    assert second["moreRetrieved"] == 2
    assert {"id": "tower#1", "title": "Tower", "text": "The tower", "cut": True} in data["passages"]
    assert "tower#2" in [one["id"] for one in data["passages"]]  # relevant to the fourth turn


def test_without_a_corpus_passages_have_ids_only(
    tmp_path: Path, retrieval: Path, response: Path
) -> None:
    (tmp_path / "corpus.jsonl").rename(tmp_path / "elsewhere.jsonl")
    page = tmp_path / "page.html"
    told = inspect_results(InspectSettings((retrieval,), page))
    assert told.untold == told.passages == 3
    assert "--corpus or --index" in str(told)
    texts = {one["id"]: one["text"] for one in data_of(page.read_text())["passages"]}
    assert texts["tower#1"] is None
    # What was read lies in the predictions.
    assert inspect_results(InspectSettings((response,), page)).untold == 0
    elsewhere = InspectSettings((retrieval,), page, corpus=tmp_path / "elsewhere.jsonl")
    assert inspect_results(elsewhere).untold == 0


def test_further_references_are_shown(tmp_path: Path, config: dict[str, str]) -> None:
    path = tmp_path / "references.jsonl"
    write_jsonl(path, [{"_id": "c_1", "references": ["In the year 1893."]}])
    rows = [prediction_row("c_1", "In 1893.", [])]
    folder = write_response(
        tmp_path / "answers", {**config, "references": str(path)}, rows, {"c_1": 1}
    )
    data = inspect(tmp_path, folder)
    assert data["turns"][0]["references"] == ["In 1893.", "In the year 1893."]


def test_hostile_passages_and_questions_stay_text(tmp_path: Path, config: dict[str, str]) -> None:
    attack = "</script><img src=x onerror=alert(1)>"
    row = prediction_row("c_1", attack, [PASSAGES[0]])
    row["passages"][0] |= {"title": attack, "text": attack}
    data = inspect(tmp_path, write_response(tmp_path / "answers", config, [row], {"c_1": 0.0}))
    page = (tmp_path / "page.html").read_text()
    assert "<img" not in page and page.count("</script>") == 2
    assert data["turns"][0]["answer"] == attack
    assert data["passages"][0]["text"] == attack


def test_conversations_that_are_gone_must_be_named(tmp_path: Path, retrieval: Path) -> None:
    moved = shutil.move(tmp_path / "dev.jsonl", tmp_path / "moved.jsonl")
    with pytest.raises(UniConvError, match=r"no longer at .*dev\.jsonl; name .* --conversations"):
        inspect(tmp_path, retrieval)
    assert len(inspect(tmp_path, retrieval, conversations=Path(moved))["turns"]) == 3


def test_other_conversations_are_refused(tmp_path: Path, retrieval: Path) -> None:
    other = write_inputs(tmp_path / "other", type(CONVERSATION)("d", CONVERSATION.turns))
    with pytest.raises(DataError, match="has no turn 'c_1'"):
        inspect(tmp_path, retrieval, conversations=Path(other["conversations"]))
    assert not (tmp_path / "page.html").exists()


def test_one_result_of_a_kind(tmp_path: Path, config: dict[str, str], retrieval: Path) -> None:
    second = write_retrieval(tmp_path / "bm25", config, RUN)
    with pytest.raises(ConfigError, match="both retrieval results"):
        inspect(tmp_path, retrieval, second)
    with pytest.raises(UniConvError, match="name the folder of at least one result"):
        inspect(tmp_path)
    with pytest.raises(ConfigError, match="not both"):
        inspect(tmp_path, retrieval, corpus=Path("a"), index=Path("b"))
    with pytest.raises(ConfigError, match="1 or more"):
        inspect(tmp_path, retrieval, passages=0)
