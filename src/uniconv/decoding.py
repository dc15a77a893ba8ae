"""From logits to tokens, and from tokens to text that can be shown while it grows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from uniconv.types import FinishReason


@dataclass(frozen=True, slots=True)
class Decoding:
    """How a response is written.

    It ends with the template's end token, before the first of the ``stop`` strings, after
    ``max_new_tokens``, or, with ``stop_loops``, once it only repeats itself. ``temperature`` 0 is
    greedy; otherwise tokens are sampled from the smallest set that holds ``top_p`` of the
    probability, reproducibly with a ``seed``.
    """

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    stop: Sequence[str] = ()
    stop_loops: bool = False
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise ValueError(f"temperature must be 0 or more, not {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, not {self.top_p}")


class Sampler:
    """Picks the next token: the likeliest at temperature 0, else by nucleus sampling.

    Nucleus sampling (Holtzman et al. 2020) keeps the smallest set of tokens whose probability
    reaches ``top_p``.
    """

    def __init__(self, decoding: Decoding, device: torch.device) -> None:
        self.temperature = decoding.temperature
        self.top_p = decoding.top_p
        self._generator = torch.Generator(device)
        if decoding.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(decoding.seed)

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
        self._given = ""
        self._shown = 0
        self.ended = False

    def push(self, token: int) -> str:
        """The text that ``token`` settles, possibly none. ``ended`` tells of a stop string."""
        self.tokens.append(token)
        return self._settled()

    def push_text(self, text: str) -> str:
        """The same for text whose tokens are not known."""
        self._given += text
        return self._settled()

    def _settled(self) -> str:
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
        return self._given + str(self._tokenizer.decode(self.tokens, skip_special_tokens=True))

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


@dataclass(slots=True)
class Told:
    """Tokens as a server counted them; None where it didn't."""

    cached_tokens: int | None = None
    completion_tokens: int | None = None


class Writer:
    """Makes a response of tokens as they come, and knows when it ends, and why.

    ``finish_reason`` is None until it ends; ``tokens`` are those of the response so far. ``told``
    is what another server counted, where one writes: see :class:`Told`.
    """

    def __init__(self, tokenizer: Any, ends: frozenset[int], decoding: Decoding) -> None:
        self._stream = TextStream(tokenizer, decoding.stop)
        self.ends = ends
        self.decoding = decoding
        self.finish_reason: FinishReason | None = None
        self.told = Told()
        if decoding.max_new_tokens < 1:
            self.finish_reason = "length"

    @property
    def tokens(self) -> Sequence[int]:
        return self._stream.tokens

    @property
    def max_new_tokens(self) -> int:
        return self.decoding.max_new_tokens

    def push(self, token: int) -> str:
        """The text that ``token`` settles, possibly none."""
        if token in self.ends:
            self.finish_reason = "stop"
            return self._stream.rest()
        piece = self._stream.push(token)
        if self._stream.ended or (self.decoding.stop_loops and is_loop(self.tokens)):
            self.finish_reason = "stop"
        elif len(self.tokens) >= self.decoding.max_new_tokens:
            self.finish_reason = "length"
        return piece + self._stream.rest() if self.finish_reason else piece

    def write(self, tokens: Iterable[int]) -> list[str]:
        """The pieces of a response whose tokens are known, up to where it ends."""
        pieces = []
        for token in tokens:
            if self.finish_reason is not None:
                break
            pieces.append(self.push(token))
        return pieces

    def push_text(self, text: str) -> str:
        """The same for text whose tokens are not known: loops and lengths can't be seen in it."""
        piece = self._stream.push_text(text)
        if self._stream.ended:
            self.finish_reason = "stop"
        return piece

    def end(self, reason: FinishReason) -> str:
        """Ends the response from outside; gives what was held back of its text."""
        self.finish_reason = reason
        return self._stream.rest()


class Generation(Iterator[str]):
    """A response while it is written: iterate for its text.

    ``prompt_tokens`` is the length of what it goes on from. :meth:`close` ends it early.
    """

    def __init__(self, pieces: Iterator[str], writer: Writer | None, prompt_tokens: int) -> None:
        self._pieces = pieces
        self._writer = writer
        self.prompt_tokens = prompt_tokens

    @classmethod
    def fixed(cls, text: str, prompt_tokens: int = 0) -> Self:
        """A text that no model wrote."""
        return cls(iter([text]), None, prompt_tokens)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        return next(self._pieces)

    def close(self) -> None:
        if hasattr(self._pieces, "close"):
            self._pieces.close()

    @property
    def completion_tokens(self) -> int:
        """How many tokens were written so far."""
        if self._writer is None:
            return 0
        return len(self._writer.tokens) or self._writer.told.completion_tokens or 0

    @property
    def cached_tokens(self) -> int | None:
        """How many of the prompt's tokens another server knew; None where none told."""
        return self._writer.told.cached_tokens if self._writer else None

    @property
    def finish_reason(self) -> FinishReason:
        """Why it ended; ``stop`` for what was ended early."""
        return (self._writer and self._writer.finish_reason) or "stop"
