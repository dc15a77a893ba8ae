"""A UniConv that several threads use: they take turns, one pass through the LM at a time.

It is what an engine with the same methods does by batching, for where there is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from threading import Event, RLock
from typing import Any

import numpy as np

from uniconv.conversational import Reading
from uniconv.decoding import Sampler, Writer
from uniconv.model import UniConv
from uniconv.tree import Tokens

ENCODED_AT_ONCE = 16
"""Sequences between which others may take their turn."""


class SharedUniConv(UniConv):
    """The same model, behind a lock."""

    def __init__(self, model: UniConv) -> None:
        super().__init__(
            model.network,
            model.tokenizer,
            model.template,
            model.settings,
            model.training,
            model.name,
        )
        self._lock = RLock()

    def encode(self, sequences: Sequence[Tokens], **options: Any) -> np.ndarray:
        """As :meth:`UniConv.encode`, letting others in between."""
        parts = []
        for start in range(0, len(sequences), ENCODED_AT_ONCE):
            with self._lock:
                parts.append(super().encode(sequences[start : start + ENCODED_AT_ONCE], **options))
        return np.concatenate(parts) if parts else super().encode(sequences, **options)

    def read_tokens(self, tokens: list[int], cancelled: Event | None = None) -> Reading:
        with self._lock:
            return super().read_tokens(tokens, cancelled)

    def _write(
        self, reading: Reading, suffix: list[int], writer: Writer, sampler: Sampler
    ) -> Iterator[str]:
        return _Pieces(super()._write(reading, suffix, writer, sampler), self._lock)


class _Pieces(Iterator[str]):
    """Text as it is written; it may be closed from another thread than the one that iterates."""

    def __init__(self, pieces: Iterator[str], lock: RLock) -> None:
        self._pieces = pieces
        self._lock = lock
        self._closed = False

    def __next__(self) -> str:
        if self._closed:
            raise StopIteration
        with self._lock:
            return next(self._pieces)

    def close(self) -> None:
        self._closed = True
