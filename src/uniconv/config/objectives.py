"""The weights of the joint objective, and how a stage changes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from uniconv.config.ranges import number

TAUGHT = ("scores", "embeddings", "tokens", "grounded_tokens")
"""The weights of what is learned from a teacher."""

WEIGHTS = ("retrieval", "generation", "alpha", "gamma", *TAUGHT)
"""All weights."""


@dataclass(frozen=True, slots=True)
class Objectives:
    """Weights of ``L = L_R + L_G + alpha * L_CII + gamma * L_GG``; a part of weight 0 is free.

    The last four are of what is learned from the teacher that ``distillation`` names.
    """

    retrieval: float = number(1.0, least=0)
    """1: InfoNCE between conversations and passages."""
    generation: float = number(1.0, least=0)
    """1: cross-entropy of responses after conversations."""
    alpha: float = number(1.0, least=0)
    """1: context identification; the public sources give no value, and all parts are in nats."""
    gamma: float = number(0.0, least=0)
    """0: grounded generation is not in the paper's recipe; 1 is a good start for serving."""
    temperature: float = number(0.01, above=0)
    """0.01: divides similarities in contrastive losses (ChatRetriever)."""
    cii: Literal["embeddings", "likelihoods"] = "embeddings"
    """embeddings: a response is told from others by its embedding, at the price of reading each
    once. likelihoods: by its mean token log-likelihood after the conversation and the passage; each
    query is read with each response of its forward pass in the same process."""
    cii_temperature: float = number(1.0, above=0)
    """1: divides log-likelihoods, which differ by nats where similarities differ by hundredths."""
    matryoshka: tuple[int, ...] = ()
    """(): lengths of the beginnings of embeddings that are to retrieve on their own, such as
    [64, 128]. InfoNCE of retrieval, and the divergence from a teacher's scores, are then sums over
    these and the whole (Matryoshka Representation Learning, Kusupati et al. 2022, equation 1 with
    weights of 1), so they weigh more beside the other parts."""
    session_mask: bool = False
    """false: responses of L_G see the conversation, as when answering. true: they see it through
    its marker alone (ChatRetriever), which presses what they need into the embedding."""
    scores: float = number(0.0, least=0)
    """0: divergence from the teacher's scores of the passages of the batch, relevant and not, for a
    conversation: what retrieval uses, whatever the lengths of the two models' embeddings."""
    embeddings: float = number(0.0, least=0)
    """0: distance from the teacher's embeddings, by cosine where both models' have the same length,
    by their relations within the batch otherwise. Relations are squares of small differences, so
    10 is not too much."""
    tokens: float = number(0.0, least=0)
    """0: divergence from the teacher's distributions over the tokens of responses. The teacher is
    read at every step, and must have the student's tokenizer and prompt format."""
    grounded_tokens: float = number(0.0, least=0)
    """0: the same after grounded prompts."""

    @property
    def read(self) -> Objectives:
        """The objectives that data is read for: what a teacher supervises needs the same turns."""
        return replace(
            self,
            retrieval=self.retrieval or self.scores or self.embeddings,
            generation=self.generation or self.tokens,
            gamma=self.gamma or self.grounded_tokens,
        )

    @property
    def taught(self) -> dict[str, float]:
        """The weights of what is learned from a teacher, after the parts whose turns they need."""
        return {
            "retrieval_scores": self.scores,
            "retrieval_embeddings": self.embeddings,
            "generation_tokens": self.tokens,
            "grounded_tokens": self.grounded_tokens,
        }

    @property
    def weights(self) -> tuple[float, float, float, float]:
        """Of retrieval, generation, context identification and grounded generation."""
        return self.retrieval, self.generation, self.alpha, self.gamma

    def only(self, part: str) -> Objectives:
        """One part of the objective alone, with what a teacher says of it.

        ``part`` is retrieval, generation, cii or grounded.
        """
        weights = {
            "retrieval": ("retrieval", "scores", "embeddings"),
            "generation": ("generation", "tokens"),
            "cii": ("alpha",),
            "grounded": ("gamma", "grounded_tokens"),
        }
        others: dict[str, Any] = {
            name: 0.0 for one, names in weights.items() if one != part for name in names
        }
        return replace(self, **others)

    @property
    def writes(self) -> bool:
        """Whether some part needs the probabilities of tokens."""
        scores = self.alpha and self.cii == "likelihoods"
        return bool(self.read.generation or self.read.gamma or scores)


def matryoshka_problems(objectives: Objectives) -> Iterator[str]:
    """What is wrong with the lengths, whatever the model."""
    lengths = objectives.matryoshka
    if list(lengths) != sorted(set(lengths)) or min(lengths, default=1) < 1:
        yield (
            "objectives.matryoshka: expected lengths of 1 or more, each greater than the one "
            f"before, not {list(lengths)}"
        )


@dataclass(frozen=True, slots=True)
class WeightChanges:
    """Weights and temperatures that differ from those in ``objectives``; none does not."""

    retrieval: float | None = number(None, least=0)
    """none: as before."""
    generation: float | None = number(None, least=0)
    """none: as before."""
    alpha: float | None = number(None, least=0)
    """none: as before."""
    gamma: float | None = number(None, least=0)
    """none: as before."""
    temperature: float | None = number(None, above=0)
    """none: as before."""
    cii_temperature: float | None = number(None, above=0)
    """none: as before."""
    scores: float | None = number(None, least=0)
    """none: as before."""
    embeddings: float | None = number(None, least=0)
    """none: as before."""
    tokens: float | None = number(None, least=0)
    """none: as before."""
    grounded_tokens: float | None = number(None, least=0)
    """none: as before."""

    def applied(self, to: Objectives) -> Objectives:
        """The objectives with these changes."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return replace(to, **{name: value for name, value in values.items() if value is not None})


@dataclass(frozen=True, slots=True)
class ObjectiveChanges(WeightChanges):
    """What differs from ``objectives``; none does not."""

    cii: Literal["embeddings", "likelihoods"] | None = None
    """none: as before."""


def between(first: Objectives, last: Objectives, part: float) -> Objectives:
    """Weights and temperatures on the straight line between two; ``part`` 0 is the first."""
    if first == last:
        return last
    moved = {
        one.name: (1 - part) * getattr(first, one.name) + part * getattr(last, one.name)
        for one in fields(WeightChanges)
    }
    return replace(last, **moved)
