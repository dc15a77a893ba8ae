"""A teacher through the trainer: what it says is made once, kept, gone on with, and learned."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from retrieval.test_sentence_encoder import save_model
from tiny import tiny_uniconv
from training.test_stages import staged
from training.test_trainer import _records, _stop_after, _weights
from uniconv.config import TrainConfig, check_config
from uniconv.data.conversations import write_conversations
from uniconv.errors import ConfigError
from uniconv.model import UniConv
from uniconv.training import teacher_responses
from uniconv.training.trainer import Trainer, train
from uniconv.types import Conversation, Turn

Configure = Callable[..., TrainConfig]

TAUGHT = {"scores": 1.0, "embeddings": 2.0, "tokens": 0.5, "grounded_tokens": 0.5}
ALONE = {"retrieval": 0, "generation": 0, "alpha": 0, "gamma": 0, "temperature": 0.1}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("teacher") / "uniconv"
    tiny_uniconv("qwen3", seed=3).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of sequences that UniConv models encoded outside of training, as they come."""
    counts: list[int] = []
    encode = UniConv.encode

    def counting(self: UniConv, sequences: Any, **options: Any) -> np.ndarray:
        counts.append(len(sequences))
        return encode(self, sequences, **options)

    monkeypatch.setattr(UniConv, "encode", counting)
    return counts


def test_resumed_equals_uninterrupted(
    configure: Configure, teacher: str, monkeypatch: pytest.MonkeyPatch, encoded: list[int]
) -> None:
    parts = {"objectives": TAUGHT, "distillation": {"teacher": teacher}}
    whole, stopped = configure("whole", **parts), configure("stopped", **parts)
    uninterrupted = _weights(train(whole))
    with monkeypatch.context() as patch:
        _stop_after(patch, 3)
        with pytest.raises(SystemExit):
            train(stopped)
    encoded.clear()
    resumed = _weights(train(stopped))
    assert not encoded  # the teacher's embeddings were kept
    for name, value in uninterrupted.items():
        assert torch.equal(value, resumed[name]), name
    last = [record["train"] for record in _records(whole.output) if "train" in record][-1]
    for name in (
        "retrieval_scores",
        "retrieval_embeddings",
        "generation_tokens",
        "grounded_tokens",
    ):
        assert last[name] > 0
    own = ("retrieval", "generation", "cii", "grounded")
    objectives = whole.objectives
    weights = dict(zip(own, objectives.weights, strict=True)) | objectives.taught
    assert last["loss"] == pytest.approx(sum(w * last[name] for name, w in weights.items()))


def test_a_stopped_teacher_goes_on_and_runs_share_it(
    configure: Configure, teacher: str, tmp_path: Path, encoded: list[int]
) -> None:
    folder = tmp_path / "shared"
    parts = {
        "objectives": {**ALONE, "scores": 1.0},
        "distillation": {"teacher": teacher, "folder": str(folder)},
    }
    Trainer(configure("one", **parts))
    assert sorted(encoded) == [9, 10]  # passages, and turns
    (shard,) = folder.glob("*/conversations/000000.npy")
    shard.unlink()
    encoded.clear()
    Trainer(configure("two", **parts))
    assert encoded == [10]
    encoded.clear()
    Trainer(configure("three", **parts))
    assert encoded == []


def test_a_sentence_encoder_teaches_by_scores_and_relations(
    configure: Configure, tmp_path: Path
) -> None:
    name = save_model(tmp_path / "bert")
    parts = {
        "objectives": {**ALONE, "scores": 1.0, "embeddings": 10.0},
        "distillation": {"teacher": name, "kind": "sentence-transformers", "query": "last"},
        "optimisation": {"batch_size": 10, "steps": 12},
    }
    config = configure(**parts)
    train(config)
    records = [record["train"] for record in _records(config.output) if "train" in record]
    for part in ("retrieval_scores", "retrieval_embeddings"):
        assert records[-1][part] < 0.9 * records[0][part]


def test_a_uniconv_teacher_reads_rewrites_where_there_are_any(
    configure: Configure, teacher: str, tmp_path: Path
) -> None:
    turns = (Turn("Which tower?", "Tower 1."), Turn("When?", "In 1801.", "When did tower 1 open?"))
    write_conversations(tmp_path / "talks.jsonl", [Conversation("c", turns)])
    source = {"conversations": str(tmp_path / "talks.jsonl"), "retrieval": "responses"}
    config = configure(
        objectives={**ALONE, "embeddings": 1.0},
        data={"train": [{**source, "generation": "none", "cii": False, "grounded": False}]},
        distillation={"teacher": teacher, "query": "rewrite"},
        optimisation={"batch_size": 2, "steps": 1},
    )
    Trainer(config)
    (kept,) = (config.output / "teacher").glob("*/conversations/*.npy")
    talk = Conversation("c", turns)
    read = [talk.context(1), Conversation.start("When did tower 1 open?")]
    expected = UniConv.from_pretrained(teacher, device="cpu").encode_conversations(read)
    np.testing.assert_allclose(np.load(kept), expected, atol=1e-5)


def test_held_out_turns_are_measured_against_the_teacher(
    configure: Configure, teacher: str, world: Path
) -> None:
    source = {
        "conversations": str(world / "train.jsonl"),
        "corpora": [str(world / "corpus.jsonl")],
    }
    config = configure(
        objectives={**ALONE, "scores": 1.0},
        data={"dev": [source]},
        distillation={"teacher": teacher},
    )
    train(config)
    (dev,) = [record["dev"] for record in _records(config.output) if "dev" in record]
    assert dev["retrieval_scores"] > 0


@pytest.mark.parametrize("form", ["closed", "grounded"])
def test_the_teacher_writes_once_what_the_student_learns(
    form: str, configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Another tokenizer than the student's: the sequence level needs no common one.
    other = tiny_uniconv("mistral", seed=4, chat_template=None)
    other.tokenizer.add_tokens(["towering"])
    other.save_pretrained(tmp_path / "other")
    settings = {"teacher": str(tmp_path / "other"), "responses": form}
    config = configure(distillation=settings, model={"response_tokens": 6})
    run = Trainer(config)
    examples = run.collators["training"]._examples
    wise = UniConv.from_pretrained(tmp_path / "other")
    written = {}
    for one in examples.examples:
        read = [examples.passages[0][id] for id in one.turn.positives] if form == "grounded" else []
        pieces = wise.generate(one.context, read, max_new_tokens=6, stop_loops=True)
        written[one.conversation.query_id(one.number)] = "".join(pieces).strip()
        assert one.turn.response == written[one.conversation.query_id(one.number)]
        assert all(turn.response.startswith("In 18") for turn in one.context.turns[:-1])
    assert len(set(written.values())) > 1
    assert len({id(one.conversation) for one in examples.examples}) == 5  # still read together
    (path,) = config.output.glob("teacher/*/responses-6/0000.jsonl")
    lines = path.read_text("utf-8").splitlines(keepends=True)
    assert {row["_id"]: row["response"] for row in map(json.loads, lines)} == written
    about = json.loads((path.parent / "about.json").read_text("utf-8"))
    assert about["teacher"] == str(tmp_path / "other")
    # Killed in the middle of a line, it writes that one and the later ones again.
    path.write_text("".join(lines[:4]) + lines[4][:9], "utf-8")
    asked: list[int] = []
    task = teacher_responses._written

    def counting(teacher: Any, tasks: Any, most: int) -> Any:
        asked.append(len(tasks))
        return task(teacher, tasks, most)

    monkeypatch.setattr(teacher_responses, "_written", counting)
    Trainer(config)
    assert asked == [6]
    assert path.read_text("utf-8").splitlines(keepends=True) == lines
    Trainer(config)
    assert asked == [6]


def test_unequal_tokenizers_are_refused_for_tokens(configure: Configure, tmp_path: Path) -> None:
    other = tiny_uniconv(seed=4)
    other.tokenizer.add_tokens(["towering"])
    other.save_pretrained(tmp_path / "other")
    parts = {
        "objectives": {**ALONE, "tokens": 1.0},
        "distillation": {"teacher": str(tmp_path / "other")},
    }
    with pytest.raises(ConfigError, match="learn at sequence level"):
        Trainer(configure(**parts))


@pytest.mark.parametrize(
    ("objectives", "distillation", "problem"),
    [
        ({"scores": 1.0}, None, r"objectives.scores: there is no teacher"),
        ({}, {"teacher": "x"}, "nothing is learned from the teacher; give one of scores"),
        (
            {"tokens": 1.0},
            {"teacher": "x", "kind": "sentence-transformers", "responses": "closed"},
            "only embeds, but tokens, responses need a UniConv",
        ),
        (ALONE, {"teacher": "x", "responses": "closed"}, "all weights are 0"),
    ],
)
def test_what_cannot_be_is_found_before_a_teacher_is_loaded(
    objectives: dict[str, Any], distillation: Any, problem: str, configure: Configure
) -> None:
    sections = {} if distillation is None else {"distillation": distillation}
    with pytest.raises(ConfigError, match=problem):
        check_config(configure(objectives=objectives, **sections))


def test_a_folder_of_a_sentence_encoder_is_known_by_its_modules(
    configure: Configure, tmp_path: Path
) -> None:
    (tmp_path / "modules.json").write_text("[]")
    parts = {
        "objectives": {"grounded_tokens": 1.0},
        "distillation": {"teacher": str(tmp_path)},
    }
    with pytest.raises(ConfigError, match="which only embeds, but grounded_tokens"):
        check_config(configure(**parts))


def test_a_stage_may_turn_the_teacher_on(configure: Configure, teacher: str) -> None:
    stages = [
        {"name": "own", "steps": 2},
        {"name": "taught", "steps": 2, "objectives": {"scores": 1.0}},
    ]
    config = staged(configure, "stages", stages, distillation={"teacher": teacher})
    train(config)
    records = [record["train"] for record in _records(config.output) if "train" in record]
    assert ["retrieval_scores" in record for record in records] == [False, False, True, True]
