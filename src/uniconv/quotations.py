"""Responses of whole sentences of the passages, each with its mark: decoding held to quotations.

The LM chooses among the sentences token by token, as their text goes on. What it can't do is say
something that no passage does, splice sentences, or mark the wrong passage.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from uniconv.citations import without_marks
from uniconv.sentences import sentences
from uniconv.templates import Template
from uniconv.types import Passage

_MARK = "[1]"


@dataclass(frozen=True, slots=True)
class _Quotation:
    """A sentence, and as it is written: with its mark."""

    sentence: str
    text: str


class Quotations:
    """Which tokens may follow what was written; no sentence is written twice.

    As :class:`uniconv.engine.drafts.PromptLookup` it guesses what comes, and is never wrong.
    Sentences that don't fit in ``longest`` tokens are left out, as long as others do.
    """

    def __init__(self, template: Template, passages: Sequence[Passage], longest: int) -> None:
        self._template = template
        self._ends = sorted(template.stop)
        self._room = longest
        self._left = [
            _Quotation(sentence, f"{sentence} [{number}]")
            for number, passage in enumerate(passages, start=1)
            for sentence in quotable(passage.text)
        ]
        first = [(one, template.content(one.text)) for one in self._left]
        self._begun = [(one, tokens) for one, tokens in first if len(tokens) <= longest] or first
        """Quotations that what was written since the last one may become, and their rests."""
        self._may_end = not self._begun

    @property
    def allowed(self) -> Sequence[int]:
        """The tokens that may follow, in ascending order; at least one."""
        following = {rest[0] for _, rest in self._begun}
        return sorted(following.union(self._ends) if self._may_end else following)

    def push(self, token: int) -> None:
        """Takes note of the next token, one of those allowed."""
        self._room -= 1
        self._begun = [(one, rest[1:]) for one, rest in self._begun if rest[0] == token]
        whole = {one.sentence for one, rest in self._begun if not rest}
        self._may_end = bool(whole)
        if whole:
            self._left = [one for one in self._left if one.sentence not in whole]
            self._begun = self._later()

    def guess(self, written: Sequence[int], most: int) -> list[int]:
        """The tokens, ``most`` at most, that follow whatever the LM prefers."""
        del written  # all of it was pushed
        found: list[int] = []
        rests: Collection[Sequence[int]] = [] if self._may_end else [r for _, r in self._begun]
        while rests and all(rests) and len(found) < most:
            choices = {rest[0] for rest in rests}
            if len(choices) > 1:
                break
            found += choices
            rests = [rest[1:] for rest in rests]
        return found

    def learn(self, guessed: int, right: int) -> None:
        """Nothing: guesses are what is allowed."""

    def _later(self) -> list[tuple[_Quotation, list[int]]]:
        """What is left and fits, as it is written after another quotation."""
        # Tokenisers write a blank before a word in ways of their own, so it is read off a text.
        before = self._template.content(_MARK)
        found = []
        for one in self._left:
            tokens = self._template.content(f"{_MARK} {one.text}")
            joined = tokens[: len(before)] == before
            tokens = tokens[len(before) :] if joined else self._template.content(one.text)
            if len(tokens) <= self._room:
                found.append((one, tokens))
        return found


def quotable(text: str) -> Iterator[str]:
    """A text's sentences that have words, without marks at their ends.

    One with a mark inside would be read as citing.
    """
    for sentence in sentences(text):
        bare = without_marks(sentence).strip()
        if any(map(str.isalnum, bare)) and sentence.startswith(bare):
            yield bare
