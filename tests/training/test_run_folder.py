"""What surrounds training: schedule, adapters, checkpoints on disk, the log, and the recipes."""

from __future__ import annotations

import math
import os
import signal
import time
from pathlib import Path

import pytest
import torch
from peft import PeftModel

from tiny import FAMILIES, tiny_uniconv
from uniconv.config import Adapter, ModelConfig, Optimisation, load_config
from uniconv.errors import ConfigError
from uniconv.training.checkpoints import checkpoints, save_checkpoint
from uniconv.training.network import parameter_groups, unfreeze
from uniconv.training.optimisation import StopSignals, learning_rate, leave, uses_bf16
from uniconv.training.reporting import Window

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
    model = tiny_uniconv()
    optimizer = torch.optim.AdamW(model.network.parameters(), lr=0.1)
    half = tmp_path / "checkpoints" / "step-00000009"
    (half / "model").mkdir(parents=True)
    killed = tmp_path / "checkpoints" / ".step-00000002.1.tmp"
    killed.mkdir()
    for step in (1, 2, 3):
        save_checkpoint(
            tmp_path, step, model, optimizer.state_dict(), 2, {"processes": 1}, average={}
        )
    found = checkpoints(tmp_path)
    assert [one.step for one in found] == [2, 3]
    assert found[-1].state() == {"step": 3, "processes": 1}
    assert found[-1].optimizer()["param_groups"][0]["lr"] == 0.1
    assert not killed.exists()


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
