"""Sequences made of packed tokens: passages, queries, conversations, prompts with passages.

They are exactly what ``uniconv.templates`` makes of the same texts, because the tokenizer cuts
text at white space.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerBase

Ids = npt.NDArray[np.uint16]

PROSE, TALK, QUERY, GROUNDED = range(4)
KINDS = ("text", "dialogue", "query", "grounded")
"""What a sequence's next-token loss is reported as."""


class Piece(NamedTuple):
    """A sequence. Tokens ``first`` to ``last`` - 1 are predicted; the last one may be a marker."""

    ids: Ids
    first: int
    last: int
    kind: int
    marked: bool = False


@dataclass(frozen=True, slots=True)
class Pair:
    """Two pieces that end with the marker and belong together, and the teacher's view of them.

    ``group`` numbers what is no negative; targets are codes [96] or None.
    """

    query: Piece
    passage: Piece
    group: int
    query_target: npt.NDArray[np.uint8] | None = None
    passage_target: npt.NDArray[np.uint8] | None = None


class Vocabulary:
    """What pretraining needs to know about tokens; read from the tokenizer once."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        names = ("<|start|>", "<|user|>", "<|assistant|>", "<|end|>", "<|passage|>", "<|embed|>")
        ids = [int(tokenizer.convert_tokens_to_ids(name)) for name in names]
        self.size = len(tokenizer)
        self.marker = ids[-1]
        self.start, self.user, self.assistant, self.end, self.passage, self.embed = (
            np.array([token], np.uint16) for token in ids
        )
        self.marks = [
            np.array(tokenizer(f"[{number}]", add_special_tokens=False)["input_ids"], np.uint16)
            for number in range(10)
        ]
        strings = tokenizer.convert_ids_to_tokens(list(range(self.size)))
        self.first_plain = len(ids) + 1
        self.line_end = int(tokenizer.convert_tokens_to_ids("Ċ"))
        # In byte-level BPE "Ġ" is a space and "Ċ" the end of a line.
        self.begins_word = np.array([text.startswith("Ġ") for text in strings])
        self.ends_sentence = np.array(
            [text in {".", "!", "?", "Ċ", '."', ".)"} for text in strings]
        )
        letters = [text.lstrip("Ġ") for text in strings]
        self.wordlike = np.array([text.isalnum() for text in letters])
        self.capital = np.array([text[:1].isupper() or not text[:1].isalpha() for text in letters])

    def passage_piece(self, tokens: Ids, room: int = 384) -> Piece:
        """A passage and the marker; all its tokens are predicted."""
        ids = np.concatenate([self.start, self.passage, tokens[: room - 4], self.end, self.embed])
        return Piece(ids, 2, len(ids) - 1, PROSE, marked=True)

    def text_piece(self, tokens: Ids) -> Piece:
        """A long text: no marker, because no index embeds so much at once."""
        ids = np.concatenate([self.start, self.passage, tokens])
        return Piece(ids, 2, len(ids), PROSE)

    def query_piece(self, turns: Sequence[Ids]) -> Piece:
        """A conversation that ends with a question, and the marker."""
        return self.framed_query(self.conversation(turns))

    def framed_query(self, conversation: Ids) -> Piece:
        """The same of a conversation that is in its frame already."""
        ids = np.concatenate([conversation, self.embed])
        return Piece(ids, 2, len(ids) - 1, QUERY, marked=True)

    def conversation(self, turns: Sequence[Ids]) -> Ids:
        """Turns in their frame."""
        parts: list[Ids] = [self.start]
        for number, turn in enumerate(turns):
            parts += [self.assistant if number % 2 else self.user, turn, self.end]
        return np.concatenate(parts)

    def grounded(self, conversation: Ids, passages: Sequence[Ids], answer: Ids, at: int) -> Piece:
        """A conversation, numbered passages, and the answer from number ``at``, which it cites."""
        parts: list[Ids] = [conversation]
        for number, passage in enumerate(passages, start=1):
            parts += [self.passage, self.marks[number], passage, self.end]
        parts.append(self.assistant)
        length = sum(map(len, parts))
        parts += [answer, self.marks[at], self.end]
        ids = np.concatenate(parts)
        return Piece(ids, length, len(ids), GROUNDED)

    def sentences(self, tokens: Ids) -> list[tuple[int, int]]:
        """Where the sentences of ``tokens`` begin and end, those of at least four tokens."""
        ends = np.flatnonzero(self.ends_sentence[tokens]) + 1
        inner = ends[ends < len(tokens)]
        # A sentence begins with a capital, a number or a sign, and a space before it.
        following = tokens[inner]
        begins = inner[self.begins_word[following] & self.capital[following]]
        bounds = np.concatenate([[0], begins, [len(tokens)]])
        found = [(int(a), self._stripped(tokens, int(a), int(b))) for a, b in pairwise(bounds)]
        return [(a, b) for a, b in found if b - a >= 4]

    def _stripped(self, tokens: Ids, start: int, end: int) -> int:
        """The end of a stretch without the ends of lines that close it."""
        while end > start and tokens[end - 1] == self.line_end:
            end -= 1
        return end

    def keywords(self, tokens: Ids, most: int, rng: Any) -> Ids:
        """Up to ``most`` words of ``tokens`` in their order, rare ones rather than common ones."""
        starts = np.flatnonzero(self.begins_word[tokens])
        # Tokens were learned from the most common word on.
        rare = starts[self.wordlike[tokens[starts]] & (tokens[starts] > 700)]
        pool = rare if len(rare) else starts
        if not len(pool):
            return tokens[:most]
        chosen = np.sort(rng.choice(pool, min(most, len(pool)), replace=False))
        words = []
        for start in chosen:
            end = start + 1
            while end < len(tokens) and end - start < 6 and self._continues(tokens[end]):
                end += 1
            words.append(tokens[start:end])
        return np.concatenate(words)

    def _continues(self, token: np.uint16) -> bool:
        return bool(self.wordlike[token] and not self.begins_word[token])
