"""What a study is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True)
class OverfitConfig:
    """What to learn, and how hard to try."""

    model: str
    """A folder or hub id of a causal LM, or a UniConv checkpoint."""
    conversations: Path | None = None
    """none: conversations as JSONL; without them a built-in turn is learned."""
    corpora: tuple[Path, ...] = ()
    """(): the passages to rank, files ``corpus.jsonl``."""
    query_id: str | None = None
    """none: the turn, as ``conversation_turn``; the first with a positive and a response."""
    distractors: int = 100
    """100: the most passages to rank the turn's own among."""
    method: Literal["lora", "full"] = "lora"
    """lora: what is trained; full for small models."""
    learning_rate: float = 1e-3
    """1e-3: high, since nothing is to be kept."""
    steps: int = 200
    """200: steps after which to give up."""
    seed: int = 0
    """0: of the adapter's start and the choice of distractors."""
