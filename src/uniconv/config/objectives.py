"""The weights of the joint objective, and how a stage changes them."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from uniconv.config.ranges import number


@dataclass(frozen=True, slots=True)
class Objectives:
    """Weights of ``L = L_R + L_G + alpha * L_CII + gamma * L_GG``; a part of weight 0 is free."""

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

    @property
    def weights(self) -> tuple[float, float, float, float]:
        """Of retrieval, generation, context identification and grounded generation."""
        return self.retrieval, self.generation, self.alpha, self.gamma


@dataclass(frozen=True, slots=True)
class ObjectiveChanges:
    """What differs from ``objectives``; what is none does not."""

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

    def applied(self, to: Objectives) -> Objectives:
        """The objectives with these changes."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return replace(to, **{name: value for name, value in values.items() if value is not None})


def between(first: Objectives, last: Objectives, part: float) -> Objectives:
    """Weights and temperature on the straight line between two; ``part`` 0 is the first."""
    if first == last:
        return last
    names = [one.name for one in fields(ObjectiveChanges)]
    moved = {name: (1 - part) * getattr(first, name) + part * getattr(last, name) for name in names}
    return replace(last, **moved)
