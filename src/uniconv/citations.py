"""Citation marks such as [2] or [1, 3] in the text of answers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

from uniconv.sentences import sentences

# Only from the first of several blanks on, or a long run of them would take quadratic time.
_MARKS = re.compile(r"(?<!\s)\s*\[(\d{1,3}(?:\s*,\s*\d{1,3})*)\]")
_RULE = " |:+=-"  # what stands below a heading, or below the head of a table
_BEGUN_MARK = re.compile(r"\s*(\[[\[\d\s,]*)?$")


def marked_numbers(text: str) -> list[int]:
    """The numbers that the marks of ``text`` name, in ascending order, each once."""
    return sorted({number for match in _MARKS.finditer(text) for number in _numbers(match)})


def without_marks(text: str) -> str:
    """A response without its citation marks, which references don't have."""
    return _MARKS.sub("", text)


class Marks:
    """Removes citation marks that point nowhere from text that comes in pieces."""

    def __init__(self, passages: int) -> None:
        self._passages = passages
        self._held = ""

    def clean(self, pieces: Iterable[str]) -> Iterator[str]:
        for piece in pieces:
            yield self._push(piece)
        yield self._held

    def _push(self, piece: str) -> str:
        text = self._held + piece
        # Again until nothing changes: removing a mark can make another, as in [[9]7].
        while (cleaned := _MARKS.sub(self._keep, text)) != text:
            text = cleaned
        begun = _BEGUN_MARK.search(text)
        cut = begun.start() if begun else len(text)
        self._held = text[cut:]
        return text[:cut]

    def _keep(self, match: re.Match[str]) -> str:
        marks = "".join(f"[{n}]" for n in _numbers(match) if 1 <= n <= self._passages)
        space = match.group()[: match.group().index("[")]
        return space + marks if marks else ""


def _numbers(match: re.Match[str]) -> list[int]:
    return [int(number) for number in match.group(1).split(",")]


def quotable(text: str) -> Iterator[str]:
    """A text's sentences that can answer something, without marks at their ends.

    Not questions, nor headings and heads of tables, nor what has no words. One with a mark inside
    would be read as citing.
    """
    for sentence, below in pairwise([*sentences(text), ""]):
        bare = without_marks(sentence).strip()
        ruled = below and not below.strip(_RULE)
        heads = bare.startswith("#") or (ruled and not bare.endswith("."))
        asks = bare.endswith(("?", "？"))
        if any(map(str.isalnum, bare)) and not heads and not asks and sentence.startswith(bare):
            yield bare
