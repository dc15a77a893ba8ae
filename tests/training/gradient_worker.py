"""Run by test_distributed.py in each of several processes: gradients of one step, to a file."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path

import torch

from uniconv.config import load_config
from uniconv.training.optimisation import StopSignals
from uniconv.training.reporting import Reporter, Window
from uniconv.training.sharding import whole
from uniconv.training.trainer import Trainer


def gradients(config: Path) -> dict[str, torch.Tensor]:
    """Gradients by parameter, ``loss.*`` and ``diagnosis.*`` as reported, of the first step."""
    trainer = Trainer(load_config(config))
    diagnosis = trainer.diagnosis.run(0, nullcontext())
    found = {f"diagnosis.{name}": torch.tensor(value) for name, value in diagnosis.items()}

    def keep() -> None:
        for name, parameter in trainer.model.network.named_parameters():
            if parameter.requires_grad:
                found[name] = whole(parameter.grad).clone()

    trainer.optimizer.step = keep
    window = Window()
    trainer._refresh(Reporter(1, 0, False))
    trainer._train_step(window, StopSignals())
    for name, value in window.means().items():
        if name != "tokens":  # a passage that two processes share is read by both
            found[f"loss.{name}"] = torch.tensor(value)
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    *configs, out = map(Path, sys.argv[1:])
    torch.save({config.stem: gradients(config) for config in configs}, out)
