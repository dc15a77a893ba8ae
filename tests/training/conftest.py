"""A small world to train in: a corpus, conversations about it, and a tiny random model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tiny import tiny_uniconv
from uniconv.config import TrainConfig, config_from
from uniconv.data.beir import write_corpus
from uniconv.data.conversations import write_conversations
from uniconv.types import Conversation, Passage, Turn

CORPUS = [
    Passage(f"p{n}", f"The {n}th tower opened in {1800 + n}.", f"Tower {n}") for n in range(9)
]


def _conversation(number: int) -> Conversation:
    def turn(step: int) -> Turn:
        topic = (number * 2 + step) % 9
        return Turn(
            f"When did tower {topic} open?",
            f"In {1800 + topic}.",
            positives=(f"p{topic}",),
            negatives=(f"p{(topic + 3) % 9}", f"p{(topic + 4) % 9}", f"p{(topic + 5) % 9}"),
        )

    return Conversation(f"c{number}", (turn(0), turn(1)))


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with corpus.jsonl, train.jsonl (5 conversations of 2 turns) and model/."""
    folder = tmp_path_factory.mktemp("world")
    write_corpus(folder / "corpus.jsonl", CORPUS)
    write_conversations(folder / "train.jsonl", [_conversation(number) for number in range(5)])
    tiny_uniconv("llama").save_pretrained(folder / "model")
    return folder


@pytest.fixture
def configure(world: Path, tmp_path: Path) -> Callable[..., TrainConfig]:
    """Makes a configuration of ``world``; keyword arguments are merged into its sections."""

    def make(output: str = "run", **sections: Any) -> TrainConfig:
        source = {
            "conversations": str(world / "train.jsonl"),
            "corpora": [str(world / "corpus.jsonl")],
        }
        limits = {"conversation_tokens": 96, "passage_tokens": 48, "response_tokens": 24}
        value: dict[str, Any] = {
            "output": str(tmp_path / output),
            "model": {"path": str(world / "model"), "method": "full", **limits},
            "data": {"train": [source], "hard_negatives": 2, "grounded_passages": 2},
            "objectives": {"gamma": 0.5, "temperature": 0.1},
            # What is compared to the last digit is not to depend on the CPU's instructions.
            "optimisation": {
                "batch_size": 2,
                "steps": 4,
                "learning_rate": 0.01,
                "precision": "fp32",
            },
            "checkpoints": {"every_steps": 2},
            "reporting": {"log_every": 1, "diagnose_every": 0},
        }
        for name, section in sections.items():
            value[name] = {**value.get(name, {}), **section}
        return config_from(value)

    return make
