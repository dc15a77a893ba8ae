"""What mining hard negatives is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from uniconv.config.ranges import number
from uniconv.errors import ConfigError

QueryForm = Literal["history", "last", "questions", "rewrite"]
"""What sparse retrieval searches with: see :func:`uniconv.retrieval.queries.query_text`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which candidates may be negatives, and how many are kept."""

    negatives: int = 8
    """How many are kept for a turn; training draws data.hard_negatives of them."""
    first: int = 1
    """The best rank that is looked at. Later ones are easier, and seldom relevant unnoticed."""
    last: int = 100
    """The last rank that is looked at."""
    sample: Literal["top", "random"] = "top"
    """Of what the filters leave: the best ones, or any, by chance."""
    margin: float | None = None
    """none: a candidate must score more than this below the best positive (TopK-MarginPos of
    NV-Retriever, Moreira et al. 2024, who give 0.05 for cosines)."""
    percentage: float | None = None
    """none: a candidate must score less than this part of the best positive's score (TopK-PercPos
    of NV-Retriever, whose best setting is 0.95)."""
    overlap: float = 0.5
    """A candidate that shares this part of the word trigrams of the shorter text with a positive
    is a near-duplicate of it. Above 1 nothing is."""
    known: Literal["turn", "gold", "conversation"] = "gold"
    """Positives that are never negatives: the turn's own; also those of turns anywhere that share
    a positive with it (gold); also those of every turn of its conversation."""
    existing: Literal["merge", "replace"] = "merge"
    """Negatives that turns have already: kept before the mined ones, or left out."""
    seed: int = 0
    """Of random samples."""

    def __post_init__(self) -> None:
        if not 1 <= self.first <= self.last:
            raise ConfigError(
                f"ranks go from first to last, counting from 1, not from {self.first} to "
                f"{self.last}"
            )
        if self.negatives < 1:
            raise ConfigError(f"negatives must be 1 or more, not {self.negatives}")
        if not self.overlap > 0:
            raise ConfigError(f"overlap must be above 0, not {self.overlap}")
        if self.margin is not None and not 0 <= self.margin < float("inf"):
            raise ConfigError(f"margin must be 0 or more, not {self.margin}")
        if self.percentage is not None and not 0 < self.percentage <= 1:
            raise ConfigError(f"percentage must be above 0 and at most 1, not {self.percentage}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refresh(Filters):
    """Hard negatives mined anew from the model being trained: ANCE (Xiong et al. 2021, arXiv
    2007.00808), with the filters of ``uniconv mine``."""

    every_steps: int | None = number(None, least=1)
    """none: steps between minings; none means only where a stage says ``refresh``. What was mined
    at first is easy once the model has learned from it."""
    pool: int | None = number(20_000, least=1)
    """20000: the passages that are searched beside all that turns name: a fair sample of the
    source's corpora, since each mining encodes them all. none: every passage of the corpora."""
    percentage: float | None = 0.95
    """0.95: TopK-PercPos at NV-Retriever's best, since a model's best candidates are often
    relevant."""


@dataclass(frozen=True, slots=True)
class MiningConfig(Filters):
    """Where candidates come from, which are taken away, and how many are kept.

    Candidates are the passages of ranks ``first`` to ``last`` for each turn with positives. They
    come from BM25 or the model over an ``index``, from BM25 over a ``corpus``, or from a ``run``,
    for which ``index`` or ``corpus`` holds the texts.
    """

    conversations: Path
    """Conversations as JSONL; every turn with positives gets negatives."""
    out: Path
    """The conversations with their negatives; a report goes beside it (.mining.json)."""
    index: Path | None = None
    """An index folder."""
    corpus: Path | None = None
    """A corpus.jsonl, where there is no index."""
    run: Path | None = None
    """A TREC run whose queries are named conversation_turn, in place of a retriever."""
    retriever: Literal["bm25", "dense", "hybrid"] = "bm25"
    """bm25: words; dense: the embeddings of the index's model; hybrid: both, fused."""
    query: QueryForm = "history"
    """What BM25 searches with: history (all questions and answers so far), last (the last
    question), questions (all questions, no answers) or rewrite (the last one made self-contained).
    The model always reads the conversation."""
    model: str | None = None
    """Where the index's model is now, if it has moved."""

    def __post_init__(self) -> None:
        Filters.__post_init__(self)
        if (self.index is None) == (self.corpus is None):
            raise ConfigError("give an index or a corpus, and not both")
        if self.run is None and self.corpus is not None and self.retriever != "bm25":
            raise ConfigError(f"{self.retriever} retrieval needs an index; a corpus serves bm25")
