"""FaithDial, on a small dialogue in its format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from native import put_json, read_twisted

from uniconv.data.beir import read_corpus
from uniconv.data.catalogue import convert
from uniconv.data.conversations import read_conversations
from uniconv.errors import DataError
from uniconv.types import Conversation, Passage, Turn


def utterance(knowledge: str, response: str, *history: str, **labels: Any) -> dict[str, Any]:
    return {
        "history": list(history),
        "speaker": "Wizard",
        "knowledge": knowledge,
        "original_response": None,
        "response": response,
        "BEGIN": None,
        "VRM": None,
        **labels,
    }


def test_knowledge_becomes_passages_and_labels_attributes(tmp_path: Path) -> None:
    labels = {"BEGIN": ["Hallucination", "Entailment"], "VRM": ["Disclosure"]}
    talk = [
        utterance("Mills grind.", "Mills?"),
        utterance("Mills grind.", "They grind.", "Mills?", "What do they do?", **labels),
        utterance("Ada built it.", "Ada did.", "Mills?", "What do they do?", "…", "Who built it?"),
    ]
    put_json(tmp_path / "in/data/valid.json", [{"utterances": talk}, {"utterances": talk[:1]}])
    about = convert("faithdial", tmp_path / "in", tmp_path / "out")
    marks = {"begin": "hallucination, entailment", "vrm": "disclosure"}
    first = Turn("What do they do?", "They grind.", positives=("faithdial:1",), attributes=marks)
    second = Turn("Who built it?", "Ada did.", positives=("faithdial:2",))
    assert list(read_conversations(tmp_path / "out/valid.jsonl")) == [
        Conversation("valid_1", (first, second))
    ]
    assert list(read_corpus(tmp_path / "out/corpus.jsonl")) == [
        Passage("faithdial:1", "Mills grind."),
        Passage("faithdial:2", "Ada built it."),
    ]
    assert about["counts"]["left out, openings by the wizard"] == 2
    assert about["counts"]["left out, dialogues in which the seeker says nothing"] == 1


def test_faults_are_named(tmp_path: Path) -> None:
    talk = [utterance("Mills grind.", "They grind.", " ")]
    put_json(tmp_path / "train.json", [{"utterances": talk}])
    with pytest.raises(DataError, match=r"utterances\[0\].history\[0\]': is empty"):
        convert("faithdial", tmp_path, tmp_path / "out")


def test_odd_values_are_refused_or_read(tmp_path: Path) -> None:
    talk = [utterance("Mills grind.", "They grind.", "What do they do?", BEGIN=["Generic"])]
    put_json(tmp_path / "in/train.json", [{"utterances": talk}])
    tried, refused = read_twisted("faithdial", tmp_path / "in")
    assert tried > refused > 40
