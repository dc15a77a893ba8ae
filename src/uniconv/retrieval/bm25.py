"""Sparse retrieval: bm25s with the stop words of a language, memory-mapped."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import bm25s
import numpy as np
from bm25s.tokenization import Tokenizer

from uniconv.errors import ConfigError
from uniconv.retrieval.bm25_blocks import write_bm25
from uniconv.retrieval.vectors import Floats, Rows
from uniconv.types import Passage

logging.getLogger("bm25s").setLevel(logging.INFO)  # it sets itself to tell of every index it builds


def stop_words(language: str | None) -> list[str]:
    """The words of a language that don't count."""
    return sorted(Tokenizer(stopwords=language).stopwords)


def check_language(language: str | None) -> None:
    """Raises a ConfigError where bm25s has no stop words for a language."""
    try:
        bm25s.tokenize([], stopwords=language, show_progress=False)
    except ValueError as error:
        raise ConfigError(
            f"there are no stop words for the language '{language}'; name another "
            "(english, german, french, …) or none"
        ) from error


class BM25:
    """BM25 with Lucene's idf, k1 = 1.5 and b = 0.75 (bm25s's defaults), without stemming.

    ``language`` names the stop words; None keeps every word.
    """

    def __init__(self, index: bm25s.BM25, language: str | None) -> None:
        self._index = index
        self._language = language

    def __len__(self) -> int:
        return int(self._index.scores["num_docs"])

    def search(
        self, texts: Sequence[str], k: int, among: Rows | None = None
    ) -> list[tuple[Floats, Rows]]:
        """Scores and rows of at most ``k`` passages for each text, best first.

        Passages that share no word with the text are never among them, nor others than those of
        the rows ``among``, where they are given.
        """
        if not texts:
            return []
        weights = None
        if among is not None:
            weights = np.zeros(len(self), np.float32)
            weights[among] = 1
        rows, scores = self._index.retrieve(
            self._words(texts), k=min(k, len(self)), show_progress=False, weight_mask=weights
        )
        return [
            (score[score > 0], row[score > 0].astype(np.int64))
            for score, row in zip(scores, rows, strict=True)
        ]

    def scores(self, text: str, rows: Sequence[int]) -> Floats:
        """The scores of some passages for a text, float32 [len(rows)], by scoring all of them."""
        (words,) = self._words([text])
        if not words:
            return np.zeros(len(rows), np.float32)
        return np.asarray(self._index.get_scores(words)[list(rows)], np.float32)

    def _words(self, texts: Sequence[str]) -> list[list[str]]:
        return _words(texts, self._language)

    @classmethod
    def build(cls, texts: Iterable[str], folder: Path, language: str | None = "english") -> BM25:
        """Indexes the texts in their order, writes the index to ``folder`` and opens it.

        Memory is bounded (bm25_blocks.py).
        """
        write_bm25(texts, folder, language)
        return cls.load(folder, language)

    @classmethod
    def load(cls, folder: Path, language: str | None) -> BM25:
        """Opens what ``build`` wrote; only the vocabulary is read into memory."""
        return cls(bm25s.BM25.load(folder, mmap=True, show_progress=False), language)


def score_texts(query: str, texts: Sequence[str]) -> Floats:
    """The scores of a few texts that are in no index, float32 [len(texts)].

    No language's stop words are left out: among few texts they are as frequent as in many.
    """
    words = _words(texts, None)
    if not any(words):
        return np.zeros(len(texts), np.float32)
    index = bm25s.BM25()
    index.index(words, show_progress=False)
    return BM25(index, None).scores(query, range(len(texts)))


def _words(texts: Sequence[str], language: str | None) -> list[list[str]]:
    words: list[list[str]] = bm25s.tokenize(
        list(texts), stopwords=language, return_ids=False, show_progress=False
    )
    return words


def passage_text(passage: Passage) -> str:
    """What a passage is found by: its title and its text."""
    return f"{passage.title} {passage.text}"
