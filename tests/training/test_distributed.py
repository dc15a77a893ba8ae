"""Several processes compute what one process would."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM

from tiny import PACKS_4_BITS, tiny_uniconv
from training.gradient_worker import gradients
from training.training_worker import stop_once
from uniconv.config import TrainConfig, config_from, load_config, plain
from uniconv.model import UniConv
from uniconv.training import train
from uniconv.training.checkpoints import checkpoints
from warm import Command

HERE = Path(__file__).parent


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


Gradients = dict[str, torch.Tensor]


def _gradients_of_two(configs: list[Path], folder: Path) -> list[dict[str, Gradients]]:
    """Gradients in each process by the stem of a config."""
    _run_two("gradient_worker.py", configs, folder)
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(2)]


def _run_two(script: str, configs: list[Path], folder: Path) -> None:
    """What ``torchrun --nproc-per-node 2`` would start."""
    shared = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "OMP_NUM_THREADS": "1",
    }
    workers = [
        Command(
            [HERE / script, *configs, folder / f"rank{rank}.pt"],
            environment={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    try:
        for worker in workers:
            done = worker.finish(900)
            assert done.returncode == 0, done.stderr
    finally:
        for worker in workers:
            worker.process.kill()


def _write(config: TrainConfig, path: Path) -> Path:
    path.write_text(yaml.safe_dump(plain(config)), "utf-8")
    return path


VARIANTS: dict[str, dict[str, Any]] = {
    "ddp": {"parallel": "ddp"},
    "ddp-cached": {"parallel": "ddp", "gradient_cache": True, "forward_tokens": 150},
    "ddp-checkpointing": {"parallel": "ddp", "gradient_checkpointing": True},
    "fsdp": {"parallel": "fsdp"},
    "fsdp-passes": {"parallel": "fsdp", "forward_tokens": 150},
    "fsdp-cached": {"parallel": "fsdp", "gradient_cache": True, "forward_tokens": 150},
    "fsdp-checkpointing": {"parallel": "fsdp", "gradient_checkpointing": True},
}


def _check_two_equal_one(
    configure: Callable[..., TrainConfig],
    folder: Path,
    variants: Mapping[str, dict[str, Any]],
    stages: Sequence[dict[str, Any]] = (),
    **sections: dict[str, Any],
) -> None:
    """Two processes, with each variant of ``optimisation``, have the gradients of one."""

    # The passages of one process are also negatives in the other, and must not count twice.
    def write(name: str, batch_size: int, variant: dict[str, Any]) -> Path:
        optimisation = {"batch_size": batch_size, "accumulation": 2, **variant}
        config = configure(name, optimisation=optimisation, **sections)
        config = replace(config, data=replace(config.data, dev=config.data.train))
        config = config_from({**plain(config), "stages": stages})
        return _write(config, folder / f"{name}.yaml")

    expected = gradients(write("one", 4, {}))
    assert {"loss.retrieval_uniformity", "diagnosis.held_out_perplexity"} <= expected.keys()
    assert any(name.startswith("diagnosis.cosine") for name in expected)
    configs = [write(name, 2, variant) for name, variant in variants.items()]
    for of_process in _gradients_of_two(configs, folder):
        assert of_process.keys() == variants.keys()
        for variant, found in of_process.items():
            assert found.keys() == expected.keys()
            for name, value in expected.items():
                torch.testing.assert_close(
                    found[name],
                    value,
                    rtol=2e-4,
                    atol=2e-5,
                    msg=lambda text, where=f"{variant} {name}": f"{where}: {text}",
                )


@pytest.mark.parametrize("method", ["full", "lora"])
def test_two_processes_equal_one(
    method: str, configure: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    model = {"method": method, "adapter": {"rank": 4, "dropout": 0.0}}
    objectives = {"matryoshka": [4, 9]}
    _check_two_equal_one(configure, tmp_path, VARIANTS, model=model, objectives=objectives)


@pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="needs the extra qlora")
@pytest.mark.skipif(PACKS_4_BITS, reason="bitsandbytes can't pack so small a model here")
def test_two_processes_train_over_4_bits_as_one(
    configure: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    model = {"method": "lora", "quantise": "4bit", "adapter": {"rank": 4, "dropout": 0.0}}
    cached = VARIANTS["ddp-cached"] | {"gradient_checkpointing": True}
    _check_two_equal_one(configure, tmp_path, {"ddp-cached-checkpointing": cached}, model=model)


def test_two_processes_mine_the_same_negatives(
    configure: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    filters = {"overlap": 2, "percentage": None}
    stages = [{"name": "all", "refresh": True}]
    _check_two_equal_one(configure, tmp_path, {"ddp": {}}, stages, data={"refresh": filters})


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
    objectives["matryoshka"] = [5]
    teacher = {"teacher": str(tmp_path / "teacher")}
    variants = {name: VARIANTS[name] for name in ("ddp", "fsdp-passes")}
    _check_two_equal_one(configure, tmp_path, variants, objectives=objectives, distillation=teacher)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_shared_model_is_trained_saved_and_resumed_as_a_whole_one(
    method: str, configure: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    def write(name: str, **optimisation: Any) -> Path:
        config = configure(
            name,
            model={"method": method, "adapter": {"rank": 4, "dropout": 0.0}, "merge": True},
            optimisation={"max_gradient_norm": 0.5, "ema": 0.5, **optimisation},
            data={"dev": plain(configure())["data"]["train"]},
            reporting={"evaluate_every": 1},
            checkpoints={"every_steps": 100},
        )
        return _write(config, tmp_path / f"{name}.yaml")

    cached = {"parallel": "fsdp", "gradient_cache": True, "forward_tokens": 150}
    whole = write("one", batch_size=4)
    begun_in_one = [
        write(name, parallel=name.partition("-")[0], batch_size=4)
        for name in ("ddp-moved", "fsdp-moved")
    ]
    begun_in_two = [write("ddp-left"), write("fsdp-left", parallel="fsdp")]
    in_two = [
        write("ddp"),
        write("ddp-stopped"),
        write("fsdp-cached-stopped", **cached),
        *begun_in_one,
        *begun_in_two,
    ]
    train(load_config(whole))
    for config in begun_in_one:
        stop_once()
        with pytest.raises(SystemExit):
            train(load_config(config))
    _run_two("training_worker.py", in_two, tmp_path)
    for config in begun_in_two:
        _check_parts(tmp_path / config.stem, shared=config.stem.startswith("fsdp"))
        train(load_config(config))
    for which in ("model", "best"):
        weights = {one.stem: _weights(tmp_path / one.stem / which) for one in (whole, *in_two)}
        one = weights.pop("one")
        for name, found in weights.items():
            assert found.keys() == one.keys()
            for key, value in one.items():
                torch.testing.assert_close(found[key], value, rtol=1e-3, atol=2e-5, msg=name)
        # Not so for FSDP, where runs differ in rounding by where in memory weights are gathered.
        for key, value in weights["ddp"].items():
            assert torch.equal(weights["ddp-stopped"][key], value), key
    assert not list(tmp_path.glob("*/.*"))


def _check_parts(output: Path, shared: bool) -> None:
    """What two processes share each writes half of; what both have, one does."""
    newest = checkpoints(output)[-1].folder
    sizes = [file.stat().st_size for file in newest.glob("*.safetensors")]
    assert len(sizes) == (2 if shared else 1)
    assert max(sizes) < 1.2 * min(sizes)


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")
