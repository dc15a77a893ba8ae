"""Passages and citations as plain values, the form in which they leave for other programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from uniconv.types import Citation, ScoredPassage


def plain_passages(passages: Sequence[ScoredPassage]) -> list[dict[str, Any]]:
    """Passages by the numbers that an answer's marks use."""
    return [
        {
            "number": number,
            "id": scored.passage.id,
            "title": scored.passage.title,
            "text": scored.passage.text,
            "score": scored.score,
            "metadata": dict(scored.passage.metadata),
        }
        for number, scored in enumerate(passages, start=1)
    ]


def plain_citations(citations: Sequence[Citation]) -> list[dict[str, Any]]:
    """Marks, and the ids of the passages that they point to."""
    return [{"number": one.number, "id": one.passage.id} for one in citations]


def labels(scored: ScoredPassage) -> dict[str, str]:
    """What other programs keep beside a passage's text: its title, and its own metadata."""
    return {"title": scored.passage.title, **scored.passage.metadata}
