"""From logits to tokens, and from tokens to text that can be shown while it grows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class Sampler:
    """Picks the next token: the likeliest at temperature 0, else by nucleus sampling.

    Nucleus sampling (Holtzman et al. 2020) keeps the smallest set of tokens whose probability
    reaches ``top_p``.
    """

    def __init__(
        self, temperature: float, top_p: float, seed: int | None, device: torch.device
    ) -> None:
        if temperature < 0:
            raise ValueError(f"temperature must be 0 or more, not {temperature}")
        if not 0 < top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, not {top_p}")
        self.temperature = temperature
        self.top_p = top_p
        self._generator = torch.Generator(device)
        if seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(seed)

    def __call__(self, logits: Tensor) -> int:
        """The next token id for ``logits`` [vocabulary]."""
        if self.temperature == 0:
            return int(logits.argmax())
        probabilities, tokens = (
            (logits.float() / self.temperature).softmax(-1).sort(descending=True)
        )
        before = probabilities.cumsum(-1) - probabilities
        probabilities[before >= self.top_p] = 0.0
        choice = torch.multinomial(probabilities, 1, generator=self._generator)
        return int(tokens[choice])


def is_loop(tokens: Sequence[int]) -> bool:
    """Whether ``tokens`` end in the same few tokens at least four times over, twelve or more.

    Small models fall into such loops under greedy decoding and don't leave them again.
    """
    for period in range(1, len(tokens) // 4 + 1):
        length = max(12, 4 * period)
        tail = tokens[-length:]
        if len(tail) == length and tail[period:] == tail[:-period]:
            return True
    return False


class TextStream:
    """Turns tokens into text as they come, without half characters and without stop strings.

    ``tokens`` are those pushed so far. Text that may turn out to be the beginning of a stop string
    is held back until it is decided.
    """

    def __init__(self, tokenizer: Any, stop: Sequence[str] = ()) -> None:
        self._tokenizer = tokenizer
        self._stop = [text for text in stop if text]
        self.tokens: list[int] = []
        self._shown = 0
        self.ended = False

    def push(self, token: int) -> str:
        """The text that ``token`` settles, possibly none. ``ended`` tells of a stop string."""
        self.tokens.append(token)
        text = self._text()
        for stop in self._stop:
            end = text.find(stop)
            if end >= 0:
                text, self.ended = text[:end], True
        if not self.ended:
            text = text[: len(text) - self._undecided(text)]
        return self._advance(text)

    def rest(self) -> str:
        """What was held back, once no token follows."""
        return "" if self.ended else self._advance(self._text())

    def _text(self) -> str:
        return str(self._tokenizer.decode(self.tokens, skip_special_tokens=True))

    def _undecided(self, text: str) -> int:
        """How many characters at the end of ``text`` may still change or begin a stop string."""
        whole = text.rstrip("\ufffd")  # what is left of a character whose bytes are not all there
        longest = max((len(stop) - 1 for stop in self._stop), default=0)
        for length in range(min(longest, len(whole)), 0, -1):
            if any(stop.startswith(whole[-length:]) for stop in self._stop):
                return len(text) - len(whole) + length
        return len(text) - len(whole)

    def _advance(self, text: str) -> str:
        new = text[self._shown :]
        self._shown = max(self._shown, len(text))
        return new
