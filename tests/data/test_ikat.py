"""TREC iKAT, on small topics in the formats of its years."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from native import put_json, put_jsonl, put_text, read_twisted

from uniconv.data.beir import read_corpus, read_qrels
from uniconv.data.catalogue import convert
from uniconv.data.conversations import read_conversations
from uniconv.errors import DataError
from uniconv.types import Conversation, Passage, Turn


def turn(place: int, text: str, provenance: list[str], ptkb: list[int]) -> dict[str, Any]:
    return {
        "turn_id": place,
        "utterance": text,
        "resolved_utterance": f"{text} (in full)",
        "response": f"Answer {place}.",
        "ptkb_provenance": ptkb,
        "response_provenance": provenance,
    }


@pytest.fixture
def source(tmp_path: Path) -> Path:
    statements = {"1": "I keep bees.", "2": "I am tall."}
    turns = [turn(1, "What grows here?", ["d-1:0"], []), turn(2, "For them?", ["d-1:4"], [1])]
    topic = {"number": "9-1", "title": "Garden", "ptkb": statements, "turns": turns}
    put_json(tmp_path / "in/2023_test_topics.json", [topic])
    return tmp_path / "in"


def test_topics_alone(source: Path, tmp_path: Path) -> None:
    about = convert("ikat23", source, tmp_path / "out")
    everything = {"topic": "Garden", "ptkb": "I keep bees.\nI am tall."}
    one = {"topic": "Garden", "relevant_ptkb": "I keep bees."}
    answers = (
        Turn(
            "What grows here?",
            "Answer 1.",
            "What grows here? (in full)",
            ("d-1:0",),
            attributes=everything,
        ),
        Turn("For them?", "Answer 2.", "For them? (in full)", ("d-1:4",), attributes=one),
    )
    assert list(read_conversations(tmp_path / "out/test.jsonl")) == [Conversation("9-1", answers)]
    assert about["evaluation_only"]
    assert about["counts"]["test"] == {"conversations": 1, "turns": 2, "queries": 2}


def test_judgements_and_texts_of_provenance(source: Path, tmp_path: Path) -> None:
    put_text(source / "2023-qrels.all-turns.txt", "9-1_2 0 d-1:4 1", "9-1_2 0 d-2:1 3")
    out = tmp_path / "out"
    convert("ikat23", source, out)
    assert read_qrels(out / "test.qrels.tsv") == {"9-1_2": {"d-1:4": 1, "d-2:1": 3}}
    (one,) = read_conversations(out / "test.jsonl")
    assert [spoken.positives for spoken in one.turns] == [("d-1:0",), ("d-2:1",)]
    row = {"doc_id": "d-1", "passage_id": "4", "passage_text": "\nLavender.\n"}
    put_jsonl(source / "2023_test_topics_psg_text.jsonl", row)
    about = convert("ikat23", source, out)
    assert list(read_corpus(out / "corpus.jsonl")) == [Passage("d-1:4", "Lavender.")]
    assert read_qrels(out / "test.qrels.tsv") == {"9-1_2": {"d-1:4": 1}}
    assert about["counts"]["dropped, positives that the corpus lacks"] == 2
    put_text(source / "2023-qrels.all-turns.txt", "9-1_3 0 d-1:4 1")
    with pytest.raises(DataError, match="query '9-1_3' is no turn"):
        convert("ikat23", source, out)


def test_plain_numbers_of_2024_and_texts_of_2025(tmp_path: Path) -> None:
    topic = {"number": 0, "title": "Garden", "ptkb": {}, "turns": [turn(1, "Hello?", [], [])]}
    put_json(tmp_path / "2024_test_topics.json", [topic])
    convert("ikat24", tmp_path, tmp_path / "24")
    (one,) = read_conversations(tmp_path / "24/test.jsonl")
    assert (one.id, one.turns[0].attributes) == ("0", {"topic": "Garden"})
    row = {
        "turn_id": 1,
        "user_utterance": "Which soil?",
        "resolved_utterance": "",
        "response": "Clay.",
        "relevant_ptkbs": ["I am tall."],
        "citations": ["d-3:2", "d-3:2"],
    }
    topic = {"number": "1-1", "title": "Soil", "ptkb": ["I am tall."], "responses": [row]}
    put_json(tmp_path / "2025_test_topics.json", [topic])
    about = convert("ikat25", tmp_path, tmp_path / "25")
    attributes = {"topic": "Soil", "ptkb": "I am tall.", "relevant_ptkb": "I am tall."}
    assert list(read_conversations(tmp_path / "25/test.jsonl")) == [
        Conversation("1-1", (Turn("Which soil?", "Clay.", None, ("d-3:2",), (), attributes),))
    ]
    assert about["counts"]["turns without a rewrite"] == 1
    row["relevant_ptkbs"] = ["I am short."]
    put_json(tmp_path / "2025_test_topics.json", [topic])
    with pytest.raises(DataError, match=r"relevant_ptkbs\[0\]': 'I am short.' is no statement"):
        convert("ikat25", tmp_path, tmp_path / "25")


def test_odd_values_are_refused_or_read(source: Path) -> None:
    tried, refused = read_twisted("ikat23", source)
    assert 0 < refused < tried
