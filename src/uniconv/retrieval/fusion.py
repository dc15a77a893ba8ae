"""Several rankings made one by their scores, each in its own standard deviations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from uniconv.types import Passage, ScoredPassage


def score_fusion(
    rankings: Sequence[Sequence[ScoredPassage]], limit: int | None = None, *, depth: int
) -> list[ScoredPassage]:
    """The best ``limit`` passages of all rankings by the sum of their standardised scores.

    A ranking's scores are measured from the lowest of its first ``depth`` in their standard
    deviations, so that one whose best stands out weighs more than one that can't decide. What it
    lacks counts as its lowest; where it has fewer than ``depth``, as words in common do, that is a
    score of 0. Equal sums keep the order in which the passages are first met, ranking by ranking.
    Scores fused so find more than ranks alone (Bruch, Gai and Ingber, "An analysis of fusion
    functions for hybrid retrieval", TOIS 2023, who scale them to between their bounds; here
    deviations did as well with a strong model and better with a weak one: docs/lab-log.md).
    """
    sums: dict[str, float] = {}
    passages: dict[str, Passage] = {}
    for ranking in rankings:
        scores = np.zeros(max(depth, len(ranking)))
        scores[: len(ranking)] = [scored.score for scored in ranking]
        standardised = (scores - scores.min()) / (scores.std() or 1.0)
        for scored, value in zip(ranking, standardised.tolist(), strict=False):
            id = scored.passage.id
            passages.setdefault(id, scored.passage)
            sums[id] = sums.get(id, 0.0) + value
    best = sorted(sums, key=lambda id: -sums[id])[:limit]
    return [ScoredPassage(passages[id], sums[id]) for id in best]
