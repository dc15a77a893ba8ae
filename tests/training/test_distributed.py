"""Several processes compute what one process would."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from transformers import LlamaConfig, LlamaForCausalLM

from tiny import tiny_uniconv
from training.gradient_worker import gradients
from uniconv.config import TrainConfig, config_from, plain
from uniconv.model import UniConv

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


def _check_two_equal_one(
    configure: Callable[..., TrainConfig],
    folder: Path,
    stages: Sequence[dict[str, Any]] = (),
    **sections: dict[str, Any],
) -> None:
    # The passages of one process are also negatives in the other, and must not count twice.
    configs = []
    for name, size in (("two", 2), ("one", 4)):
        config = configure(name, optimisation={"batch_size": size, "accumulation": 2}, **sections)
        config = config_from({**plain(config), "stages": stages})
        configs.append(_write(config, folder / f"{name}.yaml"))
    expected = gradients(configs[1])
    for found in _gradients_of_two(configs[0], folder):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(
                found[name],
                value,
                rtol=2e-4,
                atol=2e-5,
                msg=lambda text, name=name: f"{name}: {text}",
            )


def test_two_processes_equal_one(configure: Callable[..., TrainConfig], tmp_path: Path) -> None:
    # Both mine the same negatives.
    filters = {"overlap": 2, "percentage": None}
    stages = [{"name": "all", "refresh": True}]
    _check_two_equal_one(configure, tmp_path, stages, data={"refresh": filters})


def test_two_processes_learn_from_a_teacher_as_one(
    configure: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    # Of another width than the student, so that embeddings are compared by their relations.
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=400,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        initializer_range=0.2,
    )
    student = tiny_uniconv()
    UniConv(LlamaForCausalLM(config), student.tokenizer, student.template).save_pretrained(
        tmp_path / "teacher"
    )
    objectives = {"scores": 1.0, "embeddings": 10.0, "tokens": 0.5, "grounded_tokens": 0.5}
    teacher = {"teacher": str(tmp_path / "teacher")}
    _check_two_equal_one(configure, tmp_path, objectives=objectives, distillation=teacher)
