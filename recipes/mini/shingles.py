"""Runs of words as numbers: near-duplicates, and evaluation dialogues that must not be in a text.

A text is its words in lower case, each as a hash; a shingle is the hash of ``n`` of them in a row.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
_WORD = re.compile(rb"[a-z0-9_\x80-\xff]+")  # bytes: far faster, and letters beyond ASCII are whole
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


def words(text: str) -> Hashes:
    """The hashes of the words that count: in lower case, without punctuation."""
    found = _WORD.findall(text.lower().encode())
    return np.fromiter(map(zlib.crc32, found), np.uint64, len(found))


def shingles(said: Hashes, n: int) -> Hashes:
    """The hashes of all runs of ``n`` words, uint64 [max(0, len(said) - n + 1)]."""
    if len(said) < n:
        return np.zeros(0, np.uint64)
    count = len(said) - n + 1
    total = said[:count].copy()
    for offset in range(1, n):  # a polynomial, modulo 2^64
        total *= _FACTOR
        total += said[offset : offset + count]
    total ^= total >> np.uint64(31)
    total *= _FACTOR
    return total ^ (total >> np.uint64(29))


class Duplicates:
    """Tells whether most of a text has been seen before, in whatever pieces.

    Of long texts a fixed quarter of the shingles is looked at, of short ones all. Shingles are
    marked in a table of 2^``bits`` places, so that now and then a new one seems known; the
    threshold is far above that.
    """

    LENGTH = 5
    THRESHOLD = 0.7

    def __init__(self, bits: int = 28) -> None:
        self._shift = np.uint64(64 - bits)
        self._seen = np.zeros(1 << bits, bool)

    def add(self, said: Hashes) -> bool:
        """Whether a text is a near-duplicate by its words; if not, it is remembered."""
        found = shingles(said, min(self.LENGTH, max(1, len(said))))
        sampled = found[found & np.uint64(3) == 0]
        places = (sampled if len(sampled) >= 8 else found) >> self._shift
        if len(places) and self._seen[places].mean() >= self.THRESHOLD:
            return True
        self._seen[(found if len(said) < 64 else sampled) >> self._shift] = True
        return False


class Dialogues:
    """Evaluation dialogues, known by runs of ``LENGTH`` words.

    Known are a question's beginning, and, where a question is short, its end together with the
    beginning of the answer. Answers alone aren't, because they quote the passages of the corpus.
    """

    LENGTH = 8

    def __init__(self, dialogues: Iterable[Sequence[str]]) -> None:
        probes = []
        for turns in dialogues:
            for number, turn in enumerate(turns):
                said = words(turn)
                if number % 2 == 0 and len(said) >= self.LENGTH:
                    probes.append(said[: self.LENGTH])
                    probes.append(said[-self.LENGTH :])
                elif number + 1 < len(turns):
                    joint = np.concatenate([said[-self.LENGTH // 2 :], words(turns[number + 1])])
                    probes.append(joint[: self.LENGTH])
        found = [shingles(probe, self.LENGTH) for probe in probes]
        self._probes = np.unique(np.concatenate([np.zeros(0, np.uint64), *found]))

    def __len__(self) -> int:
        return len(self._probes)

    def within(self, said: Hashes) -> int | None:
        """The place of the first run of words of a dialogue among ``said``, or None."""
        found = shingles(said, self.LENGTH)
        if not len(found) or not len(self._probes):
            return None
        places = np.searchsorted(self._probes, found) % len(self._probes)
        hits = np.flatnonzero(self._probes[places] == found)
        return int(hits[0]) if len(hits) else None
