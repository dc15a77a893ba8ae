"""What surrounds training: schedule, adapters, checkpoints on disk, the log, and the recipes."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import PeftModel

from tiny import FAMILIES, tiny_uniconv
from uniconv.config import Adapter, ModelConfig, Optimisation, TrainConfig, load_config
from uniconv.errors import ConfigError
from uniconv.files import write_json
from uniconv.training.checkpoints import Checkpoint, checkpoints, save_checkpoint
from uniconv.training.network import parameter_groups, unfreeze
from uniconv.training.optimisation import StopSignals, learning_rate, leave, uses_bf16
from uniconv.training.reporting import Window
from uniconv.training.state import RunState

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipes_are_valid(path: Path) -> None:
    assert load_config(path).output == Path("runs") / path.stem


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [0.5, 1.0, 1.0, 1.0, 1.0, 1.0]),
        ("linear", [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]),
        ("cosine", [0.5, 1.0, 1.0, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]),
    ],
)
def test_learning_rates(schedule: str, expected: list[float]) -> None:
    settings = Optimisation(learning_rate=1.0, warmup=1 / 3, schedule=schedule)
    assert [learning_rate(settings, step, 6) for step in range(6)] == pytest.approx(expected)


def test_precision_is_as_set() -> None:
    cpu = torch.device("cpu")
    assert uses_bf16(Optimisation(precision="bf16"), cpu)
    assert not uses_bf16(Optimisation(precision="fp32"), cpu)


def test_signals_are_noted_and_a_second_interrupt_is_obeyed_at_once() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopSignals() as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.received == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == before
    with StopSignals() as signals:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)  # as a launcher does
        assert signals.received == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        leave(signal.SIGINT)


@pytest.mark.parametrize("family", FAMILIES)
def test_lora_trains_the_adapter_alone(family: str) -> None:
    model = tiny_uniconv(family)
    unfreeze(model, ModelConfig("tiny", "lora", Adapter(rank=2)))
    assert isinstance(model.network, PeftModel)
    trainable = {name for name, p in model.network.named_parameters() if p.requires_grad}
    assert trainable
    assert all("lora_" in name for name in trainable)
    layers = {name.split(".lora_")[0].rpartition(".")[2] for name in trainable}
    usual = {"q_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert layers == ({"c_attn", "c_proj", "c_fc"} if family == "gpt2" else usual)


def test_an_unknown_layer_is_named() -> None:
    config = ModelConfig("tiny", "lora", Adapter(modules=("q_proj", "qq_proj")))
    with pytest.raises(ConfigError, match=r"no layer qq_proj; it has .*q_proj"):
        unfreeze(tiny_uniconv(), config)


def test_full_training_of_an_adapter_merges_it_first() -> None:
    model = tiny_uniconv()
    unfreeze(model, ModelConfig("tiny", "lora"))
    unfreeze(model, ModelConfig("tiny", "full"))
    assert not isinstance(model.network, PeftModel)
    assert all(parameter.requires_grad for parameter in model.network.parameters())


def test_only_matrices_decay() -> None:
    decayed, others = parameter_groups(torch.nn.Linear(3, 2), weight_decay=0.1)
    assert [tuple(p.shape) for p in decayed["params"]] == [(2, 3)]
    assert [tuple(p.shape) for p in others["params"]] == [(2,)]
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.1, 0.0)


def test_the_newest_whole_checkpoints_are_kept(tmp_path: Path) -> None:
    network = tiny_uniconv().network
    state = RunState(network, torch.optim.AdamW(network.parameters()), {})
    half = tmp_path / "checkpoints" / "step-00000009"
    half.mkdir(parents=True)
    killed = tmp_path / "checkpoints" / ".step-00000002.tmp"
    killed.mkdir()
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, step, state, 2, {"processes": 1})
    found = checkpoints(tmp_path)
    assert [one.step for one in found] == [2, 3]
    assert found[-1].state() == {"step": 3, "processes": 1}
    assert not killed.exists()


@pytest.mark.parametrize(
    ("batch_size", "processes", "taken"),
    [(8, 4, 8), (8, 2, 16), (8, 1, 32), (4, 8, 4), (8, 8, 4)],
    ids=["as it was", "half", "one", "halved by hand", "twice"],
)
def test_other_processes_take_the_same_turns(
    batch_size: int, processes: int, taken: int, began: Checkpoint, tiny_run: TrainConfig
) -> None:
    tiny_run = _with_batches_of(tiny_run, batch_size)
    shared = began.shared_by(tiny_run, processes)
    assert shared == _with_batches_of(tiny_run, taken)


@pytest.mark.parametrize(
    ("batch_size", "processes", "remedy"),
    [
        (8, 3, "take a number of processes that divides 32"),
        (16, 4, "set optimisation.batch_size to 8"),
        (4, 4, "set optimisation.batch_size to 8"),
    ],
)
def test_other_turns_in_a_pass_are_refused(
    batch_size: int, processes: int, remedy: str, began: Checkpoint, tiny_run: TrainConfig
) -> None:
    with pytest.raises(ConfigError, match=rf"now {batch_size} times {processes}, .*{remedy}"):
        began.shared_by(_with_batches_of(tiny_run, batch_size), processes)


@pytest.fixture
def began(tmp_path: Path) -> Checkpoint:
    """Of a run with ``batch_size`` 8 in 4 processes."""
    write_json(tmp_path / "state.json", {"turns": 32, "processes": 4, "batch_size": 8})
    return Checkpoint(tmp_path, 1)


@pytest.fixture
def tiny_run(configure: Callable[..., TrainConfig]) -> TrainConfig:
    return configure()


def _with_batches_of(config: TrainConfig, size: int) -> TrainConfig:
    return replace(config, optimisation=replace(config.optimisation, batch_size=size))


def test_a_window_averages_over_what_was_counted() -> None:
    window = Window()
    window.add("loss", 6.0, 2)
    window.add("loss", 3.0, 1)
    window.add("unused", 0.0, 0)
    assert window.means() == {"loss": 3.0}
    assert window.total("loss") == 9.0
    before = window.seconds
    with window.paused():
        time.sleep(0.5)
    assert window.seconds - before < 0.5
