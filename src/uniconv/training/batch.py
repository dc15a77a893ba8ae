"""What one forward pass learns from: token sequences, by the part of the objective they serve."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from uniconv.training.divergences import SoftTargets
from uniconv.training.losses import NO_KEY
from uniconv.tree import Tokens


@dataclass(slots=True)
class Contrast:
    """Queries and the documents among which each has to find its own.

    A document that serves several queries is there once. ``labels`` are rows of ``documents``,
    ``keys`` tell which documents have the same text, and ``own`` are the keys of everything that
    is relevant to a query, whether it is among the documents or not. ``asked`` are the keys of the
    conversations that the queries were made of.
    """

    queries: list[Tokens] = field(default_factory=list)
    documents: list[Tokens] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    own: list[list[int]] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.queries)

    @property
    def tokens(self) -> int:
        """All tokens that are read."""
        return sum(map(len, self.queries)) + sum(map(len, self.documents))

    def document(self, key: int, tokens: Tokens) -> int:
        """The row of a document, added if it is new."""
        if key not in self.keys:
            self.keys.append(key)
            self.documents.append(tokens)
        return self.keys.index(key)

    def pairs(self) -> Scoring:
        """Every query with every document, by rows: prompts, and responses that may follow."""
        every = [(query, document) for query in self.queries for document in self.documents]
        return Scoring([query for query, _ in every], [document for _, document in every])

    def tensors(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """``labels`` [n], ``own`` [n, p] padded with NO_KEY, and ``keys`` [m], all int64."""
        width = max(map(len, self.own), default=0)
        own = torch.full((len(self.own), width), NO_KEY)
        for row, keys in enumerate(self.own):
            own[row, : len(keys)] = torch.tensor(keys)
        labels, keys_ = torch.tensor(self.labels).long(), torch.tensor(self.keys).long()
        return labels.to(device), own.to(device), keys_.to(device)


@dataclass(slots=True)
class Writing:
    """Prompts and the responses, with their end tokens, that should follow them.

    Where a teacher's distributions are there, those are to be learned in place of the tokens.
    ``walls``, empty or by prompt: what follows the prompt's token at this place sees none before
    it, 0 for no wall.
    """

    prompts: list[Tokens] = field(default_factory=list)
    responses: list[Tokens] = field(default_factory=list)
    soft: SoftTargets | None = None
    walls: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        """The number of tokens to predict."""
        return sum(map(len, self.responses))

    @property
    def tokens(self) -> int:
        """All tokens that are read."""
        return sum(map(len, self.prompts)) + len(self)


@dataclass(slots=True)
class Scoring(Writing):
    """As Writing, but each response has a score of its own: its mean token log-likelihood."""


@dataclass(slots=True)
class Batch:
    """What one forward pass of one process learns from; parts may be empty."""

    retrieval: Contrast = field(default_factory=Contrast)
    generation: Writing = field(default_factory=Writing)
    cii: Contrast = field(default_factory=Contrast)
    grounded: Writing = field(default_factory=Writing)

    @property
    def counts(self) -> list[int]:
        """What each part's sum is divided by: queries or predicted tokens, in order of PARTS."""
        return [len(getattr(self, part)) for part in PARTS]

    @property
    def tokens(self) -> int:
        """All tokens of its sequences; what they share counts each time."""
        return sum(getattr(self, part).tokens for part in PARTS)


PARTS = ("retrieval", "generation", "cii", "grounded")
"""The parts of the objective, by their names in Batch and in reports."""
