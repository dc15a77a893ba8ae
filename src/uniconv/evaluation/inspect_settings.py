"""What an inspection is told; nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from uniconv.errors import ConfigError


@dataclass(frozen=True, slots=True)
class InspectSettings:
    """What the page shows."""

    results: Positional[tuple[Path, ...]]
    """The folder of a retrieval result, of a part of a response result, or of both."""
    out: Path
    """The page, such as page.html."""
    conversations: Path | None = None
    """The conversations, if they are no longer where the result was made from."""
    corpus: Path | None = None
    """A corpus.jsonl with the passages' texts, in place of the result's own."""
    index: Path | None = None
    """An index folder with the passages' texts, in place of the result's own."""
    last_question: Path | None = None
    """A retrieval result of the last questions alone (--retriever bm25 --query last), which tells
    the turns that need their history."""
    top: int = 10
    """A relevant passage counts as retrieved up to this rank."""
    f1: float = 0.3
    """An answer passes from this token F1 on."""
    passages: int = 10
    """How many relevant and how many retrieved passages are shown for a turn."""
    characters: int = 1500
    """How much of a passage is shown."""

    def __post_init__(self) -> None:
        if self.corpus is not None and self.index is not None:
            raise ConfigError("give a corpus or an index for the passages' texts, not both")
        if min(self.top, self.passages, self.characters) < 1:
            raise ConfigError("top, passages and characters must be 1 or more")
