"""Each known failure is provoked by training, and told; healthy training is not warned of."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tiny import tiny_uniconv
from uniconv.config import config_from
from uniconv.data.beir import write_corpus
from uniconv.data.conversations import write_conversations
from uniconv.training.failures import CONCENTRATED, CONFUSED, LASTING, RISEN, UNREAD, Watch
from uniconv.training.trainer import train
from uniconv.types import Conversation, Passage, Turn

GATES = "abcdefgh"

Run = Callable[..., list[tuple[int, str]]]


def _conversations(path: Path, question: str, answer: str) -> None:
    talks = []
    for number, gate in enumerate(GATES):
        year = 1800 + 11 * number
        turn = Turn(question.format(gate=gate), answer.format(year=year), positives=(gate,))
        talks.append(Conversation(gate, (turn,)))
    write_conversations(path, talks)


@pytest.fixture(scope="module")
def gates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Passages about gates, and conversations whose questions do or don't name the gate."""
    folder = tmp_path_factory.mktemp("gates")
    write_corpus(
        folder / "corpus.jsonl",
        [Passage(gate, f"Gate {gate} opened in {1800 + 11 * n}.") for n, gate in enumerate(GATES)],
    )
    _conversations(folder / "named.jsonl", "When did gate {gate} open?", "In {year}.")
    _conversations(folder / "unnamed.jsonl", "When did it open?", "In {year}.")
    _conversations(folder / "others.jsonl", "When did it open?", "Bananas are yellow {year}.")
    tiny_uniconv("llama").save_pretrained(folder / "model")
    return folder


@pytest.fixture
def run(gates: Path, tmp_path: Path) -> Run:
    """Trains on a file, looks at another, and tells the steps and names of warnings."""

    def source(name: str) -> dict[str, Any]:
        return {"conversations": str(gates / name), "corpora": [str(gates / "corpus.jsonl")]}

    def train_on(
        learned: str, dev: str, objectives: dict[str, float], every: int, **optimisation: Any
    ) -> list[tuple[int, str]]:
        weights = {"retrieval": 0.0, "generation": 0.0, "alpha": 0.0, "temperature": 0.1}
        output, before = tmp_path / learned, tmp_path / "unnamed.jsonl" / "model"
        value: dict[str, Any] = {
            "output": str(output),
            "model": {
                "path": str(before if before.exists() else gates / "model"),
                "method": "full",
                "conversation_tokens": 96,
                "passage_tokens": 48,
                "response_tokens": 24,
            },
            "data": {"train": [source(learned)], "dev": [source(dev)], "grounded_passages": 1},
            "objectives": {**weights, **objectives},
            "optimisation": {
                "batch_size": 8,
                "precision": "fp32",
                "schedule": "constant",
                "warmup": 0.0,
                **optimisation,
            },
            "reporting": {"log_every": 1, "diagnose_every": every, "loggers": ["jsonl"]},
        }
        train(config_from(value))
        lines = (output / "metrics.jsonl").read_text("utf-8").splitlines()
        records = [json.loads(line) for line in lines]
        return [(one["step"], one["warning"]["name"]) for one in records if "warning" in one]

    return train_on


def test_collapse_is_told(run: Run) -> None:
    # Every question is the same, so that nothing tells which passage is meant.
    warnings = run(
        "unnamed.jsonl", "unnamed.jsonl", {"retrieval": 1}, 100, learning_rate=0.01, steps=10
    )
    assert [name for _, name in warnings] == ["retrieval collapse"]


def test_forgetting_is_told(run: Run) -> None:
    write = {"generation": 1.0}
    learned = run("unnamed.jsonl", "unnamed.jsonl", write, 100, learning_rate=0.01, steps=20)
    assert learned == []
    # The same questions now have other answers.
    warnings = run("others.jsonl", "unnamed.jsonl", write, 2, learning_rate=0.01, steps=4)
    assert (4, "forgetting") in warnings


def test_ignoring_passages_is_told(run: Run) -> None:
    # Answers are learned by heart, and no passage is ever shown.
    write = {"generation": 1.0}
    warnings = run("unnamed.jsonl", "unnamed.jsonl", write, 5, learning_rate=0.01, steps=20)
    assert "ignoring passages" in [name for _, name in warnings]


def test_healthy_retrieval_and_generation_are_silent(run: Run) -> None:
    both = {"retrieval": 1.0, "generation": 1.0}
    warnings = run("named.jsonl", "named.jsonl", both, 5, learning_rate=0.005, steps=20)
    assert {name for _, name in warnings} <= {"ignoring passages"}  # which nothing teaches here


def test_reading_passages_is_silent(run: Run) -> None:
    # Only the passage tells the year.
    read = {"gamma": 1.0}
    assert (
        run("unnamed.jsonl", "unnamed.jsonl", read, 10, learning_rate=0.01, steps=40, warmup=0.5)
        == []
    )


def _observed(watch: Watch, what: str, *readings: dict[str, float]) -> list[int]:
    """The numbers of readings, from 1, at which something is said."""
    return [n for n, values in enumerate(readings, 1) if watch.observe(n, what, values)]


@pytest.mark.parametrize(
    ("name", "what", "bad", "good"),
    [
        (
            "retrieval collapse",
            "train",
            {"retrieval_uniformity": CONCENTRATED + 0.01, "retrieval_accuracy": CONFUSED - 0.01},
            {"retrieval_uniformity": CONCENTRATED - 0.01, "retrieval_accuracy": CONFUSED - 0.01},
        ),
        (
            "retrieval collapse",
            "train",
            {"retrieval_uniformity": CONCENTRATED + 0.01, "retrieval_accuracy": CONFUSED - 0.01},
            {"retrieval_uniformity": CONCENTRATED + 0.01, "retrieval_accuracy": CONFUSED + 0.01},
        ),
        (
            "forgetting",
            "diagnosis",
            {"held_out_perplexity": 10 * RISEN + 0.1},
            {"held_out_perplexity": 10.0},
        ),
        (
            "ignoring passages",
            "diagnosis",
            {"relevant_passage_loss": 2 * (1 - UNREAD) + 0.01, "random_passage_loss": 2.0},
            {"relevant_passage_loss": 2 * (1 - UNREAD) - 0.01, "random_passage_loss": 2.0},
        ),
    ],
)
def test_a_failure_is_told_once_when_it_lasts(
    name: str, what: str, bad: dict[str, float], good: dict[str, float]
) -> None:
    lasting = LASTING[name]
    readings = [good] + [bad] * (lasting - 1) + [good] + [bad] * (2 * lasting) + [good]
    first = 1 + lasting + lasting
    assert _observed(Watch(0), what, *readings, *[bad] * lasting) == [
        first,
        len(readings) + lasting,
    ]
    # Not while the learning rate rises.
    assert _observed(Watch(first - 1), what, *readings) == [first - 1 + lasting]
    # A watch that goes on from another's state says what that would have.
    before = Watch(0)
    assert _observed(before, what, *readings[: first - 1]) == []
    after = Watch(0)
    after.load(json.loads(json.dumps(before.state())))
    (failure,) = after.observe(first, what, bad)
    assert failure.name == name


def test_other_measurements_say_nothing() -> None:
    watch = Watch(0)
    collapsed = {"retrieval_uniformity": 0.0, "retrieval_accuracy": 0.0}
    assert _observed(watch, "dev", *[collapsed] * 9) == []
    assert _observed(watch, "diagnosis", *[{"cosine_retrieval_cii": -1.0}] * 9) == []
