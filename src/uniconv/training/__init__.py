"""Joint training of retrieval and generation: examples, losses, and the trainer."""

from __future__ import annotations

from uniconv.training.trainer import DivergedError, train

__all__ = ["DivergedError", "train"]
