"""Run by test_distributed.py in each of several processes: trains each config to its end.

One whose name ends in "stopped" is sent SIGTERM in its third step, and goes on afterwards; one
whose name ends in "left" doesn't.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch

from uniconv.config import load_config
from uniconv.training import trainer
from uniconv.training.distributed import processes


def stop_once() -> None:
    original = trainer.seed_step

    def seed_step(seed: int, step: int, process: int) -> None:
        original(seed, step, process)
        if step == 2:
            trainer.seed_step = original
            if process + 1 == processes():  # the others hear it from there
                os.kill(os.getpid(), signal.SIGTERM)

    trainer.seed_step = seed_step


if __name__ == "__main__":
    torch.set_num_threads(1)
    for config in map(Path, sys.argv[1:-1]):
        if config.stem.endswith(("stopped", "left")):
            stop_once()
            try:
                trainer.train(load_config(config))
            except SystemExit as left:
                assert left.code == 128 + signal.SIGTERM
            else:
                raise AssertionError("the signal was not heard")
        if not config.stem.endswith("left"):
            trainer.train(load_config(config))
