"""Several processes compute what one process would."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from training.gradient_worker import gradients
from uniconv.config import TrainConfig, config_from, plain

HERE = Path(__file__).parent


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _gradients_of_two(config: Path, folder: Path) -> list[dict[str, torch.Tensor]]:
    """What ``torchrun --nproc-per-node 2`` would start."""
    paths = [str(HERE.parents[1] / "src"), str(HERE.parent), *sys.path]
    shared = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "OMP_NUM_THREADS": "1",
    }
    workers = [
        subprocess.Popen(
            [sys.executable, HERE / "gradient_worker.py", config, folder / f"rank{rank}.pt"],
            env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        for worker in workers:
            _, errors = worker.communicate(timeout=400)  # a guard against hanging, not a measure
            assert worker.returncode == 0, errors
    finally:
        for worker in workers:
            worker.kill()
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(2)]


def _write(config: TrainConfig, path: Path) -> Path:
    path.write_text(yaml.safe_dump(plain(config)), "utf-8")
    return path


def test_two_processes_equal_one(
    configure: Callable[..., TrainConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The passages of one process are also negatives in the other, and must not count twice. Both
    # mine the same negatives.
    def split(batch_size: int) -> TrainConfig:
        optimisation = {"batch_size": batch_size, "accumulation": 2}
        filters = {"overlap": 2, "percentage": None}
        config = configure(optimisation=optimisation, data={"refresh": filters})
        stage = {"name": "all", "refresh": True}
        return config_from({**plain(config), "stages": [stage]})

    two, one = _write(split(2), tmp_path / "2.yaml"), _write(split(4), tmp_path / "1.yaml")
    expected = gradients(one)
    for found in _gradients_of_two(two, tmp_path):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(
                found[name],
                value,
                rtol=2e-4,
                atol=2e-5,
                msg=lambda text, name=name: f"{name}: {text}",
            )
