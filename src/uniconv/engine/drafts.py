"""Guessing the next tokens of an answer by copying from what it is written from.

Grounded answers repeat their passages. So where the last tokens written occur in the prompt, what
follows there is a good guess (prompt-lookup decoding, Saxena 2023; copying as speculation is Yang
et al. 2023, "Inference with Reference"). The LM reads the guess in one pass and keeps what it would
have written itself, so the answer doesn't change.
"""

from __future__ import annotations

from collections.abc import Sequence

_NGRAM = 3
_LONGEST = 16


class PromptLookup:
    """Guesses from a prompt, longer ones the better they turn out."""

    def __init__(self, prompt: Sequence[int]) -> None:
        self._prompt = prompt
        self._length = 4
        self._after: dict[tuple[int, ...], int] = {}
        for end in range(_NGRAM, len(prompt)):
            self._after[tuple(prompt[end - _NGRAM : end])] = end

    def guess(self, written: Sequence[int], most: int) -> list[int]:
        """At most ``most`` tokens that may follow."""
        end = self._after.get(tuple(written[-_NGRAM:]))
        if end is None:
            return []
        return list(self._prompt[end : end + min(most, self._length)])

    def learn(self, guessed: int, right: int) -> None:
        """Takes note of how many tokens of a guess were right."""
        if guessed and right == guessed:
            self._length = min(2 * self._length, _LONGEST)
        elif 2 * right < guessed:
            self._length = max(1, self._length // 2)
