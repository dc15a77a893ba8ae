"""A small world to study: a corpus, conversations about it, a tiny model, and configurations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tiny import tiny_uniconv
from uniconv.data.beir import write_corpus
from uniconv.data.conversations import write_conversations
from uniconv.types import Conversation, Passage, Turn

CORPUS = [
    Passage(f"p{n}", f"The {n}th tower opened in {1800 + n}.", f"Tower {n}") for n in range(12)
]


def conversation(number: int) -> Conversation:
    """Two turns with positives, then one without."""
    towers = (number % 12, (number + 5) % 12)
    turns = [
        Turn(f"When did tower {n} open?", f"In {1800 + n}.", positives=(f"p{n}",)) for n in towers
    ]
    return Conversation(f"c{number}", (*turns, Turn("Thanks?", "You are welcome.")))


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with corpus.jsonl, train.jsonl, dev.jsonl, train.yaml and model/."""
    folder = tmp_path_factory.mktemp("world")
    write_corpus(folder / "corpus.jsonl", CORPUS)
    write_conversations(folder / "train.jsonl", [conversation(n) for n in range(6)])
    write_conversations(folder / "dev.jsonl", [conversation(n) for n in range(6, 10)])
    tiny_uniconv("llama").save_pretrained(folder / "model")
    base = {
        "output": "not used",
        "model": {
            "path": str(folder / "model"),
            "method": "full",
            "conversation_tokens": 96,
            "passage_tokens": 48,
            "response_tokens": 24,
        },
        "data": {
            "train": [
                {
                    "conversations": str(folder / "train.jsonl"),
                    "corpora": [str(folder / "corpus.jsonl")],
                }
            ]
        },
        "objectives": {"temperature": 0.1},
        "optimisation": {"batch_size": 4, "steps": 2, "learning_rate": 0.01},
    }
    (folder / "train.yaml").write_text(yaml.safe_dump(base), "utf-8")
    return folder


@pytest.fixture
def write_study(world: Path, tmp_path: Path) -> Callable[..., Path]:
    """Writes a study's YAML; keyword arguments are more settings of it."""

    def write(**settings: Any) -> Path:
        value = {
            "output": str(tmp_path / "study"),
            "train": str(world / "train.yaml"),
            "evaluation": {
                "conversations": str(world / "dev.jsonl"),
                "corpora": [str(world / "corpus.jsonl")],
                "max_new_tokens": 3,
            },
            **settings,
        }
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump(value), "utf-8")
        return path

    return write
