"""The optimizer's surroundings: learning rate, precision, seeds, and a polite way to stop."""

from __future__ import annotations

import hashlib
import math
import signal
import threading
from types import FrameType
from typing import Any, Self

import torch

from uniconv.config import Optimisation
from uniconv.pretrained import computes_in_bfloat16


def learning_rate(settings: Optimisation, step: int, steps: int) -> float:
    """The learning rate of step ``step`` (from 0) of ``steps``: warm-up, then the schedule."""
    warmup = round(settings.warmup * steps)
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    match settings.schedule:
        case "constant":
            factor = 1.0
        case "linear":
            factor = 1 - done
        case "cosine":
            factor = (1 + math.cos(math.pi * done)) / 2
    return settings.learning_rate * factor


def uses_bf16(settings: Optimisation, device: torch.device) -> bool:
    """Whether forward passes compute in bfloat16: as set, or where the hardware does."""
    if settings.precision != "auto":
        return settings.precision == "bf16"
    return computes_in_bfloat16(device)


def seed_step(seed: int, step: int, process: int) -> None:
    """Makes a step's dropout a function of seed, step and process, so that nothing is to save."""
    digest = hashlib.blake2b(f"{seed}/{step}/{process}".encode(), digest_size=8).digest()
    torch.manual_seed(int.from_bytes(digest, "big") >> 1)


STOPPING = (signal.SIGINT, signal.SIGTERM)
"""The signals at which a run writes a checkpoint and ends."""


class StopSignals:
    """Turns Ctrl-C and SIGTERM into a number to be looked at between steps.

    A second Ctrl-C is obeyed at once. Any other second signal is a launcher's, which tells its
    processes again what they have heard from the terminal.
    """

    def __init__(self) -> None:
        self.received = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in STOPPING:
                self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, number: int, _: FrameType | None) -> None:
        if number == self.received == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = self.received or number


def leave(number: int) -> None:
    """Ends the program as the signal would have, after everything was saved."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)
