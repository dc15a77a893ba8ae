"""Doc2Dial and MultiDoc2Dial, on a few turns in the format of their releases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from native import put_json, read_twisted

from uniconv.data.beir import read_corpus
from uniconv.data.catalogue import convert
from uniconv.data.conversations import read_conversations
from uniconv.errors import DataError
from uniconv.types import UNANSWERABLE, Conversation, Turn

PAGE = "Permits#1_0"


def utterance(role: str, act: str, text: str, *references: dict[str, str]) -> dict[str, Any]:
    return {"role": role, "da": act, "utterance": text, "references": list(references)}


def put_pages(path: Path, key: str) -> None:
    texts = {
        "1": "\n\nFees \n",
        "2": f"{'word ' * 100}. ",
        "3": "\n\nDates \n",
        "4": "On Mondays. ",
    }
    spans = {id: {key: id, "text_sp": text} for id, text in texts.items()}
    page = {"doc_id": PAGE, "title": "Permits", "domain": "dmv", "spans": spans}
    put_json(path, {"doc_data": {"dmv": {PAGE: page}}})


def test_doc2dial_reads_its_release(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    put_pages(source / "doc2dial/doc2dial_doc.json", "sp_id")
    turns = [
        utterance("agent", "greet", "Hello."),
        utterance("user", "query_solution", "When can I come?", {"sp_id": "1", "label": "x"}),
        utterance("agent", "respond_solution", "On Mondays.", {"sp_id": "4", "label": "solution"}),
        utterance("user", "query_solution", "And the weather?"),
        utterance("agent", "respond_no_solution", "I can't tell."),
        utterance("user", "query_solution", "What is due?"),
        utterance("agent", "query_condition", "Where?", {"sp_id": "2", "label": "precondition"}),
    ]
    dialogues = [{"dial_id": "d", "turns": turns}, {"dial_id": "e", "turns": turns[:1]}]
    put_json(
        source / "doc2dial/doc2dial_dial_validation.json",
        {"dial_data": {"dmv": {PAGE: dialogues}}},
    )
    about = convert("doc2dial", source, out)
    fees, dates = (passage.id for passage in read_corpus(out / "corpus.jsonl"))
    none = {"type": "query_solution", "response_type": "respond_no_solution"}
    assert list(read_conversations(out / "val.jsonl")) == [
        Conversation(
            "d",
            (
                Turn(
                    "When can I come?",
                    "On Mondays.",
                    positives=(dates,),
                    attributes={"type": "query_solution", "response_type": "respond_solution"},
                ),
                Turn(
                    "And the weather?",
                    "I can't tell.",
                    attributes={**none, "answerability": UNANSWERABLE},
                ),
                Turn(
                    "What is due?",
                    "Where?",
                    positives=(fees,),
                    attributes={"type": "query_solution", "response_type": "query_condition"},
                ),
            ),
        )
    ]
    assert about["counts"]["left out, dialogues without a question"] == 1
    assert list(about["sources"]) == ["doc2dial_doc.json", "doc2dial_dial_validation.json"]


def test_multidoc2dial_names_the_page_of_every_reference(tmp_path: Path) -> None:
    put_pages(tmp_path / "multidoc2dial_doc.json", "id_sp")
    reference = {"id_sp": "4", "doc_id": PAGE, "label": "solution"}
    turns = [
        utterance("user", "query_solution", "When?", reference),
        utterance("agent", "respond_solution", "On Mondays.", reference),
        utterance("user", "query_solution", "Why?", reference),
        utterance("agent", "respond_no_solution", "No idea.", reference),
    ]
    dialogues = {"dial_data": {"dmv": [{"dial_id": "m", "turns": turns}]}}
    put_json(tmp_path / "multidoc2dial_dial_train.json", dialogues)
    convert("multidoc2dial", tmp_path, tmp_path / "out")
    (one,) = read_conversations(tmp_path / "out/train.jsonl")
    assert [turn.positives for turn in one.turns] == [(f"multidoc2dial:{PAGE}:1",), ()]
    assert one.turns[1].attributes["answerability"] == UNANSWERABLE
    reference["id_sp"] = "9"
    put_json(tmp_path / "multidoc2dial_dial_train.json", dialogues)
    where = r"dial_data.dmv\[0\].turns\[1\].references\[0\].id_sp': '9' is no span of page"
    with pytest.raises(DataError, match=where):
        convert("multidoc2dial", tmp_path, tmp_path / "out")
    turns[0]["role"] = "clerk"
    put_json(tmp_path / "multidoc2dial_dial_train.json", dialogues)
    with pytest.raises(DataError, match=r"turns\[0\].role': is neither user nor agent"):
        convert("multidoc2dial", tmp_path, tmp_path / "out")


def test_a_folder_without_dialogues_is_refused(tmp_path: Path) -> None:
    put_pages(tmp_path / "multidoc2dial_doc.json", "id_sp")
    with pytest.raises(DataError, match=r"has no file multidoc2dial_dial_train.json or"):
        convert("multidoc2dial", tmp_path, tmp_path / "out")


def test_odd_values_are_refused_or_read(tmp_path: Path) -> None:
    source = tmp_path / "in"
    put_pages(source / "doc2dial_doc.json", "sp_id")
    turns = [
        utterance("user", "query_solution", "When?"),
        utterance("agent", "respond_solution", "On Mondays.", {"sp_id": "4", "label": "solution"}),
    ]
    dialogues = {"dial_data": {"dmv": {PAGE: [{"dial_id": "d", "turns": turns}]}}}
    put_json(source / "doc2dial_dial_test.json", dialogues)
    tried, refused = read_twisted("doc2dial", source)
    assert 0 < refused < tried
