"""What a converted data set is made of: lengths, positives, topic shifts, answerability, depth."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from uniconv.data.beir import read_corpus
from uniconv.data.conversations import read_conversations
from uniconv.data.folder import Folder
from uniconv.data.report import Progress
from uniconv.types import UNANSWERABLE, Conversation

T = TypeVar("T")
Measure = Callable[[Sequence[str]], Iterable[int]]
"""From texts to their lengths."""

_BATCH = 1000


def words(texts: Sequence[str]) -> list[int]:
    """Lengths in words, as blanks divide them."""
    return [len(text.split()) for text in texts]


def tokens(model: str | Path) -> Measure:
    """Lengths in tokens of a model's tokenizer, special tokens not counted.

    Raises:
        ModelError: there is no such model.
    """
    from uniconv.pretrained import load_tokenizer

    tokenizer = load_tokenizer(model)

    def measure(texts: Sequence[str]) -> list[int]:
        if not texts:
            return []
        encoded = tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
        return [len(ids) for ids in encoded]

    return measure


@dataclass(slots=True)
class Distribution:
    """Numbers, 4 bytes each, and what to say of them."""

    values: array[int] = field(default_factory=lambda: array("I"))

    def summary(self) -> dict[str, float]:
        """Count, mean, median, 95th percentile and maximum; the count alone where it is 0."""
        if not self.values:
            return {"count": 0}
        numbers = np.frombuffer(self.values, np.uint32)
        return {
            "count": len(numbers),
            "mean": round(float(numbers.mean()), 2),
            "median": round(float(np.median(numbers)), 2),
            "p95": round(float(np.percentile(numbers, 95)), 2),
            "max": int(numbers.max()),
        }


@dataclass(slots=True)
class SplitStatistics:
    """Counts of a split.

    ``shifts`` are turns whose ``topic`` is another than that of the turn before, ``continued``
    those where it is the same. ``answerable`` and ``unanswerable`` count turns that are marked so.
    ``depth`` counts turns by their place in the conversation, from 1.
    """

    conversations: int = 0
    depth: Counter[int] = field(default_factory=Counter)
    lengths: dict[str, Distribution] = field(default_factory=dict)
    turns: Distribution = field(default_factory=Distribution)
    positives: Distribution = field(default_factory=Distribution)
    negatives: Distribution = field(default_factory=Distribution)
    passages: set[str] = field(default_factory=set)
    shifts: int = 0
    continued: int = 0
    answerable: int = 0
    unanswerable: int = 0

    def add(self, one: Conversation) -> None:
        """Counts all that needs no lengths."""
        self.conversations += 1
        self.turns.values.append(len(one.turns))
        for number, turn in enumerate(one.turns, start=1):
            self.depth[number] += 1
            self.positives.values.append(len(turn.positives))
            self.negatives.values.append(len(turn.negatives))
            self.passages.update(turn.positives)
            marked = turn.attributes.get("answerability")
            self.unanswerable += marked == UNANSWERABLE
            self.answerable += marked is not None and marked != UNANSWERABLE
        for before, turn in pairwise(one.turns):
            topics = before.attributes.get("topic"), turn.attributes.get("topic")
            if None not in topics:
                self.shifts += topics[0] != topics[1]
                self.continued += topics[0] == topics[1]

    def measure(self, conversations: Sequence[Conversation], measure: Measure) -> None:
        """Adds the lengths of queries, responses, rewrites, and of conversations up to a query."""
        turns = [turn for one in conversations for turn in one.turns]
        queries = list(measure([turn.query for turn in turns]))
        responses = list(measure([turn.response or "" for turn in turns]))
        rewrites = measure([turn.rewrite for turn in turns if turn.rewrite])
        self._lengths("query").extend(queries)
        answered = (turn.response is not None and bool(turn.response.strip()) for turn in turns)
        self._lengths("response").extend(
            length for length, said in zip(responses, answered, strict=True) if said
        )
        self._lengths("rewrite").extend(rewrites)
        self._lengths("conversation").extend(_contexts(conversations, queries, responses))

    def _lengths(self, kind: str) -> array[int]:
        return self.lengths.setdefault(kind, Distribution()).values

    def summary(self) -> dict[str, Any]:
        """As JSON."""
        turns = sum(self.depth.values())
        shares = {
            "topic shifts": (self.shifts, self.shifts + self.continued),
            "answerable": (self.answerable, self.answerable + self.unanswerable),
        }
        return {
            "conversations": self.conversations,
            "turns": turns,
            "turns per conversation": self.turns.summary(),
            "turns with positives": int(np.count_nonzero(self.positives.values)),
            "relevant passages": len(self.passages),
            "positives per turn": self.positives.summary(),
            "negatives per turn": self.negatives.summary(),
            "lengths": {kind: one.summary() for kind, one in self.lengths.items()},
            **{
                name: {"turns": some, "of": marked, "share": round(some / marked, 4)}
                for name, (some, marked) in shares.items()
                if marked
            },
            "turns by depth": {str(depth): self.depth[depth] for depth in sorted(self.depth)},
        }


def _contexts(
    conversations: Sequence[Conversation], queries: Sequence[int], responses: Sequence[int]
) -> Iterator[int]:
    """The length of what was said up to each query, the query included."""
    place = 0
    for one in conversations:
        said = 0
        for _ in one.turns:
            yield said + queries[place]
            said += queries[place] + responses[place]
            place += 1


def statistics(
    path: Path | str,
    *,
    corpus: Path | str | None = None,
    measure: Measure = words,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Counts and lengths of an interchange folder, or of one file of conversations.

    Args:
        path: The folder or file.
        corpus: The ``corpus.jsonl`` of its passages, where that lies elsewhere.
        measure: Gives the lengths of texts: ``words`` or ``tokens(model)``.
        progress: Is told of every thousandth record.

    Returns:
        Splits by name under ``splits``, and ``passages`` where there is a corpus.

    Raises:
        DataError: there is no such folder, or a line is malformed.
    """
    folder = Folder.open(path, corpus)
    told = progress or (lambda *_: None)
    found: dict[str, Any] = {"splits": {}}
    for name, file in folder.splits.items():
        split = SplitStatistics()
        for conversations in _batches(read_conversations(file), file.name, told):
            for one in conversations:
                split.add(one)
            split.measure(conversations, measure)
        found["splits"][name] = split.summary()
    if folder.corpus:
        lengths = Distribution()
        for passages in _batches(read_corpus(folder.corpus), folder.corpus.name, told):
            lengths.values.extend(measure([f"{one.title} {one.text}".strip() for one in passages]))
        found["passages"] = {"count": len(lengths.values), "length": lengths.summary()}
    return found


def _batches(rows: Iterable[T], name: str, progress: Progress) -> Iterator[list[T]]:
    """Rows in lists of up to a thousand, each told to ``progress``."""
    batch: list[T] = []
    done = 0
    for row in rows:
        batch.append(row)
        if len(batch) == _BATCH:
            yield batch
            done += len(batch)
            progress(name, done)
            batch = []
    if batch:
        yield batch
    progress(name, done + len(batch))
