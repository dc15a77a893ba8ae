"""A diagnosis leaves no trace: weights and records are what they would have been."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from uniconv.config import TrainConfig, plain
from uniconv.training import failures, trainer
from uniconv.training.trainer import train

Configure = Callable[..., TrainConfig]

LORA = {"method": "lora", "adapter": {"rank": 4}}  # with dropout, which draws random numbers


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    (file,) = folder.glob("*.safetensors")
    return load_file(file)


def _records(output: Path) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    for record in records:
        record.get("train", {}).pop("tokens_per_second", None)
    return records


def _same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


@pytest.mark.parametrize(
    ("model", "optimisation"),
    [
        (LORA, {"gradient_cache": True, "forward_tokens": 100}),
        (LORA, {"gradient_checkpointing": True, "ema": 0.5}),
        ({"method": "full"}, {"accumulation": 2}),
    ],
    ids=["gradcache", "checkpointing and average", "full"],
)
def test_a_diagnosed_run_equals_one_that_is_not(
    model: dict[str, Any], optimisation: dict[str, Any], configure: Configure
) -> None:
    data = {"dev": plain(configure())["data"]["train"]}
    found = []
    for every in (0, 1):
        reporting = {"diagnose_every": every}
        config = configure(
            f"every{every}", model=model, optimisation=optimisation, data=data, reporting=reporting
        )
        found.append(_weights(train(config)))
    _same(*found)
    without, diagnosed = (_records(configure(f"every{every}").output) for every in (0, 1))
    assert [record for record in diagnosed if {"train", "dev"} & {*record}] == without
    diagnoses = [record for record in diagnosed if "diagnosis" in record]
    assert [record["step"] for record in diagnoses] == [0, 1, 2, 3, 4]
    for record in diagnoses:
        assert -1 <= record["diagnosis"]["cosine_retrieval_generation"] <= 1
        assert record["diagnosis"]["held_out_perplexity"] > 1
    assert diagnoses[0]["diagnosis"] != diagnoses[4]["diagnosis"]


def test_a_diagnosed_run_resumes_exactly(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = {"dev": plain(configure())["data"]["train"]}
    monkeypatch.setattr(failures, "RISEN", 0.0)  # every reading shows forgetting
    settings = {
        "model": LORA,
        "data": data,
        "optimisation": {"warmup": 0.0},
        "reporting": {"diagnose_every": 1},
    }
    whole, parts = (configure(name, **settings) for name in ("whole", "parts"))
    uninterrupted = _weights(train(whole))
    with monkeypatch.context() as patch:
        original = trainer.seed_step

        def stop(seed: int, step: int, process: int) -> None:
            if step == 0:
                os.kill(os.getpid(), signal.SIGTERM)
            original(seed, step, process)

        patch.setattr(trainer, "seed_step", stop)
        with pytest.raises(SystemExit):
            train(parts)
    _same(uninterrupted, _weights(train(parts)))
    assert _records(whole.output) == _records(parts.output)
    warned = [record for record in _records(parts.output) if "warning" in record]
    # One reading is from before the interruption, one from after it.
    assert [one["step"] for one in warned if one["warning"]["name"] == "forgetting"] == [2]
