"""What training reads: turns of conversations with the passages they name, as examples."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Generic, TypeVar

from uniconv.config import DataConfig, Objectives, Source, located
from uniconv.data.beir import read_corpus
from uniconv.data.conversations import read_conversations
from uniconv.errors import DataError
from uniconv.types import Conversation, Passage, Turn

T = TypeVar("T")

_POOL = 20_000


@dataclass(frozen=True, slots=True)
class Example:
    """A turn (from 1) of a conversation; ``source`` is the number of its source.

    ``mined`` are negatives, and ``written`` is a response, that take the place of the turn's own.
    """

    conversation: Conversation
    number: int
    source: int
    mined: tuple[str, ...] | None = None
    written: str | None = None

    @property
    def turn(self) -> Turn:
        turn = self.conversation.turns[self.number - 1]
        return turn if self.written is None else replace(turn, response=self.written)

    @property
    def negatives(self) -> tuple[str, ...]:
        """The ids of passages to tell the positives from."""
        return self.turn.negatives if self.mined is None else self.mined

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
    sources: Sequence[Source],
    weights: Objectives,
    *,
    pool: int = 0,
    seed: int = 0,
    limit: int | None = None,
) -> Examples:
    """Reads sources; turns that supervise no part of the objective are left out.

    Corpora are streamed and only named passages kept, and ``pool`` further ones per source.
    ``limit`` keeps the first so many examples of all sources together.

    Raises:
        DataError: a line is malformed, a named passage is in no corpus, or no turn is of use.
    """
    sources = [located(source) for source in sources]
    examples: list[Example] = []
    passages: list[dict[str, Passage]] = []
    pools: list[list[Passage]] = []
    for number, source in enumerate(sources):
        found = list(_read_turns(source, number, weights))
        if not found:
            raise DataError(
                source.conversations[0],
                None,
                "no turn has what its source's settings learn from: a response for generation, "
                "positives for retrieval by passages",
            )
        found = _limited(found, source.limit, random.Random(f"{seed}/limit/{number}"))
        if limit is not None:
            found = found[: max(0, limit - len(examples))]
        examples += found
        named, sample = _read_passages(source, found, pool, random.Random(f"{seed}/{number}"))
        passages.append(named)
        pools.append(sample)
    return Examples(sources, examples, passages, pools)


def pool_size(data: DataConfig, weights: Objectives) -> int:
    """Passages of a source's corpora to keep as random negatives, a fair sample; 0 for none."""
    return _POOL if data.random_negatives or data.shows_others(weights) else 0


def supervises(source: Source, turn: Turn, weights: Objectives) -> dict[str, bool]:
    """Which parts of the objective a turn serves; those of weight 0 none does."""
    weights = weights.read
    passages = bool(turn.positives and source.corpora)
    responses = bool(turn.response and turn.response.strip())
    has = {"passages": passages, "responses": responses, "none": False}
    return {
        "retrieval": bool(weights.retrieval) and has[source.retrieval],
        "generation": bool(weights.generation) and has[source.generation],
        "cii": bool(weights.alpha) and source.cii and passages and responses,
        "grounded": bool(weights.gamma) and source.grounded and passages and responses,
    }


def _read_turns(source: Source, number: int, weights: Objectives) -> Iterable[Example]:
    for path in source.conversations:
        for conversation in read_conversations(path):
            for position, turn in enumerate(conversation.turns, start=1):
                if any(supervises(source, turn, weights).values()):
                    yield Example(conversation, position, number)


def _limited(found: list[Example], limit: int | None, rng: random.Random) -> list[Example]:
    """At most ``limit`` examples in their order, of whole conversations but for the last one."""
    if limit is None or len(found) <= limit:
        return found
    talks = [list(group) for _, group in groupby(found, key=lambda one: id(one.conversation))]
    kept: dict[int, list[Example]] = {}
    left = limit
    for place in rng.sample(range(len(talks)), len(talks)):
        kept[place] = talks[place][:left]
        left -= len(kept[place])
        if not left:
            break
    return [example for place in sorted(kept) for example in kept[place]]


def _read_passages(
    source: Source, examples: Sequence[Example], pool: int, rng: random.Random
) -> tuple[dict[str, Passage], list[Passage]]:
    wanted = {
        id for example in examples for id in (*example.turn.positives, *example.turn.negatives)
    }
    named: dict[str, Passage] = {}
    sample = Reservoir[Passage](pool, rng)
    for path in source.corpora:
        for passage in read_corpus(path):
            if passage.id in wanted:
                _add(named, passage, path)
            sample.add(passage)
    missing = sorted(wanted - named.keys()) if source.corpora else []
    if missing:
        problem = (
            f"turns name {len(missing)} passages that are in none of the source's corpora, first "
            f"'{missing[0]}'"
        )
        raise DataError(source.conversations[0], None, problem, field="positives, negatives")
    return named, sample.items


class Reservoir(Generic[T]):
    """A fair sample of at most ``size`` items of a stream (Vitter 1985, algorithm R)."""

    def __init__(self, size: int, rng: random.Random) -> None:
        self.items: list[T] = []
        self._size = size
        self._rng = rng
        self._seen = 0

    def add(self, item: T) -> None:
        """One more of the stream."""
        self._seen += 1
        if len(self.items) < self._size:
            self.items.append(item)
        elif self._size and (place := self._rng.randrange(self._seen)) < self._size:
            self.items[place] = item


def _add(named: dict[str, Passage], passage: Passage, path: Path) -> None:
    other = named.setdefault(passage.id, passage)
    if (other.title, other.text) != (passage.title, passage.text):
        raise DataError(path, None, f"passage '{passage.id}' has another text in another corpus")
