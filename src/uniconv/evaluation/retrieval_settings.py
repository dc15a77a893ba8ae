"""What an evaluation of retrieval is told; nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from uniconv.config import QueryForm
from uniconv.errors import ConfigError


@dataclass(frozen=True, slots=True)
class RetrievalEvaluation:
    """What is evaluated: an ``index``, BM25 alone over a ``corpus``, or a finished ``run``."""

    conversations: Path
    """Conversations as JSONL; every turn with positives is a query."""
    out: Path
    """The folder for the run, the judgements, the values of every query and the result."""
    index: Path | None = None
    """An index folder; its own model searches it, which may be any UniConv model."""
    corpus: Path | None = None
    """A corpus.jsonl: for BM25 alone, or to make the index of an encoder from."""
    run: Path | None = None
    """A TREC run whose queries are named conversation_turn, in place of a search."""
    encoder: str | None = None
    """A sentence-transformers model, a folder or a name on the hub, in place of a UniConv model.
    With a corpus, the index is made first, or gone on with, or brought up to date."""
    retriever: Literal["dense", "bm25", "hybrid"] = "dense"
    """dense: the model's embeddings; bm25: words; hybrid: their scores fused, as search does."""
    query: QueryForm = "history"
    """What is searched with: history (all questions and answers so far), last (the last question),
    questions (all questions, no answers) or rewrite (the last one made self-contained). A UniConv
    model reads the history as a conversation, the others as one text of a single question."""
    qrels: Path | None = None
    """Judgements to use in place of the positives, under the ids conversation_turn."""
    relevant: int = 1
    """The least grade that is relevant to MRR, MAP and recall; NDCG uses all grades as gains."""
    train: tuple[Path, ...] = ()
    """Training's conversations (.jsonl) or judgements: results are broken down by whether a
    query's passages were seen there as positives."""
    model: str | None = None
    """Where the index's model is now, if it has moved."""
    k: int = 100
    """How many passages are retrieved for a query."""
    seed: int = 0
    """Of the bootstrap intervals."""

    def __post_init__(self) -> None:
        if self.run is not None:
            if self.index or self.corpus or self.encoder:
                raise ConfigError("a run is evaluated as it is; give no index, corpus or encoder")
        elif self.encoder is not None:
            if self.index is None or self.retriever == "bm25" or self.model is not None:
                raise ConfigError(
                    "an encoder needs an index (the folder for its vectors), and neither bm25 nor "
                    "a model"
                )
        elif (self.index is None) == (self.corpus is None):
            raise ConfigError("give an index, or a corpus for BM25 alone, or a run")
        elif self.corpus is not None and self.retriever != "bm25":
            raise ConfigError(f"{self.retriever} retrieval needs an index; a corpus serves bm25")
        if self.retriever == "hybrid" and self.query != "history":
            raise ConfigError("hybrid retrieval takes the history and the last question")
        if self.k < 1 or self.relevant < 1:
            raise ConfigError(f"k ({self.k}) and relevant ({self.relevant}) must be 1 or more")

    @property
    def system(self) -> str:
        """A short name of what is evaluated."""
        if self.run is not None:
            return f"run {self.run}"
        kind = self.retriever if self.encoder is None else f"{self.retriever} ({self.encoder})"
        return kind if self.retriever == "hybrid" else f"{kind}, {self.query}"
