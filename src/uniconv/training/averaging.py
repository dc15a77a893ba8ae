"""An exponential moving average of the trained weights (EMA): smoother than the last step's.

Averages of weights over the course of training: Polyak and Juditsky 1992, "Acceleration of
Stochastic Approximation by Averaging".
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class Average:
    """The average of a network's trainable parameters; without ``decay`` there is none.

    The decay begins low, ``(1 + step) / (10 + step)`` of at most ``decay``, so that the weights
    before training are soon forgotten in short runs too.
    """

    def __init__(self, network: nn.Module, decay: float | None) -> None:
        self._decay = decay or 0.0
        self._trained = {
            name: one
            for name, one in network.named_parameters()
            if one.requires_grad and decay is not None
        }
        self.averages = {name: one.detach().clone() for name, one in self._trained.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Takes in the weights after step ``step``, from 0."""
        decay = min(self._decay, (1 + step) / (10 + step))
        for name, weights in self._trained.items():
            self.averages[name].lerp_(weights, 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The network has the averages, if any, for its weights, and its own back at the end."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, weights in self._trained.items():
            own = weights.detach().clone()
            weights.copy_(self.averages[name])
            self.averages[name].copy_(own)
