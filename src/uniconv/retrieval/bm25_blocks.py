"""A bm25s index made in blocks on disk, so that memory doesn't grow with the words of a corpus.

bm25s itself holds all of them at once. Here the words of each block of texts are counted and
written down; when the counts of all are known, scores go block by block to their places in mapped
files. The arrays are those that bm25s makes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import bm25s
import numpy as np
import numpy.typing as npt

from uniconv.retrieval.vectors import Floats

_TEXTS = 4096
_PAIRS = 2**23  # that are scored at once, in about 0.6 GB

_Ints = npt.NDArray[np.int32]


def write_bm25(texts: Iterable[str], folder: Path, stop_words: str | None) -> None:
    """Writes the bm25s index of the texts, Lucene's variant, to ``folder``.

    ``stop_words`` is bm25s's name for a language's, or None. In memory are half a gigabyte at most,
    the vocabulary and 8 bytes a text; on disk, until it is done, three times the index.
    """
    folder.mkdir(parents=True, exist_ok=True)
    index = bm25s.BM25()
    with TemporaryDirectory(dir=folder) as scratch:
        corpus = _Corpus(Path(scratch) / "pairs", texts, stop_words)
        pointers = np.zeros(len(corpus.vocabulary) + 1, np.int64)
        np.cumsum(corpus.frequencies, out=pointers[1:])
        data = _mapped(Path(scratch) / "data", np.float32, int(pointers[-1]))
        indices = _mapped(Path(scratch) / "indices", np.int32, int(pointers[-1]))
        free = pointers[:-1].copy()  # of each word the next free place
        for texts_of, words, counts in corpus.pairs():
            scores = corpus.scores(texts_of, words, counts, index.k1, index.b)
            order = np.argsort(words, kind="stable")
            unique, starts, totals = np.unique(words[order], return_index=True, return_counts=True)
            places = np.arange(len(order)) + np.repeat(free[unique] - starts, totals)
            data[places] = scores[order]
            indices[places] = texts_of[order]
            free[unique] += totals
        index.vocab_dict = corpus.vocabulary
        index.nonoccurrence_array = None
        index.scores = {
            "data": data,
            "indices": indices,
            "indptr": pointers,
            "num_docs": len(corpus.lengths),
        }
        index.save(folder, show_progress=False)


class _Corpus:
    """The words of texts: which occur in which and how often, as int32 triples in a file."""

    def __init__(self, path: Path, texts: Iterable[str], stop_words: str | None) -> None:
        self._path = path
        self.vocabulary: dict[str, int] = {}
        lengths = [np.empty(0, np.int32)]
        stream, start = iter(texts), 0
        with path.open("wb") as file:
            while block := list(islice(stream, _TEXTS)):
                found = bm25s.tokenize(
                    block, stopwords=stop_words, return_ids=False, show_progress=False
                )
                lengths.append(np.array([len(words) for words in found], np.int32))
                self._count(found, lengths[-1], start).tofile(file)
                start += len(block)
        # bm25s can't read an index without a single word, so the empty one is always there.
        self.vocabulary.setdefault("", len(self.vocabulary))
        self.lengths: _Ints = np.concatenate(lengths)
        self.frequencies = np.zeros(len(self.vocabulary), np.int64)
        """In how many texts each word occurs."""
        for _, words, _ in self.pairs():
            self.frequencies += np.bincount(words, minlength=len(self.vocabulary))

    def _count(self, found: list[list[str]], lengths: _Ints, start: int) -> _Ints:
        """Text, word and how often, [n, 3]."""
        known = self.vocabulary
        words = np.array([known.setdefault(w, len(known)) for one in found for w in one], np.int64)
        keys = np.repeat(np.arange(len(found)), lengths) * len(known) + words
        pairs, counts = np.unique(keys, return_counts=True)
        texts, words = np.divmod(pairs, max(1, len(known)))
        return np.stack([texts + start, words, counts], axis=1).astype(np.int32)

    def pairs(self) -> Iterator[tuple[_Ints, _Ints, _Ints]]:
        """Texts, words and counts, in the order of the texts."""
        with self._path.open("rb") as file:
            while len(block := np.fromfile(file, np.int32, 3 * _PAIRS)):
                texts, words, counts = block.reshape(-1, 3).T
                yield texts, words, counts

    def scores(self, texts: _Ints, words: _Ints, counts: _Ints, k1: float, b: float) -> Floats:
        """Kamphuis et al. 2020, "Which BM25 Do You Mean?", the variant of Lucene."""
        frequencies = self.frequencies[words]
        idf = np.log(1 + (len(self.lengths) - frequencies + 0.5) / (frequencies + 0.5))
        norms = k1 * (1 - b + b * self.lengths[texts] / self.lengths.mean())
        scores: Floats = (idf.astype(np.float32) * (counts / (norms + counts))).astype(np.float32)
        return scores


def _mapped(path: Path, kind: npt.DTypeLike, size: int) -> npt.NDArray[np.generic]:
    """An array in a new file; an empty one can't be mapped."""
    return np.memmap(path, kind, "w+", shape=(size,)) if size else np.empty(0, kind)
