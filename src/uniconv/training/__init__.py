"""Joint training of retrieval and generation: examples, losses, and the trainer."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uniconv.training.failures import DivergedError as DivergedError
    from uniconv.training.trainer import train as train

_HOMES = {"DivergedError": "uniconv.training.failures", "train": "uniconv.training.trainer"}

__all__ = ["DivergedError", "train"]


def __getattr__(name: str) -> Any:
    # Lazily: the objective alone needs no index, which the trainer does.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'uniconv.training' has no attribute '{name}'")
