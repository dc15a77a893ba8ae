"""Stages: each as if it were a run of its own, and stopped and resumed anywhere."""

from __future__ import annotations

import io
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from uniconv.cli.mixture import print_plan
from uniconv.config import TrainConfig, config_from, plain
from uniconv.data.conversations import write_conversations
from uniconv.errors import ConfigError
from uniconv.training import trainer
from uniconv.training.checkpoints import checkpoints
from uniconv.training.plan import plan
from uniconv.training.trainer import Trainer, train
from uniconv.types import Conversation, Turn

Configure = Callable[..., TrainConfig]

STAGES: list[dict[str, Any]] = [
    {"name": "joint", "steps": 3, "objectives": {"alpha": 0}},
    {
        "name": "cii",
        "steps": 2,
        "objectives": {"alpha": 1, "retrieval": 0, "temperature": 0.5, "cii": "likelihoods"},
        "learning_rate": 0.001,
        "schedule": "constant",
        "warmup": 0,
    },
]


def staged(configure: Configure, output: str, stages: list[dict[str, Any]], **sections: Any) -> Any:
    """The configuration with stages, which are a list and no section."""
    value = plain(configure(output, **sections))
    return config_from({**value, "stages": stages})


def weights(folder: Path) -> dict[str, torch.Tensor]:
    (file,) = folder.glob("*.safetensors")
    return load_file(file)


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name


def stop_after(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Sends SIGTERM to this process while the step is being trained."""
    original = trainer.seed_step

    def seed_step(seed: int, number: int, process: int) -> None:
        if number == step - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        original(seed, number, process)

    monkeypatch.setattr(trainer, "seed_step", seed_step)


def records(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text("utf-8").splitlines()]


@pytest.mark.parametrize("step", [1, 3, 4])  # within a stage, between two, within the next
def test_stages_resume_exactly(
    step: int, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    average = {"optimisation": {"ema": 0.9}}
    whole = staged(configure, "whole", STAGES, **average)
    parts = staged(configure, "parts", STAGES, **average)
    uninterrupted = weights(train(whole))
    with monkeypatch.context() as patch:
        stop_after(patch, step)
        with pytest.raises(SystemExit):
            train(parts)
    assert checkpoints(parts.output)[-1].step == step
    assert_same(weights(train(parts)), uninterrupted)


def test_the_first_stage_is_a_run_of_its_own(configure: Configure) -> None:
    stages = [{**STAGES[0], "keep": True}, STAGES[1]]
    whole = staged(configure, "whole", stages)
    found = weights(train(whole))
    kept = whole.output / "stages" / "joint"
    first = configure("first", objectives={"alpha": 0}, optimisation={"steps": 3})
    assert_same(weights(kept), weights(train(first)))
    names = [record["stage"] for record in records(whole.output)]
    assert names == ["joint"] * 3 + ["cii"] * 2
    trained = [record["train"] for record in records(whole.output)]
    assert ["cii" in one for one in trained] == [False] * 3 + [True] * 2
    assert ["retrieval" in one for one in trained] == [True] * 3 + [False] * 2
    assert [one["learning_rate"] for one in trained[3:]] == [0.001, 0.001]
    assert not all(torch.equal(found[name], value) for name, value in weights(kept).items())


def test_a_stage_begins_with_fresh_moments(configure: Configure) -> None:
    run = Trainer(staged(configure, "run", STAGES))
    moments: list[int] = []
    step = run.optimizer.step

    def noted() -> None:
        moments.append(len(run.optimizer.state))
        step()

    run.optimizer.step = noted
    run.run()
    assert [bool(count) for count in moments] == [False, True, True, False, True]


def test_weights_and_temperature_move_in_a_straight_line(configure: Configure) -> None:
    stage = {
        "name": "rise",
        "steps": 4,
        "objectives": {"alpha": 0.8, "temperature": 0.1},
        "initial": {"alpha": 0, "temperature": 0.5},
    }
    run = Trainer(staged(configure, "run", [stage]))
    (only,) = run.course.stages
    found = [only.objectives(step) for step in range(4)]
    assert [one.alpha for one in found] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert [one.temperature for one in found] == pytest.approx([0.4, 0.3, 0.2, 0.1])
    assert {one.retrieval for one in found} == {1.0}
    used: list[float] = []
    use = run.objective.use
    run.objective.use = lambda weights: (used.append(weights.alpha), use(weights))[1]  # type: ignore
    run.run()
    assert used == pytest.approx([0.2, 0.4, 0.6, 0.8])


def test_a_stage_reads_its_own_sources(configure: Configure, tmp_path: Path) -> None:
    talk = Conversation("chat", tuple(Turn(f"Hello {n}?", "Yes.") for n in range(3)))
    write_conversations(tmp_path / "chat.jsonl", [talk])
    (source,) = plain(configure())["data"]["train"]
    chat = {"conversations": str(tmp_path / "chat.jsonl"), "retrieval": "none"}
    sources = [source, chat]
    stages = [
        {"name": "talk", "epochs": 2, "sources": "chat"},
        {"name": "all", "steps": 1},
        {"name": "search", "epochs": 1, "sources": [0]},
    ]
    config = staged(configure, "run", stages, data={"train": sources})
    run = Trainer(config)
    talk_, all_, search = run.course.stages
    assert [stage.steps for stage in run.course.stages] == [3, 1, 5]
    chats = {10, 11, 12}
    picked = [{pick[0] for step in range(3) for pick in next(talk_.picks(step, 0, 1))}]
    picked += [{pick[0] for step in range(4, 9) for pick in next(search.picks(step, 0, 1))}]
    assert picked == [chats, set(range(10))]
    assert all_.stream.epoch_length == 13
    assert talk_.epoch(3, processes=1) == 2
    stages_of_plan = plan(config).stages
    assert [(one.sources, one.turns, one.steps) for one in stages_of_plan] == [
        ((1,), 3, 3),
        ((0, 1), 13, 1),
        ((0,), 10, 5),
    ]


def test_turns_that_serve_no_part_of_a_stage_are_left_out(
    configure: Configure, tmp_path: Path
) -> None:
    (source,) = plain(configure())["data"]["train"]
    lines = Path(source["conversations"][0]).read_text("utf-8")
    bare = Conversation("bare", (Turn("Hello?", "Yes."),))
    write_conversations(tmp_path / "bare.jsonl", [bare])
    (tmp_path / "both.jsonl").write_text(
        lines + (tmp_path / "bare.jsonl").read_text("utf-8"), "utf-8"
    )
    source["conversations"] = [str(tmp_path / "both.jsonl")]
    config = staged(configure, "run", STAGES, data={"train": [source]})
    joint, cii = Trainer(config).course.stages
    assert (joint.turns, cii.turns) == (11, 11)  # both write responses
    only = [{**STAGES[1], "objectives": {"alpha": 1, "retrieval": 0, "generation": 0, "gamma": 0}}]
    assert (
        Trainer(staged(configure, "b", only, data={"train": [source]})).course.stages[0].turns == 10
    )
    source["conversations"] = [str(tmp_path / "bare.jsonl")]
    joint_and_cii = [STAGES[0], only[0]]
    config = staged(configure, "c", joint_and_cii, data={"train": [source]})
    with pytest.raises(ConfigError, match=r"stages\[1\] \(cii\): no turn of its sources"):
        train(config)


def test_dev_turns_are_measured_alike_in_all_stages(configure: Configure) -> None:
    data = plain(configure())["data"]
    config = staged(configure, "run", STAGES, data={"dev": data["train"]})
    train(config)
    measured = {r["step"]: r["dev"] for r in records(config.output) if "dev" in r}
    assert measured.keys() == {3, 5}  # at the end of each stage
    assert measured[3].keys() == measured[5].keys() >= {"retrieval", "generation", "cii"}


def test_the_plan_prints_stages(configure: Configure) -> None:
    stages = [*STAGES, {"name": "rise", "steps": 1, "initial": {"alpha": 0}}]
    written = io.StringIO()
    print_plan(plan(staged(configure, "run", stages)), Console(file=written, width=240))
    rows = [
        [cell.strip() for cell in line.split("│")[1:-1]]
        for line in written.getvalue().splitlines()
        if line.startswith("│")
    ]
    joint = "retrieval 1, generation 1, gamma 0.5, temperature 0.1"
    cii = "generation 1, alpha 1, gamma 0.5, temperature 0.5, cii by likelihoods"
    rise = "retrieval 1, generation 1, alpha 0 to 1, gamma 0.5, temperature 0.1"
    assert rows[1:] == [
        ["joint", "0", "10", "10", "3", joint, "0.01 cosine"],
        ["cii", "0", "10", "10", "2", cii, "0.001 constant"],
        ["rise", "0", "10", "10", "1", rise, "0.01 cosine"],
    ]
    assert "6 steps in one process" in written.getvalue()


@pytest.mark.parametrize(
    ("stages", "problem"),
    [
        ([{"name": "a"}, {"name": "a"}], r"stages\[0\].name: several stages are called 'a'"),
        ([{"name": "a/b"}], r"stages\[0\].name: expected letters, digits"),
        ([{"name": "a", "steps": 1, "epochs": 1}], "the stage has epochs too; give one of them"),
        ([{"name": "a", "steps": 0}], r"stages\[0\].steps: expected a number of at least 1"),
        ([{"name": "a", "sources": 1}], r"stages\[0\].sources: expected a list, not 1"),
        ([{"name": "a", "sources": [1]}], r"there is no data.train\[1\]; they count from 0"),
        ([{"name": "a", "sources": "x"}], "no source of data.train has the name 'x' .*are train"),
        ([{"name": "a", "sources": [1.5]}], "expected a place, counting from 0, or a name"),
        ([{"name": "a", "objectives": {"alpah": 1}}], r"objectives.alpah: .* mean 'alpha'"),
        (
            [{"name": "a", "objectives": dict.fromkeys(("retrieval", "generation", "alpha"), 0)}],
            r"stages\[0\].objectives: all weights are 0",
        ),
    ],
)
def test_mistakes_are_found_before_the_model_is_loaded(
    stages: list[dict[str, Any]], problem: str, configure: Configure
) -> None:
    sections = {"model": {"path": "none"}, "objectives": {"gamma": 0}}
    with pytest.raises(ConfigError, match=problem):
        train(staged(configure, "run", stages, **sections))


def test_sentences_are_told_by_embeddings_alone(configure: Configure) -> None:
    stages = [{"name": "a"}, {"name": "b", "objectives": {"cii": "likelihoods"}}]
    sections = {"model": {"path": "none"}, "data": {"sentence_negatives": 2}}
    with pytest.raises(ConfigError, match=r"stages\[1\].objectives.cii: .* every sentence"):
        train(staged(configure, "run", stages, **sections))


def test_every_source_is_used_and_serves_its_stage(configure: Configure) -> None:
    (source,) = plain(configure())["data"]["train"]
    mute = {**source, "generation": "none", "cii": False, "grounded": False, "name": "mute"}
    both = {"model": {"path": "none"}, "data": {"train": [source, mute]}}
    with pytest.raises(ConfigError, match=r"data.train\[1\]: no stage uses it"):
        train(staged(configure, "run", [{"name": "a", "sources": [0]}], **both))
    off = {"name": "a", "sources": ["mute"], "objectives": {"retrieval": 0}}
    with pytest.raises(ConfigError, match="part with a weight is switched off in the sources"):
        train(staged(configure, "run", [off, {"name": "b"}], **both))
