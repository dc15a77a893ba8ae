"""What diagnoses cost: medians of steps and diagnoses of a training configuration, and the share.

    python benchmarks/diagnosis.py config.yaml [--repeats 5] [--set optimisation.batch_size=8 ...]

Nothing is written but what a teacher or mining leaves in the run's folder.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from statistics import median

import torch

from uniconv.config import load_config
from uniconv.training.optimisation import StopSignals
from uniconv.training.reporting import Window
from uniconv.training.trainer import Trainer


def seconds(work: Callable[[], object], repeats: int) -> float:
    """The median after one run that doesn't count."""
    found = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        found.append(time.perf_counter() - started)
    return median(found[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--set", nargs="*", default=())
    arguments = parser.parse_args()
    config = load_config(arguments.config, arguments.set)
    trainer = Trainer(config)

    def step() -> None:
        trainer._train_step(Window(), StopSignals())
        trainer.step += 1

    of_step = seconds(step, arguments.repeats)
    of_diagnosis = seconds(
        lambda: trainer.diagnosis.run(trainer.step, nullcontext()), arguments.repeats
    )
    every = config.reporting.diagnose_every
    share = of_diagnosis / (every * of_step + of_diagnosis)
    print(
        f"a step {of_step:.3f} s, a diagnosis {of_diagnosis:.3f} s: {share:.2%} of the time with "
        f"one every {every} steps"
    )


if __name__ == "__main__":
    main()
