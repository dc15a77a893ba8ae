"""What the text of the mini recipe is made of: documents and dialogues with source and licence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from text import clean


@dataclass(frozen=True, slots=True)
class Source:
    """Where text comes from. ``domain`` is what figures are told by."""

    name: str
    domain: str
    licence: str
    commercial: bool = True


@dataclass(frozen=True, slots=True)
class Document:
    """A titled text of ``paragraphs``, or a dialogue whose ``paragraphs`` alternate.

    ``group`` names what must be held out together; ``id`` is that of a passage of the wiki corpus.
    """

    source: Source
    title: str
    paragraphs: tuple[str, ...]
    group: str
    dialogue: bool = False
    id: str = ""

    @property
    def words(self) -> int:
        """The number of words, by white space."""
        return sum(len(part.split()) for part in self.paragraphs)

    def to_json(self) -> dict[str, Any]:
        """A line of ``documents.jsonl``."""
        row: dict[str, Any] = {
            "source": self.source.name,
            "domain": self.source.domain,
            "title": self.title,
        }
        if self.id:
            row["id"] = self.id
        key, value = "text", "\n".join(self.paragraphs)
        return row | ({"turns": list(self.paragraphs)} if self.dialogue else {key: value})


def text(source: Source, title: str, paragraphs: list[str], group: str = "") -> Document:
    """A document of cleaned, non-empty paragraphs, held out by ``group`` or its title."""
    kept = tuple(part for part in map(clean, paragraphs) if part)
    return Document(source, clean(title), kept, group or title)


def dialogue(source: Source, turns: list[str], group: str) -> Document:
    """A dialogue of cleaned turns; the first is a question."""
    return Document(source, "", tuple(clean(turn) for turn in turns), group, dialogue=True)
