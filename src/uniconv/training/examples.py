"""What training reads: turns of conversations with the passages they name, as examples."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from uniconv.config import Source
from uniconv.data.beir import read_corpus
from uniconv.data.conversations import read_conversations
from uniconv.errors import DataError
from uniconv.types import Conversation, Passage, Turn

POOL = 20_000
"""Passages of a source's corpora that are kept as random negatives, a fair sample."""


@dataclass(frozen=True, slots=True)
class Example:
    """A turn (from 1) of a conversation; ``source`` is the number of its source."""

    conversation: Conversation
    number: int
    source: int

    @property
    def turn(self) -> Turn:
        return self.conversation.turns[self.number - 1]

    @property
    def context(self) -> Conversation:
        """``C_n``: the conversation up to the question of this turn."""
        return self.conversation.context(self.number)


@dataclass(frozen=True, slots=True)
class Examples:
    """The examples of all sources, with the passages that they name.

    ``passages[s]`` maps ids to passages of source ``s``: those that its turns name and no others.
    ``pools[s]`` is a sample of its corpora for random negatives, empty where none are wanted.
    """

    sources: Sequence[Source]
    examples: Sequence[Example]
    passages: Sequence[dict[str, Passage]]
    pools: Sequence[Sequence[Passage]]

    def __len__(self) -> int:
        return len(self.examples)

    def by_source(self) -> list[list[int]]:
        """The positions of each source's examples."""
        positions: list[list[int]] = [[] for _ in self.sources]
        for position, example in enumerate(self.examples):
            positions[example.source].append(position)
        return positions

    def digest(self) -> str:
        """A checksum of the turns, by which a resumed run knows its data again."""
        digest = hashlib.sha256()
        for example in self.examples:
            digest.update(f"{example.source}/{example.number}/{example.turn!r}\n".encode())
        return digest.hexdigest()[:16]


def read_examples(
    sources: Sequence[Source], *, pool: int = 0, seed: int = 0, limit: int | None = None
) -> Examples:
    """Reads sources; turns that supervise nothing are left out.

    Corpora are streamed and only named passages kept, and ``pool`` further ones per source.
    ``limit`` keeps the first so many examples.

    Raises:
        DataError: a line is malformed, a named passage is in no corpus, or no turn is of use.
    """
    examples: list[Example] = []
    passages: list[dict[str, Passage]] = []
    pools: list[list[Passage]] = []
    for number, source in enumerate(sources):
        found = list(_read_turns(source, number))
        if not found:
            raise DataError(
                source.conversations,
                None,
                "no turn has what its source's settings learn from: a response for generation, "
                "positives for retrieval by passages",
            )
        if limit is not None:
            found = found[: max(0, limit - len(examples))]
        examples += found
        named, sample = _read_passages(source, found, pool, random.Random(f"{seed}/{number}"))
        passages.append(named)
        pools.append(sample)
    return Examples(sources, examples, passages, pools)


def _read_turns(source: Source, number: int) -> Iterable[Example]:
    for conversation in read_conversations(source.conversations):
        for position, turn in enumerate(conversation.turns, start=1):
            supervision = {
                "passages": bool(turn.positives and source.corpora),
                "responses": bool(turn.response and turn.response.strip()),
                "none": False,
            }
            grounded = source.grounded and supervision["passages"] and supervision["responses"]
            if supervision[source.retrieval] or supervision[source.generation] or grounded:
                yield Example(conversation, position, number)


def _read_passages(
    source: Source, examples: Sequence[Example], pool: int, rng: random.Random
) -> tuple[dict[str, Passage], list[Passage]]:
    wanted = {
        id for example in examples for id in (*example.turn.positives, *example.turn.negatives)
    }
    named: dict[str, Passage] = {}
    sample: list[Passage] = []
    seen = 0
    for path in source.corpora:
        for passage in read_corpus(path):
            if passage.id in wanted:
                _add(named, passage, path)
            if pool:  # reservoir sampling (Vitter 1985, algorithm R): every passage equally likely
                seen += 1
                if len(sample) < pool:
                    sample.append(passage)
                elif (place := rng.randrange(seen)) < pool:
                    sample[place] = passage
    missing = sorted(wanted - named.keys()) if source.corpora else []
    if missing:
        problem = (
            f"turns name {len(missing)} passages that are in none of the source's corpora, first "
            f"'{missing[0]}'"
        )
        raise DataError(source.conversations, None, problem, field="positives, negatives")
    return named, sample


def _add(named: dict[str, Passage], passage: Passage, path: Path) -> None:
    other = named.setdefault(passage.id, passage)
    if (other.title, other.text) != (passage.title, passage.text):
        raise DataError(path, None, f"passage '{passage.id}' has another text in another corpus")
