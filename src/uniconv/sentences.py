"""Where the sentences of a text end, and which words two of them share."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

# A sentence ends with its closing quotes and its citation marks; a mark may follow the full stop.
_SENTENCE_END = re.compile(
    r"(?<=[.!?。！？])[\"'”’)\]]*(?:\s*\[\d{1,3}(?:\s*,\s*\d{1,3})*\])*(?=\s+[^\sa-z]|\s*\n|$)"
    r"|(?<=[。！？])|\n+"
)
_ABBREVIATION = re.compile(r"\b(?:[A-Z]|Mr|Mrs|Ms|Dr|Prof|St|vs|e\.g|i\.e|etc|No|approx)\.$")
_LONGEST_ABBREVIATION = 10
_WORD = re.compile(r"\w+")


def sentences(text: str) -> list[str]:
    """The sentences of a text, each with the citation marks that follow it.

    A full stop ends one before a blank and anything but a small letter, except after common
    abbreviations and initials.
    """
    found, start = [], 0
    for end in _SENTENCE_END.finditer(text):
        tail = text[max(start, end.end() - _LONGEST_ABBREVIATION) : end.end()]
        if _ABBREVIATION.search(tail) and end.end() < len(text):
            continue
        if piece := text[start : end.end()].strip():
            found.append(piece)
        start = end.end()
    rest = text[start:].strip()
    return [*found, rest] if rest else found


def shared_words(one: str, other: str) -> float:
    """The F-measure of the words that two texts share, counted with repetitions, from 0 to 1."""
    return f_measure(_WORD.findall(one.lower()), _WORD.findall(other.lower()))


def f_measure(words: Sequence[str], others: Sequence[str]) -> float:
    """The harmonic mean of precision and recall of words, counted with repetitions; 0 for none."""
    shared = (Counter(words) & Counter(others)).total()
    return 2 * shared / (len(words) + len(others)) if shared else 0.0
