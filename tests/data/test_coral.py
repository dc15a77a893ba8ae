"""CORAL, on a small conversation in its format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from native import put_json, put_jsonl, read_twisted

from uniconv.data.beir import read_corpus
from uniconv.data.catalogue import convert
from uniconv.data.conversations import read_conversations
from uniconv.errors import DataError
from uniconv.types import Conversation, Passage, Turn


def turn(number: int, question: str, response: str, *passages: int) -> dict[str, Any]:
    return {
        "turn_id": number,
        "question": question,
        "response": response,
        "golden_rewrite": f"{question} Ada",
        "golden_docs_pids": list(passages),
        "golden_docs_text": ["text"] * len(passages),
    }


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "coral"
    turns = [turn(1, "who?", "Ada [1][2]. In [1902]", 1, 2, 1), turn(2, "why?", "So.", 2)]
    put_json(folder / "test/test_conversation.json", [{"conv_id": "Test_LDS_4", "turns": turns}])
    passages = ({"ref_id": number, "ref_string": f"text {number}"} for number in (1, 2))
    put_jsonl(folder / "passage_corpus.json", *passages)
    return folder


def test_citations_become_positives(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    about = convert("coral", source, out)
    flow = {"flow": "LDS"}
    assert list(read_conversations(out / "test.jsonl")) == [
        Conversation(
            "Test_LDS_4",
            (
                Turn("who?", "Ada. In [1902]", "who? Ada", ("1", "2"), attributes=flow),
                Turn("why?", "So.", "why? Ada", ("2",), attributes=flow),
            ),
        )
    ]
    assert list(read_corpus(out / "corpus.jsonl")) == [
        Passage("1", "text 1"),
        Passage("2", "text 2"),
    ]
    assert about["counts"]["citations taken out of responses"] == 2


def test_conversations_may_be_jsonl_and_passages_a_list(source: Path, tmp_path: Path) -> None:
    convert("coral", source, tmp_path / "one")
    (path,) = source.glob("test/*")
    path.write_text(path.read_text()[1:-2])
    passages = [{"ref_id": number, "ref_string": f"text {number}"} for number in (1, 2)]
    put_json(source / "passage_corpus.json", passages)
    convert("coral", source, tmp_path / "two")
    for name in ("test.jsonl", "corpus.jsonl"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    path.write_text('{"conv_id": "a", "turns": []}\n{"conv_id": "b", "turns": 3}\n')
    with pytest.raises(DataError, match=r"conversation.json:1: field 'turns': is empty"):
        convert("coral", source, tmp_path / "two")


def test_odd_values_are_refused_or_read(source: Path) -> None:
    tried, refused = read_twisted("coral", source)
    assert tried > refused > 60
