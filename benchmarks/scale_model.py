"""The laws behind benchmarks/scale.py: what work takes, given the rates of a machine."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass
from math import inf, sqrt
from typing import Any

from machine import Hardware
from uniconv.retrieval.approximate import PROBES
from uniconv.retrieval.vectors import EXACT_BELOW

DAY = 86_400.0
_SAMPLE_PER_LIST = 64


@dataclass(frozen=True, slots=True)
class Shape:
    """A decoder LM. ``weights`` are those in a layer's matrix products, ``head`` of the output's,
    ``attention`` is heads times their width, ``kv`` the same of keys (or of values) alone, and
    ``dimension`` that of the embeddings."""

    weights: float
    head: float
    layers: int
    attention: int
    kv: int
    dimension: int

    @classmethod
    def of(cls, config: Any) -> Shape:
        """Of a Llama-like configuration of transformers."""
        head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        attention, kv = head * config.num_attention_heads, head * config.num_key_value_heads
        width, layers = config.hidden_size, config.num_hidden_layers
        layer = width * (2 * attention + 2 * kv + 3 * config.intermediate_size)
        return cls(layers * layer, width * config.vocab_size, layers, attention, kv, width)

    def reading(self, new: float, before: float = 0) -> float:
        """Floating-point operations of ``new`` tokens after ``before`` others, without the head:
        two for each weight, and four for each key, head and dimension."""
        seen = new * before + new * (new + 1) / 2
        return 2 * self.weights * new + 4 * self.layers * self.attention * seen

    def cache(self, tokens: float, bytes_each: int = 2) -> float:
        """Bytes of the keys and values of so many tokens."""
        return 2 * self.layers * self.kv * tokens * bytes_each


@dataclass(frozen=True, slots=True)
class Rates:
    """What one machine was measured to do; times are seconds, of all its cores together.

    ``flops`` is what encoding reached in a second. ``read`` and ``bm25`` are of one passage,
    ``train`` and ``add`` of one multiply-add while an IVF index is built, ``exact`` and ``ivf``
    of one multiply-add of a search, ``exact_start`` and ``ivf_start`` what a search takes
    besides. ``text_bytes`` and ``bm25_bytes`` are on disk, of one passage. ``answers`` are
    pairs of simultaneous conversations and answers a second.
    """

    flops: float
    read: float
    bm25: float
    train: float
    add: float
    exact: float
    exact_start: float
    ivf: float
    ivf_start: float
    text_bytes: float
    bm25_bytes: float
    answers: tuple[tuple[int, float], ...] = ()


def encoding(rates: Rates, shape: Shape, passages: int, tokens: float) -> float:
    """Seconds to encode passages that have ``tokens`` tokens each."""
    return passages * shape.reading(tokens) / rates.flops


def is_exact(passages: int) -> bool:
    """Whether an index of this size compares all vectors with a query."""
    return passages <= EXACT_BELOW


def training_work(passages: int, dimension: int) -> float:
    """Multiply-adds of k-means over IVF's sample, an iteration."""
    lists = sqrt(passages)
    return min(passages, _SAMPLE_PER_LIST * lists) * lists * dimension


def adding_work(passages: int, dimension: int) -> float:
    """Multiply-adds that find the list of every vector."""
    return passages * sqrt(passages) * dimension


def indexing(rates: Rates, passages: int, dimension: int) -> float:
    """Seconds of all but encoding: reading, BM25 and, for many passages, the IVF index."""
    seconds = passages * (rates.read + rates.bm25)
    if not is_exact(passages):
        seconds += rates.train * training_work(passages, dimension)
        seconds += rates.add * adding_work(passages, dimension)
    return seconds


def probing_work(passages: int, dimension: int) -> float:
    """Multiply-adds of a search in an IVF index: all centres, and the lists that are probed."""
    return (1 + PROBES) * sqrt(passages) * dimension


def searching(rates: Rates, passages: int, dimension: int) -> float:
    """Seconds of one dense search."""
    if is_exact(passages):
        return rates.exact_start + rates.exact * passages * dimension
    return rates.ivf_start + rates.ivf * probing_work(passages, dimension)


@dataclass(frozen=True, slots=True)
class Disk:
    """Bytes of an index, and what of it a search keeps in memory."""

    text: float
    bm25: float
    vectors: float
    searched: float

    @property
    def total(self) -> float:
        """On disk."""
        return self.text + self.bm25 + self.vectors + self.searched


def disk(rates: Rates, passages: int, dimension: int) -> Disk:
    """Vectors are float32; an IVF index has a byte a component and 8 for the row beside them."""
    searched = 0.0 if is_exact(passages) else passages * (dimension + 8.0)
    return Disk(
        passages * rates.text_bytes,
        passages * rates.bm25_bytes,
        passages * dimension * 4.0,
        searched,
    )


@dataclass(frozen=True, slots=True)
class Turn:
    """Tokens of a turn: what is in the cache, what is new (question and passages), the answer."""

    history: float = 800
    new: float = 500
    answer: float = 100


Replica = tuple[float, Callable[[int], float], int]
"""Seconds in which a turn is read (nothing else goes on), seconds a token while so many are
written at once, and how many may be."""


def gpu_replica(
    hardware: Hardware, shape: Shape, turn: Turn, share: float, width: int = 64
) -> Replica:
    """One accelerator that reaches ``share`` of its peak, in arithmetic and in bandwidth.

    A token needs all weights once for everybody, and everybody's keys and values.
    """
    context = turn.history + turn.new + turn.answer / 2
    weights = 2 * (shape.weights + shape.head)

    def step(active: int) -> float:
        moved = (weights + active * shape.cache(context)) / hardware.bandwidth
        computed = active * weights / hardware.flops
        return max(moved, computed) / share

    room = hardware.memory * 0.9 - weights
    width = max(1, min(width, int(room / shape.cache(context + turn.answer / 2))))
    return shape.reading(turn.new, turn.history) / (hardware.flops * share), step, width


def measured_replica(rates: Rates, turn: Turn, width: int) -> Replica:
    """This machine's server: what it did at several numbers of conversations, and between."""
    known = sorted(rates.answers)

    def step(active: int) -> float:
        below = max((one for one in known if one[0] <= active), default=known[0])
        above = min((one for one in known if one[0] >= active), default=known[-1])
        weight = (active - below[0]) / (above[0] - below[0]) if above[0] > below[0] else 0.0
        return active / ((1 - weight) * below[1] + weight * above[1]) / turn.answer

    return 0.0, step, width


@dataclass(frozen=True, slots=True)
class Load:
    """What a simulated replica did: answers a second, and seconds from question to first text and
    to the end, sorted."""

    answers: float
    first: list[float]
    whole: list[float]

    def percentile(self, of: list[float], share: float) -> float:
        """The value below which a share of ``of`` lies."""
        return of[min(len(of) - 1, int(share * len(of)))] if of else inf


def simulate(
    replica: Replica,
    answer: float,
    *,
    rate: float = 0.0,
    clients: int = 0,
    search: float = 0.0,
    seconds: float = 1800.0,
    seed: int = 0,
) -> Load:
    """Questions that come by chance ``rate`` times a second, or from ``clients`` that ask again as
    soon as they are answered, at one replica.

    Answers have ``answer`` tokens on average (exponential). All that are being written get a token
    in the same time, which depends on their number; while a question is read, nothing is written;
    who finds no room waits in line.
    """
    reading, step, width = replica
    rng = random.Random(seed)
    now = written = 0.0  # written: the tokens that each answer under way could have got
    coming = [rng.expovariate(rate)] if rate else [0.0] * clients
    waiting: list[float] = []
    active: list[tuple[float, float, float]] = []  # tokens at its end, when asked, when begun
    first: list[float] = []
    whole: list[float] = []
    while now < seconds:
        speed = 1 / step(len(active)) if active else 0.0
        ends = now + (active[0][0] - written) / speed if active else inf
        asks = coming[0] if coming else inf
        if min(ends, asks) == inf:
            break
        moment = max(now, min(ends, asks))  # who asks while another is read waits for that
        written += (moment - now) * speed
        now = moment
        if asks <= ends:
            waiting.append(heapq.heappop(coming))
            if rate:
                heapq.heappush(coming, now + rng.expovariate(rate))
        else:
            _, asked, _ = heapq.heappop(active)
            whole.append(now - asked + search)
            if clients:
                heapq.heappush(coming, now)
        while waiting and len(active) < width:
            asked = waiting.pop(0)
            now += reading
            heapq.heappush(active, (written + rng.expovariate(1 / answer), asked, now))
            first.append(now - asked + search + step(len(active)))
    return Load(len(whole) / max(now, 1e-9), sorted(first), sorted(whole))


def replicas_for(
    replica: Replica, turn: Turn, rate: float, *, search: float, patience: float = 2.0
) -> tuple[int, Load]:
    """The fewest replicas whose 95th percentile of the first text is below ``patience`` seconds at
    ``rate`` questions a second, which a hash spreads evenly; and what one of them does then."""
    count = 1
    while True:
        load = simulate(replica, turn.answer, rate=rate / count, search=search)
        if load.percentile(load.first, 0.95) <= patience:
            return count, load
        count = count + 1 if count < 8 else int(count * 1.15) + 1
