"""Several rankings made one by the ranks alone, so that their scores need not be comparable."""

from __future__ import annotations

from collections.abc import Sequence

from uniconv.types import Passage, ScoredPassage


def reciprocal_rank_fusion(
    rankings: Sequence[Sequence[ScoredPassage]], limit: int | None = None, *, k: float = 60
) -> list[ScoredPassage]:
    """The best ``limit`` passages of all rankings, each scored by the sum of 1 / (k + rank).

    Ranks count from 1. Equal scores keep the order in which the passages are first met, ranking
    by ranking. Cormack, Clarke and Büttcher, "Reciprocal rank fusion outperforms Condorcet and
    individual rank learning methods", SIGIR 2009, who found k = 60.
    """
    scores: dict[str, float] = {}
    passages: dict[str, Passage] = {}
    for ranking in rankings:
        for rank, scored in enumerate(ranking, start=1):
            id = scored.passage.id
            passages.setdefault(id, scored.passage)
            scores[id] = scores.get(id, 0.0) + 1 / (k + rank)
    best = sorted(scores, key=lambda id: -scores[id])[:limit]
    return [ScoredPassage(passages[id], scores[id]) for id in best]
