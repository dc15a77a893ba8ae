"""Batches for pretraining: rows filled to the end with sequences, drawn by seed and step alone.

Each step reads its own slice of all documents in an order that is shuffled once an epoch. A short
one becomes a pair (title, keywords, a sentence or a small conversation, and the passage), a long
one a stretch of text or two neighbouring passages, a dialogue is itself. To these come questions
with their passages and prompts with passages whose answer is a copied sentence. All of them share
one forward pass: the passage that is learned as text is the one whose marker is contrasted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from packed import DIALOGUE, Arrays
from pieces import GROUNDED, TALK, Ids, Pair, Piece, Vocabulary
from rows import Batch, Shape, arrange

_PASSAGE = 300  # tokens of a document up to which it is a passage of its own


class Batches:
    """All parts in memory, as random access to batches."""

    def __init__(
        self, parts: Sequence[Arrays], vocabulary: Vocabulary, shape: Shape, seed: int = 0
    ) -> None:
        self.parts, self.vocabulary, self.shape, self.seed = parts, vocabulary, shape, seed
        self._documents = [np.cumsum(part["lengths"].astype(np.int64)) for part in parts]
        self._asked = [np.cumsum(part["asked_lengths"].astype(np.int64)) for part in parts]
        self._texts = [np.cumsum(part["text_lengths"].astype(np.int64)) for part in parts]
        self._codes = [_places(part["taught"], len(part["lengths"])) for part in parts]
        self._asked_codes = [
            _places(part["asked_taught"], len(part["asked_lengths"])) for part in parts
        ]
        self._sizes = np.cumsum([len(part["lengths"]) for part in parts])
        self._questions = np.array(
            [(p, n) for p, part in enumerate(parts) for n in np.flatnonzero(part["paired"])]
        ).reshape(-1, 2)
        self._answered = np.array(
            [
                (p, n)
                for p, part in enumerate(parts)
                for n in np.flatnonzero(part["answer"][:, 1] > part["answer"][:, 0])
            ]
        ).reshape(-1, 2)
        tokens = sum(int(part["lengths"].sum()) for part in parts)
        self._mean = max(8.0, tokens / max(1, int(self._sizes[-1])))

    def __len__(self) -> int:
        """Documents."""
        return int(self._sizes[-1])

    def __getitem__(self, step: int) -> Batch:
        """The batch of a step, whatever was drawn before."""
        rng = np.random.default_rng([self.seed, 1, step])
        shape, budget = self.shape, self.shape.rows * self.shape.length
        pieces: list[Piece] = []
        pairs: list[Pair] = []
        while sum(len(p.ids) for p in pieces) < shape.grounded * budget:
            pieces.append(self._prompt(rng))
        for _ in range(round(shape.repeated * budget / 120)):
            pieces.append(self._repeated(rng))
        taken = sum(len(piece.ids) for piece in pieces)
        if len(self._questions):
            before = taken
            while taken - before < shape.questions * budget:
                pairs.append(self._question(rng))
                taken += len(pairs[-1].query.ids) + len(pairs[-1].passage.ids)
        rest: list[Piece] = []
        for number in self._slice(step):
            found = self._document(number, rng)
            if isinstance(found, Pair):
                taken += len(found.query.ids) + len(found.passage.ids)
                pairs.append(found)
            else:
                taken += len(found.ids)
                rest.append(found)
            if taken > budget:
                break
        return arrange([*pieces, *rest], pairs, shape, lambda size: self._filler(size, rng))

    # Documents

    def _slice(self, step: int) -> Iterator[int]:
        """The documents of a step, in the order of its epoch; as many as a batch could take."""
        count = round(self.shape.rows * self.shape.length * 0.75 / self._mean) + 4
        for place in range(step * count, (step + 1) * count):
            epoch, within = divmod(place, len(self))
            yield self._shuffled(epoch, within)

    def _shuffled(self, epoch: int, place: int) -> int:
        """The document at a place of an epoch: a walk with a stride that meets each one once."""
        count = len(self)
        rng = np.random.default_rng([self.seed, 2, epoch])
        start, stride = int(rng.integers(count)), int(rng.integers(count)) | 1
        while np.gcd(stride, count) != 1:
            stride += 2
        return (start + place * stride) % count

    def _tokens(self, number: int) -> tuple[Arrays, int, int, Ids]:
        part = int(np.searchsorted(self._sizes, number, side="right"))
        place = number - (int(self._sizes[part - 1]) if part else 0)
        arrays = self.parts[part]
        return arrays, part, place, _cut(arrays["tokens"], self._documents[part], place)

    def _document(self, number: int, rng: np.random.Generator) -> Piece | Pair:
        arrays, part, place, tokens = self._tokens(number)
        vocabulary, most = self.vocabulary, self.shape.length
        if arrays["kinds"][place] == DIALOGUE:
            ids = tokens[:most]
            return Piece(ids, 2, len(ids), TALK)
        title = int(arrays["titles"][place])
        group = int(arrays["groups"][place])
        if len(tokens) <= min(_PASSAGE, most // 2):
            code = self._codes[part][place]
            target = arrays["targets"][code] if code >= 0 else None
            return self._self_made(tokens, title, group, target, rng)
        if rng.random() < 0.7:
            longest = most - 2
            start = int(rng.integers(max(1, len(tokens) - longest)))
            return vocabulary.text_piece(tokens[start : start + longest])
        return self._neighbours(tokens, title, group, rng)

    def _neighbours(self, tokens: Ids, title: int, group: int, rng: np.random.Generator) -> Pair:
        """Two passages of a long text that follow one another."""
        room = min(_PASSAGE, self.shape.length // 2 - 8) - min(title, 30)
        start = title + int(rng.integers(max(1, len(tokens) - title - room)))
        ends = np.flatnonzero(self.vocabulary.ends_sentence[tokens[title:start]])
        start = title + int(ends[-1]) + 1 if len(ends) else title
        stretch = tokens[start : start + room]
        bounds = self.vocabulary.sentences(stretch)
        middle = bounds[len(bounds) // 2][0] if len(bounds) > 1 else len(stretch) // 2
        head = tokens[: min(title, 30)]
        first, second = stretch[:middle], stretch[middle:]
        passage = self.vocabulary.passage_piece(np.concatenate([head, second]))
        return Pair(self.vocabulary.passage_piece(first), passage, group)

    def _self_made(
        self,
        tokens: Ids,
        title: int,
        group: int,
        target: npt.NDArray[np.uint8] | None,
        rng: np.random.Generator,
    ) -> Pair:
        """A passage and what could be asked to find it.

        The teacher's view of the passage is the target of both.
        """
        vocabulary, body = self.vocabulary, tokens[title:]
        said = vocabulary.sentences(body)
        name = tokens[: max(0, title - 1)]  # without the line's end
        kind, cut = rng.random(), False
        a, b = said[int(rng.integers(len(said)))] if said else (0, len(body))
        sentence = body[a : min(b, a + 64)]
        if (kind < 0.15 and title) or len(said) < 2:
            query = [name if title else vocabulary.keywords(body, 5, rng)]
        elif kind < 0.4:
            words = vocabulary.keywords(sentence, int(rng.integers(1, 5)), rng)
            query = [np.concatenate([name, words] if rng.random() < 0.5 else [words, name])]
        elif kind < 0.7:
            query, cut = [sentence], kind < 0.6
        else:
            query, (a, b) = self._small_talk(body, name, said, rng)
            cut = True
        kept = np.concatenate([tokens[: title + a], body[b:]]) if cut else tokens
        passage = vocabulary.passage_piece(kept)
        return Pair(vocabulary.query_piece(query), passage, group, target, target)

    def _small_talk(
        self, body: Ids, name: Ids, said: list[tuple[int, int]], rng: np.random.Generator
    ) -> tuple[list[Ids], tuple[int, int]]:
        """Turns about a passage whose last question leaves out what it is about.

        The sentence that was the response is to be cut out of the passage.
        """
        first, second = rng.choice(len(said), 2, replace=False)
        a, b = said[int(first)]
        c, d = said[int(second)]
        opening = self.vocabulary.keywords(body[a:b], 3, rng)
        question = self.vocabulary.keywords(body[c:d], int(rng.integers(1, 5)), rng)
        turns = [np.concatenate([name, opening]), body[a : min(b, a + 64)], question]
        return turns, (a, b)

    # Examples

    def _example(self, row: npt.NDArray[np.int64]) -> tuple[Arrays, int, int, Ids, int, Ids]:
        """The part, the row in it, its passage, the passage's tokens, its title, the question."""
        part, number = int(row[0]), int(row[1])
        arrays = self.parts[part]
        passage = int(arrays["passage"][number])
        text = _cut(arrays["texts"], self._texts[part], passage)
        asked = _cut(arrays["asked"], self._asked[part], number)
        return arrays, number, passage, text, int(arrays["text_titles"][passage]), asked

    def _question(self, rng: np.random.Generator) -> Pair:
        row = self._questions[int(rng.integers(len(self._questions)))]
        arrays, number, passage, text, title, asked = self._example(row)
        start, end = map(int, arrays["answer"][number])
        text = self._window(text, title, start, end, 260, rng)[0]
        code = self._asked_codes[int(row[0])][number]
        return Pair(
            self.vocabulary.framed_query(self._fitting(asked, 256)),
            self.vocabulary.passage_piece(text),
            int(arrays["text_groups"][passage]),
            arrays["asked_targets"][code] if code >= 0 else None,
        )

    def _prompt(self, rng: np.random.Generator) -> Piece:
        """A question, passages among which one answers it, and the sentence that does."""
        vocabulary, room = self.vocabulary, min(self.shape.length // 4, 280)
        if len(self._answered) and rng.random() < 0.5:
            row = self._answered[int(rng.integers(len(self._answered)))]
            arrays, number, _, text, title, asked = self._example(row)
            start, end = map(int, arrays["answer"][number])
            text, (start, end) = self._window(text, title, start, end, room, rng)
            asked = self._fitting(asked, self.shape.length // 4)
        else:
            text, start, end, asked = self._made_question(room, rng)
        answer = text[start:end][:96]
        passages = [text]
        for _ in range(int(rng.choice([0, 1, 1, 2, 2, 3, 4]))):
            other = self._tokens(int(rng.integers(len(self))))
            if other[0]["kinds"][other[2]] != DIALOGUE:
                passages.append(other[3][: int(rng.integers(24, room))])
        while len(passages) > 1 and sum(map(len, passages)) > self.shape.length // 2:
            passages.pop()
        at = int(rng.integers(len(passages)))
        passages[0], passages[at] = passages[at], passages[0]
        return vocabulary.grounded(asked, passages, answer, at + 1)

    def _made_question(self, room: int, rng: np.random.Generator) -> tuple[Ids, int, int, Ids]:
        """A passage, where a sentence of it is, and keywords of the sentence as a question."""
        for _ in range(20):
            arrays, _, place, tokens = self._tokens(int(rng.integers(len(self))))
            title = int(arrays["titles"][place])
            said = self.vocabulary.sentences(tokens[title : title + 1200])
            said = [(a, b) for a, b in said if 6 <= b - a <= 90]
            if arrays["kinds"][place] != DIALOGUE and said:
                break
        else:
            tokens, title, said = tokens[:room], 0, [(0, min(len(tokens), 24))]
        a, b = said[int(rng.integers(len(said)))]
        text, (start, end) = self._window(tokens, title, title + a, title + b, room, rng)
        words = self.vocabulary.keywords(text[start:end], int(rng.integers(2, 6)), rng)
        name = tokens[: max(0, title - 1)]
        asked = np.concatenate([name, words]) if rng.random() < 0.7 else words
        return text, start, end, self.vocabulary.conversation([asked])

    def _window(
        self, text: Ids, title: int, start: int, end: int, room: int, rng: np.random.Generator
    ) -> tuple[Ids, tuple[int, int]]:
        """A title and up to ``room`` tokens of text around ``start`` to ``end``, whole sentences
        at the beginning, and where these are in it."""
        if len(text) <= room:
            return text, (start, end)
        head = min(title, room // 3)
        free = max(8, room - head)
        end = min(end, start + free)
        lowest = max(title, end - free)
        begins = [title + a for a, _ in self.vocabulary.sentences(text[title:])]
        fitting = [at for at in begins if lowest <= at <= max(start, title)] or [max(start, title)]
        first = fitting[int(rng.integers(len(fitting)))]
        cut = np.concatenate([text[:head], text[first : first + free]])
        return cut, (start - first + head, end - first + head)

    def _fitting(self, asked: Ids, room: int) -> Ids:
        """A conversation that loses its oldest turns until it fits ``room`` tokens."""
        if len(asked) <= room:
            return asked
        starts = np.flatnonzero(asked == self.vocabulary.user[0])
        late = starts[starts >= len(asked) - room + 1]
        begin = int(late[0]) if len(late) else int(starts[-1])
        return np.concatenate([self.vocabulary.start, asked[begin:]])[-room:]

    def _repeated(self, rng: np.random.Generator) -> Piece:
        """Random tokens twice: what can only be copied."""
        tokens = rng.integers(self.vocabulary.first_plain, self.vocabulary.size, 60)
        span = tokens[: int(rng.integers(8, 48))].astype(np.uint16)
        middle = tokens[48:].astype(np.uint16)
        ids = np.concatenate([self.vocabulary.start, span, middle, span])
        return Piece(ids, len(ids) - len(span) + 1, len(ids), GROUNDED)

    def _filler(self, size: int, rng: np.random.Generator) -> Piece:
        arrays, _, place, tokens = self._tokens(int(rng.integers(len(self))))
        if arrays["kinds"][place] == DIALOGUE:
            return Piece(tokens[:size], 2, min(size, len(tokens)), TALK)
        return self.vocabulary.text_piece(tokens[: size - 2])


def _cut(tokens: Ids, ends: npt.NDArray[np.int64], number: int) -> Ids:
    return tokens[int(ends[number - 1]) if number else 0 : int(ends[number])]


def _places(chosen: npt.NDArray[np.uint32], count: int) -> npt.NDArray[np.int64]:
    """For each of ``count`` rows its place among ``chosen``, or -1."""
    places = np.full(count, -1, np.int64)
    places[chosen] = np.arange(len(chosen))
    return places
