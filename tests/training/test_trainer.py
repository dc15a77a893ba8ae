"""Training as a whole: stopped and resumed, split over passes, and gone wrong."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from uniconv.config import TrainConfig
from uniconv.training import trainer
from uniconv.training.checkpoints import checkpoints
from uniconv.training.trainer import train

Configure = Callable[..., TrainConfig]


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    (file,) = folder.glob("*.safetensors")
    return load_file(file)


def _records(output: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text("utf-8").splitlines()]


def _stop_after(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Sends SIGTERM to this process while the step is being trained."""
    original = trainer.seed_step

    def seed_step(seed: int, number: int, process: int) -> None:
        if number == step - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        original(seed, number, process)

    monkeypatch.setattr(trainer, "seed_step", seed_step)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_resumed_equals_uninterrupted(
    method: str, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = {"method": method, "adapter": {"rank": 4}}  # dropout 0.1: its state must resume too
    whole = configure("whole", model=model)
    parts = configure("parts", model=model)
    uninterrupted = _weights(train(whole))
    with monkeypatch.context() as patch:
        _stop_after(patch, 4)
        with pytest.raises(SystemExit) as stopped:
            train(parts)
    assert stopped.value.code == 128 + signal.SIGTERM
    assert [one.step for one in checkpoints(parts.output)] == [3, 4]
    resumed = _weights(train(parts))
    assert uninterrupted.keys() == resumed.keys()
    for name, value in uninterrupted.items():
        assert torch.equal(value, resumed[name]), name
    timeless = [
        [{**record, "train": {**record["train"], "tokens_per_second": 0}} for record in _records(o)]
        for o in (whole.output, parts.output)
    ]
    assert timeless[0] == timeless[1]
