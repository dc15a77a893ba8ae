"""Text tools that the stages of the mini recipe share: sentences, overlap, held-out groups."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from uniconv.files import atomic

_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[A-Z0-9\"'(])")
_ABBREVIATION = re.compile(r"(\b[A-Z]|\b(Mr|Mrs|Ms|Dr|St|Jr|Sr|vs|No|Inc|Ltd|Co|e\.g|i\.e|etc))\.$")
_WORD = re.compile(r"\w+")
STOP_WORDS = frozenset(
    """
    a about after all also an and any are as at be been before being but by can could did do does
    during for from had has have he her him his how i if in into is it its may me more most my no
    not of on one or other our out over she should so some such than that the their them then
    there these they this those through to under up was we were what when where which while who
    whom whose why will with would you your
    """.split()  # noqa: SIM905
)


def clean(text: str) -> str:
    """Text without tokenised spacing (``born in 1901 , in`` and the like) and without mark-up."""
    text = re.sub(r"\s*''", '"', re.sub(r"``\s*", '"', text)).replace("\u00a0", " ")
    text = re.sub(r"<[^<>]{1,60}>", " ", text)
    text = re.sub(r" (?=[,.;:!?%)\]])|(?<=[(\[]) ", "", text)
    text = re.sub(r" ' ?s\b|(?<=\w) 's\b", "'s", text)
    text = re.sub(r"(?<=\w) -- (?=\w)", " - ", re.sub(r"(?<=\w) - (?=\w)", "-", text))
    return re.sub(r"\s+", " ", text).strip()


def sentences(text: str) -> list[str]:
    """The sentences of ``text``; none ends at an initial or a common abbreviation."""
    found: list[str] = []
    for piece in _END.split(text):
        if found and _ABBREVIATION.search(found[-1]):
            found[-1] = f"{found[-1]} {piece}"
        else:
            found.append(piece)
    return [sentence.strip() for sentence in found if sentence.strip()]


def content_words(text: str) -> list[str]:
    """Words that carry meaning, in lower case and in order."""
    return [word for word in _WORD.findall(text.lower()) if word not in STOP_WORDS]


def overlap(part: str, whole: str) -> float:
    """The share of ``part``'s content words that occur in ``whole``."""
    words = content_words(part)
    known = set(content_words(whole))
    return sum(word in known for word in words) / max(1, len(words))


def held_out(group: str, share: float = 0.02) -> bool:
    """Whether everything of ``group`` (a title, a conversation) is kept out of training."""
    return int(hashlib.sha256(group.encode()).hexdigest()[:8], 16) < share * 2**32


def read_lines(path: Path) -> Iterator[Any]:
    """The JSON values of a file with one on each line."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def write_lines(path: Path, rows: Iterable[Any]) -> int:
    """Writes a JSON value a line, atomically; returns how many."""
    count = 0
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count
