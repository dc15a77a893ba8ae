"""Sequences laid in rows of one length, filled to the end."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pieces import Pair, Piece

Place = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Shape:
    """Rows, tokens a row, and the shares of tokens in questions with passages and in prompts."""

    rows: int
    length: int
    questions: float = 0.12
    grounded: float = 0.22
    repeated: float = 0.02


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows [r, n]: ``ids``, ``positions`` and ``pieces`` (the number of a token's sequence; 0 for
    padding), ``labels`` (the next token, or -100) and ``kinds`` of sequence.

    ``markers`` [m] are places in the flattened rows: those of queries, then those of passages, in
    the order of pairs; ``groups`` [m / 2] of pairs; ``targets`` uint8 [t, 96] of the markers
    ``taught`` [t].
    """

    ids: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    pieces: npt.NDArray[np.int32]
    labels: npt.NDArray[np.int64]
    kinds: npt.NDArray[np.uint8]
    markers: npt.NDArray[np.int64]
    groups: npt.NDArray[np.int64]
    taught: npt.NDArray[np.int64]
    targets: npt.NDArray[np.uint8]

    @property
    def attended(self) -> float:
        """Keys that a token sees, on average."""
        return float((self.positions + 1).mean())


def arrange(
    pieces: Sequence[Piece], pairs: Sequence[Pair], shape: Shape, filler: Callable[[int], Piece]
) -> Batch:
    """The longest piece first, each where most room is; ``filler(n)`` gives at most n tokens."""
    everything = [*(pair.query for pair in pairs), *(pair.passage for pair in pairs), *pieces]
    order = sorted(range(len(everything)), key=lambda i: -len(everything[i].ids))
    room = [(-shape.length, row) for row in range(shape.rows)]
    placed: list[Place | None] = [None] * len(everything)
    for number in order:
        size = len(everything[number].ids)
        if size > -room[0][0]:
            continue
        left, row = heapq.heappop(room)
        placed[number] = (row, shape.length + left)
        heapq.heappush(room, (left + size, row))
    for left, row in room:
        while left < -16:
            everything.append(filler(-left))
            placed.append((row, shape.length + left))
            left += len(everything[-1].ids)
    return _batch(everything, placed, pairs, shape)


def _batch(
    pieces: Sequence[Piece], placed: Sequence[Place | None], pairs: Sequence[Pair], shape: Shape
) -> Batch:
    size = (shape.rows, shape.length)
    ids, positions = np.zeros(size, np.int64), np.zeros(size, np.int64)
    numbers, labels = np.zeros(size, np.int32), np.full(size, -100, np.int64)
    kinds = np.zeros(size, np.uint8)
    for number, (piece, place) in enumerate(zip(pieces, placed, strict=True)):
        if place is None:
            continue
        row, start = place
        end = start + len(piece.ids)
        ids[row, start:end] = piece.ids
        positions[row, start:end] = np.arange(len(piece.ids))
        numbers[row, start:end] = number + 1
        kinds[row, start:end] = piece.kind
        wanted = slice(start + piece.first - 1, start + piece.last - 1)
        labels[row, wanted] = piece.ids[piece.first : piece.last]
    count = len(pairs)
    kept = [i for i in range(count) if placed[i] and placed[count + i]]
    markers = [
        row * shape.length + start + len(pieces[i].ids) - 1
        for i in [*kept, *(count + i for i in kept)]
        for row, start in [placed[i] or (0, 0)]
    ]
    targets = [pairs[i].query_target for i in kept] + [pairs[i].passage_target for i in kept]
    taught = [number for number, target in enumerate(targets) if target is not None]
    codes = [target for target in targets if target is not None]
    return Batch(
        ids,
        positions,
        numbers,
        labels,
        kinds,
        np.array(markers, np.int64),
        np.array([pairs[i].group for i in kept], np.int64),
        np.array(taught, np.int64),
        np.stack(codes) if codes else np.zeros((0, 0), np.uint8),
    )
