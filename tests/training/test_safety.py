"""Never lose a run: killed, out of space, best on dev, and wrong before anything is loaded."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from uniconv.config import TrainConfig, check_config, plain
from uniconv.errors import ConfigError, UniConvError
from uniconv.model import UniConv
from uniconv.training import network, train
from uniconv.training.checkpoints import checkpoints
from uniconv.training.evaluation import Evaluation
from warm import PROCESSES

Configure = Callable[..., TrainConfig]


def _assert_same_weights(found: Path, expected: Path) -> None:
    (file,) = expected.glob("*.safetensors")
    weights, others = load_file(file), load_file(found / file.name)
    assert weights.keys() == others.keys()
    for name, value in weights.items():
        assert torch.equal(value, others[name]), name


def _tensors(folder: Path) -> dict[str, torch.Tensor]:
    (file,) = folder.glob("*.safetensors")
    return load_file(file)


@pytest.mark.parametrize("cached", [False, True])
def test_a_run_killed_at_random_comes_to_the_same_weights(
    cached: bool, configure: Configure
) -> None:
    settings = {
        "model": {"method": "lora", "adapter": {"rank": 4}},  # with dropout
        "optimisation": {"steps": 12, "ema": 0.5, "gradient_cache": cached, "forward_tokens": 200},
        "checkpoints": {"every_steps": 1},
    }
    expected, config = train(configure("whole", **settings)), configure("killed", **settings)
    log, rng = config.output / "metrics.jsonl", random.Random(0)
    begun = []
    for _ in range(4):
        begun.append(max((one.step for one in checkpoints(config.output)), default=0))
        process = PROCESSES.Process(target=train, args=(config,))
        process.start()
        goal = begun[-1] + rng.randint(1, 3)
        while process.is_alive() and (not log.exists() or log.read_text().count('"train"') < goal):
            time.sleep(0.001)
        time.sleep(rng.random() / 50)  # anywhere in a step, or in writing its checkpoint
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
    assert begun[-1] > 1
    _assert_same_weights(train(config), expected)
    assert log.read_text().count('"train"') == 12
    assert [one.step for one in checkpoints(config.output)] == [11, 12]
    assert not list(config.output.glob("checkpoints/.*"))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """A small disk of its own; called again it has another size."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def resize(kilobytes: int) -> Path:
        options = f"size={kilobytes}k" + (",remount" if os.path.ismount(folder) else "")
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True
        )
        if done.returncode:
            pytest.skip(f"no disk can be mounted here: {done.stderr.decode().strip()}")
        return folder

    yield resize
    subprocess.run(["umount", folder], capture_output=True)


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) // 1024


def test_a_full_disk_stops_the_run_wherever_it_writes(
    configure: Configure, disk: Callable[[int], Path]
) -> None:
    settings = {
        "checkpoints": {"every_steps": 1, "keep": 1},
        "data": {"dev": plain(configure())["data"]["train"]},
        "reporting": {"evaluate_every": 2},
    }
    expected = train(configure("whole", **settings))
    model = _size(expected)
    whole = _size(expected.parent)
    # From too small for the settings, over checkpoints and the best model, to the last model.
    for size in (4, model // 2, model, 2 * model, 4 * model, whole - model // 2, whole - 8):
        config = configure(f"disk/{size}", **settings)
        disk(size)
        with pytest.raises(UniConvError, match=r"could not be written .*free some space"):
            train(config)
        for one in checkpoints(config.output):
            assert any(name.startswith("exp_avg_sq.") for name in _tensors(one.folder))
        disk(4 * whole)
        _assert_same_weights(train(config), expected)
        subprocess.run(["rm", "-r", config.output], check=True)


def test_the_best_model_on_dev_is_kept(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = iter([0.5, 0.9, float("nan"), 0.9])
    monkeypatch.setattr(Evaluation, "run", lambda _: {"loss": 1.0, "retrieval_mrr": next(values)})
    config = configure(
        data={"dev": plain(configure())["data"]["train"]},
        reporting={"evaluate_every": 1},
        checkpoints={"every_steps": 1, "keep": 4, "best": "retrieval_mrr"},
    )
    train(config)
    best = UniConv.from_pretrained(config.output / "best")
    assert best.training is not None
    assert best.training["steps"] == 2
    assert best.training["dev"] == {"loss": 1.0, "retrieval_mrr": 0.9}
    held = _tensors(checkpoints(config.output)[1].folder)
    for name, value in _tensors(config.output / "best").items():
        assert torch.equal(value, held[f"weights.{name}"]), name


def test_each_model_says_when_it_was_made(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = count()
    monkeypatch.setattr("uniconv.training.saving.provenance", lambda **_: {"created": next(times)})
    config = configure(
        data={"dev": plain(configure())["data"]["train"]}, reporting={"evaluate_every": 1}
    )
    last = UniConv.from_pretrained(train(config)).training
    best = UniConv.from_pretrained(config.output / "best").training
    assert last is not None
    assert best is not None
    assert last["created"] == next(times) - 1 > best["created"]


def test_what_was_best_is_known_after_a_stop(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure(
        data={"dev": plain(configure())["data"]["train"]}, reporting={"evaluate_every": 1}
    )
    values = iter([3.0, 2.0, KeyboardInterrupt, 4.0, 2.5])

    def measured(_: Evaluation) -> dict[str, float]:
        value = next(values)
        if not isinstance(value, float):
            raise value
        return {"loss": value}

    monkeypatch.setattr(Evaluation, "run", measured)
    with pytest.raises(KeyboardInterrupt):
        train(config)
    train(config)
    record = UniConv.from_pretrained(config.output / "best").training
    assert record is not None
    assert (record["steps"], record["dev"]) == (2, {"loss": 2.0})


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"model": {"conversation_tokens": 500}}, r"lower model.conversation_tokens \(500\)"),
        (
            {"model": {"method": "lora", "adapter": {"modules": ["qq_proj"]}}},
            r"no layer qq_proj; it has .*q_proj",
        ),
        ({"model": {"path": "nowhere/at-all"}}, r"nowhere/at-all: no causal language model"),
    ],
)
def test_mistakes_are_found_before_data_and_weights_are_read(
    sections: dict[str, Any], message: str, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("weights were loaded")

    monkeypatch.setattr(network, "load_trainable", refuse)
    monkeypatch.setattr(UniConv, "from_pretrained", refuse)
    monkeypatch.setattr("uniconv.training.trainer.read_examples", refuse)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UniConvError, match=message):
        train(configure(**sections))


def test_an_output_that_cannot_be_made_is_refused(configure: Configure, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(ConfigError, match=r"output: .* can't be made \(Not a directory\)"):
        train(configure("file/run"))


def test_a_best_that_is_not_measured_is_refused(configure: Configure) -> None:
    config = configure(
        data={"dev": plain(configure())["data"]["train"]},
        objectives={"retrieval": 0.0},
        checkpoints={"best": "retrieval_mrr"},
    )
    with pytest.raises(ConfigError, match=r"checkpoints.best: retrieval_mrr isn't measured"):
        check_config(config)
