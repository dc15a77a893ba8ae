"""The training mixture: batches of pairs to embed and of sequences to continue, drawn by step.

A batch depends on the seed and the step alone, so that a resumed run sees what an uninterrupted
one would have seen.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from text import content_words, read_lines, sentences
from torch import Tensor

from uniconv.templates import Limits, Template
from uniconv.types import Conversation, Passage, Turn

Row = dict[str, Any]
_POOL = 4  # steps whose sequences are drawn together and sorted by length
_ASK = ("{} {}", "what about {1} in {0}?", "tell me about {0} and {1}", "{0}: {1}?", "{1} {0}")
_FOLLOW = ("{}?", "what about {}?", "and {}?", "tell me more about {}", "how about {}")


@dataclass(frozen=True, slots=True)
class Pairs:
    """Queries and passages that belong together; rows of equal ``groups`` are no negatives.

    ``query_targets`` and ``passage_targets`` are the teacher's embeddings [n, d], rows of zeros
    where there are none.
    """

    queries: list[list[int]]
    passages: list[list[int]]
    groups: list[str]
    query_targets: Tensor
    passage_targets: Tensor


@dataclass(frozen=True, slots=True)
class Sequences:
    """Right-padded token ids [n, length]; ``labels`` are those of them to be predicted, or -100."""

    ids: Tensor
    labels: Tensor


def conversation(turns: Sequence[str]) -> Conversation:
    """Alternating questions and responses that end with a question."""
    pairs = zip(turns[:-1:2], turns[1::2], strict=True)
    return Conversation("c", (*(Turn(q, r) for q, r in pairs), Turn(turns[-1])))


def pad(sequences: Sequence[Sequence[int]], value: int = 0) -> Tensor:
    """Right-padded ids [n, length]."""
    width = max(len(sequence) for sequence in sequences)
    return torch.tensor([[*s, *[value] * (width - len(s))] for s in sequences])


class Mixture:
    """Draws batches from what the earlier stages wrote to a folder."""

    def __init__(
        self,
        examples: Sequence[Row],
        passages: Sequence[Row],
        template: Template,
        teacher: Mapping[str, np.ndarray],
        dimension: int,
        seed: int = 0,
    ) -> None:
        self.template = template
        self.short = Template(
            template.tokenizer, template.frame, Limits(conversation=96, passage=96, response=32)
        )
        self._pool: tuple[Any, list[tuple[list[int], list[int]]]] = (None, [])
        self.teacher, self.dimension, self.seed = teacher, dimension, seed
        self.sources: dict[str, list[Row]] = defaultdict(list)
        self.answered: dict[str, list[Row]] = defaultdict(list)
        for row in examples:
            self.sources[row["source"]].append(row)
            if row["answer"] and row["answer"] in row["text"]:
                self.answered[row["source"]].append(row)
        self.passages = [row for row in passages if len(row["text"]) > 80]
        self.taught = [row for row in self.passages if row["id"] in teacher]

    @classmethod
    def read(
        cls, out: Path, template: Template, teacher: Mapping[str, np.ndarray], seed: int = 0
    ) -> Mixture:
        """The mixture of the files that ``prepare.py`` wrote to ``out``."""
        examples = list(read_lines(out / "examples.jsonl"))
        passages = list(read_lines(out / "passages.jsonl"))
        return cls(examples, passages, template, teacher, 256, seed)

    # Pairs to embed

    def pairs(self, step: int, size: int) -> Pairs:
        """``size`` pairs: self-made ones from the corpus and questions from the data sets."""
        rng = random.Random(f"{self.seed} pairs {step}")
        drawn = [
            self._corpus_pair(rng)
            if rng.random() < 0.35 or not self.sources
            else self._question_pair(rng)
            for _ in range(size)
        ]
        queries, passages, groups, asked, told = zip(*drawn, strict=True)
        return Pairs(
            [self.short.conversation_query(conversation(turns)) for turns in queries],
            [self.short.passage(passage) for passage in passages],
            list(groups),
            self._targets(asked),
            self._targets(told),
        )

    def _corpus_pair(self, rng: random.Random) -> tuple[list[str], Passage, str, str, str]:
        row = rng.choice(self.taught or self.passages)
        said = sentences(row["text"])
        chosen = rng.randrange(len(said))
        kind, text = rng.random(), row["text"]
        if kind < 0.2:
            query = row["title"]
        elif kind < 0.5:
            query = self._keywords(row["title"], said[chosen], rng)
        else:
            query = said[chosen]
            if kind < 0.8 and len(said) > 1:
                text = " ".join(said[:chosen] + said[chosen + 1 :])
        return [query], Passage("", text, row["title"]), row["title"], "", row["id"]

    def _question_pair(self, rng: random.Random) -> tuple[list[str], Passage, str, str, str]:
        row = self._draw(self.sources, rng)
        text = row["text"]
        if row["answer"] and len(text) > 500:
            text = window(text, row["answer"], rng, 3)
        return row["turns"], Passage("", text, row["title"]), row["group"], row["rewrite"] or "", ""

    def _targets(self, keys: Sequence[str]) -> Tensor:
        rows = np.zeros((len(keys), self.dimension), np.float32)
        for number, key in enumerate(keys):
            if key in self.teacher:
                rows[number, : len(self.teacher[key])] = self.teacher[key]
        return torch.from_numpy(rows)

    # Sequences to continue

    def sequences(self, step: int, size: int, practice: float) -> Sequences:
        """``size`` sequences of similar length; ``practice`` is the share of mere copying."""
        key = (step // _POOL, size, practice)
        if self._pool[0] != key:
            rng = random.Random(f"{self.seed} sequences {key}")
            drawn = [self._sequence(rng, practice) for _ in range(_POOL * size)]
            self._pool = key, sorted(drawn, key=lambda pair: len(pair[0]) + len(pair[1]))
        part = self._pool[1][(step % _POOL) * size :][:size]
        ids = pad([prompt + answer for prompt, answer in part])
        labels = pad([[-100] * len(prompt) + answer for prompt, answer in part], -100)
        return Sequences(ids, labels)

    def _sequence(self, rng: random.Random, practice: float) -> tuple[list[int], list[int]]:
        kind = rng.random()
        if kind < practice:
            return self._repeat(rng)
        kind = (kind - practice) / (1 - practice)
        if kind < 0.12 or not self.answered:
            row = rng.choice(self.passages)
            tokens = self.template.passage(Passage("", row["text"], row["title"]))[:-1][:160]
            return tokens[:2], tokens[2:]
        if kind < 0.2:
            row = self._draw(self.sources, rng)
            response = row["answer"] or row["text"]
            return self.template.prompt(conversation(row["turns"])), self.short.response(response)
        return (
            self._grounded(*self.corpus_question(rng), rng) if kind < 0.5 else self._answered(rng)
        )

    def _repeat(self, rng: random.Random) -> tuple[list[int], list[int]]:
        vocabulary = len(self.template.tokenizer)
        if rng.random() < 0.5:
            span = [rng.randrange(263, vocabulary) for _ in range(rng.randint(8, 40))]
        else:
            text = rng.choice(self.passages)["text"]
            span = self.template.response(text)[: rng.randint(10, 50)]
        gap = [rng.randrange(263, vocabulary) for _ in range(rng.randint(0, 40))]
        return span + gap + span[:1], span[1:]

    def corpus_question(self, rng: random.Random) -> tuple[list[str], str, str, str]:
        """Turns, title, text and answer: keywords of one of the corpus' sentences as a question."""
        row = rng.choice(self.passages)
        said = [s for s in sentences(row["text"]) if 20 < len(s) < 260]
        if not said:
            return self.corpus_question(rng)
        answer = rng.choice(said)
        text = window(row["text"], answer, rng, 5)
        if rng.random() < 0.3:
            before = rng.choice(said)
            turns = [self._keywords(row["title"], before, rng), before]
            return [*turns, self._keywords("", answer, rng)], row["title"], text, answer
        return [self._keywords(row["title"], answer, rng)], row["title"], text, answer

    def _answered(self, rng: random.Random) -> tuple[list[int], list[int]]:
        row = self._draw(self.answered, rng)
        text = window(row["text"], row["answer"], rng, 6)
        return self._grounded(row["turns"], row["title"], text, row["answer"], rng)

    def _grounded(
        self, turns: list[str], title: str, text: str, answer: str, rng: random.Random
    ) -> tuple[list[int], list[int]]:
        passages = [Passage("", text, title)]
        for _ in range(rng.choice((0, 1, 1, 2, 2, 3))):
            source = self.answered if rng.random() < 0.4 else {"": self.passages}
            other = self._draw(source, rng)
            if other["title"] != title:
                said = sentences(other["text"])
                first = rng.randrange(len(said))
                part = " ".join(said[first : first + rng.randint(1, 4)])
                passages.append(Passage("", part, other["title"]))
        rng.shuffle(passages)
        number = next(i for i, p in enumerate(passages, 1) if p.title == title)
        prompt = self.template.prompt(conversation(turns), passages)
        return prompt[-600:], self.template.response(f"{answer} [{number}]")

    # Pieces

    def _draw(self, sources: Mapping[str, Sequence[Row]], rng: random.Random) -> Row:
        """A row of a source that is drawn by the square root of its size."""
        names = sorted(sources)
        weights = [len(sources[name]) ** 0.5 for name in names]
        return rng.choice(sources[rng.choices(names, weights)[0]])

    def _keywords(self, title: str, sentence: str, rng: random.Random) -> str:
        words = [w for w in dict.fromkeys(content_words(sentence)) if w not in title.lower()]
        kept = sorted(rng.sample(range(len(words)), min(len(words), rng.randint(1, 4))))
        said = " ".join(words[i] for i in kept)
        form = rng.choice(_ASK if title else _FOLLOW)
        query = form.format(title, said) if title else form.format(said)
        return query.lower() if rng.random() < 0.3 else query


def window(text: str, answer: str, rng: random.Random, most: int) -> str:
    """Up to ``most`` sentences of ``text`` around the one that begins ``answer``."""
    said = sentences(text)
    at = next((i for i, s in enumerate(said) if s.startswith(answer[:40]) or answer in s), None)
    if at is None:
        return text[:700]
    first = max(0, at - rng.randrange(most))
    return " ".join(said[first : max(at + 1, first + most)])
