"""Which candidates may be negatives of a turn: those that give no sign of being relevant."""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from collections.abc import Set
from dataclasses import dataclass
from functools import lru_cache

from uniconv.config import Filters
from uniconv.retrieval.candidates import Ranking
from uniconv.types import Passage

FILTERS = ("known positive", "already a negative", "score margin", "near-duplicate")
"""What takes a candidate away, in this order: the first reason counts."""

_WORDS = 3

# Thai to Burmese, Chinese and Japanese put no spaces between words: a character counts as a word
# there, since a whole sentence would be one otherwise.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(f"[{_UNSPACED}]|[^\\W{_UNSPACED}]+")


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen negatives' ids, best first, and how many candidates each filter took away."""

    ids: tuple[str, ...]
    candidates: int
    removed: Counter[str]


def choose(
    ranking: Ranking,
    positives: list[Passage],
    known: Set[str],
    existing: Set[str],
    config: Filters,
    rng: random.Random,
) -> Choice:
    """The negatives of a turn among the ranks that the configuration names.

    ``known`` are ids that must not be negatives, ``existing`` those that are already.
    """
    limit = score_limit(ranking.positive, config)
    candidates = ranking.candidates[config.first - 1 : config.last]
    removed: Counter[str] = Counter()
    left = []
    for candidate in candidates:
        passage = candidate.passage
        if passage.id in known:
            removed["known positive"] += 1
        elif passage.id in existing:
            removed["already a negative"] += 1
        elif not candidate.score < limit:
            removed["score margin"] += 1
        elif any(overlap(passage.text, one.text) >= config.overlap for one in positives):
            removed["near-duplicate"] += 1
        else:
            left.append(passage.id)
    if config.sample == "random" and len(left) > config.negatives:
        chosen = set(rng.sample(range(len(left)), config.negatives))
        left = [id for place, id in enumerate(left) if place in chosen]
    return Choice(tuple(left[: config.negatives]), len(candidates), removed)


def score_limit(positive: float, config: Filters) -> float:
    """What a negative must score less than, given the best score of a positive.

    Positive-aware mining of NV-Retriever (Moreira et al. 2024, arXiv 2407.15831):
    ``positive - margin`` (TopK-MarginPos) and ``percentage * positive`` (TopK-PercPos), the lower
    one where both are set. Of a positive below 0 the percentage is taken away, not added.
    """
    if config.margin is None and config.percentage is None:
        return math.inf
    if math.isinf(positive):
        return positive
    away = 0.0 if config.percentage is None else (1 - config.percentage) * abs(positive)
    return positive - max(config.margin or 0.0, away)


def overlap(first: str, second: str) -> float:
    """The part of the shorter text's word trigrams that the other has too, from 0 to 1.

    It is 1 where one text contains the other, as passages of overlapping windows nearly do
    (containment: Broder 1997, "On the resemblance and containment of documents"). Case and
    punctuation don't count; a text of fewer than three words is compared as a whole.
    """
    a, b = sorted((_trigrams(first), _trigrams(second)), key=len)
    return len(a & b) / len(a) if a else float(not b)


@lru_cache(maxsize=4096)
def _trigrams(text: str) -> frozenset[tuple[str, ...]]:
    words = _WORD.findall(text.casefold())
    if not words:
        return frozenset()
    starts = range(max(1, len(words) - _WORDS + 1))
    return frozenset(tuple(words[start : start + _WORDS]) for start in starts)
