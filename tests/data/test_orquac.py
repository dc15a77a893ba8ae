"""OR-QuAC, on a small dialogue in its format."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from native import put_json, put_jsonl, read_twisted

from uniconv.data.beir import read_corpus
from uniconv.data.catalogue import convert
from uniconv.data.conversations import read_conversations
from uniconv.errors import DataError
from uniconv.types import Conversation, Passage, Turn


def row(number: int, question: str, answer: str) -> dict[str, Any]:
    return {
        "qid": f"C_1_0_q#{number}",
        "question": question,
        "rewrite": f"{question} Ada",
        "history": [],
        "answer": {"text": answer, "answer_start": 0},
        "evidences": ["text"],
        "retrieval_labels": [1],
    }


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "orquac"
    rows = (row(0, "who?", "Ada"), row(1, "why?", "CANNOTANSWER"))
    put_jsonl(folder / "preprocessed/dev.txt", *rows)
    put_json(folder / "qrels.txt", {"C_1_0_q#0": {"9@0": 1, "9@1": 0}})
    block = {"id": "9@0", "title": "Ada", "text": "She built.", "aid": "9", "bid": 0}
    (folder / "all_blocks.txt.gz").write_bytes(gzip.compress(json.dumps(block).encode()))
    return folder


def test_turns_gold_and_passages(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    about = convert("orquac", source, out)
    yes, no = {"answerability": "answerable"}, {"answerability": "unanswerable"}
    assert list(read_conversations(out / "dev.jsonl")) == [
        Conversation(
            "C_1_0",
            (
                Turn("who?", "Ada", "who? Ada", ("9@0",), attributes=yes),
                Turn("why?", "CANNOTANSWER", "why? Ada", attributes=no),
            ),
        )
    ]
    assert list(read_corpus(out / "corpus.jsonl")) == [Passage("9@0", "She built.", "Ada")]
    assert about["counts"]["turns without a gold passage"] == 1
    put_jsonl(source / "preprocessed/dev.txt", row(1, "why?", "so"))
    with pytest.raises(DataError, match=r"dev.txt:1: field 'qid': is 2 after turn 0 of 'C_1_0'"):
        convert("orquac", source, out)


def test_odd_values_are_refused_or_read(source: Path) -> None:
    tried, refused = read_twisted("orquac", source, "*.txt")
    assert tried > refused > 60
