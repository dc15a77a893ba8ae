"""Joint training of retrieval and generation: examples, losses, and the trainer."""

from __future__ import annotations

from uniconv.training.failures import DivergedError
from uniconv.training.trainer import train

__all__ = ["DivergedError", "train"]
