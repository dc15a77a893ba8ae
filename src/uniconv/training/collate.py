"""From examples to a batch: which text supervises which objective, as token sequences."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Sequence

from uniconv.citations import quotable, without_marks
from uniconv.config import DataConfig, Objectives
from uniconv.sentences import shared_words
from uniconv.templates import Template
from uniconv.training.batch import Batch, Contrast, Writing
from uniconv.training.examples import Example, Examples
from uniconv.types import NOTHING_FOUND, Conversation, Passage

_NEAR = 0.2
"""What a sentence shares with a response, at least, that may stand for it."""


class Collator:
    """Makes batches of examples; parts whose weight is 0 are left out."""

    def __init__(
        self, template: Template, examples: Examples, data: DataConfig, weights: Objectives
    ) -> None:
        self._template = template
        self._examples = examples
        self._data = data
        self._weights = weights.read

    def use(self, examples: Examples) -> None:
        """Takes the same examples with other negatives."""
        self._examples = examples

    def __call__(self, picks: Iterable[tuple[int, random.Random]]) -> Batch:
        """The batch of examples by their positions, each with its own random generator."""
        batch = Batch()
        for position, rng in picks:
            self._add(batch, self._examples.examples[position], rng)
        return batch

    def _add(self, batch: Batch, example: Example, rng: random.Random) -> None:
        source = self._examples.sources[example.source]
        passages = self._examples.passages[example.source]
        turn, context = example.turn, example.context
        response = (turn.response or "").strip()
        positives = [passages[id] for id in turn.positives if id in passages]
        positive = rng.choice(positives) if positives else None
        if self._weights.retrieval:
            if source.retrieval == "passages" and positive is not None:
                negatives = self._negatives(example, self._data.negatives_of(source), rng)
                self._add_retrieval(batch.retrieval, example, positives, positive, negatives)
            elif source.retrieval == "responses" and response:
                target = Passage(example.conversation.query_id(example.number), response)
                self._add_retrieval(batch.retrieval, example, [target], target, [])
        if self._weights.generation:
            written = response if source.generation == "responses" else ""
            if source.generation == "passages" and positive is not None:
                written = positive.text
            if written:
                self._add_generation(batch.generation, context, written)
        if positive is None or not response:
            return
        identifies = bool(self._weights.alpha and source.cii)
        writes = bool(self._weights.gamma and source.grounded)
        sentences = self._data.sentence_negatives
        missing = writes and self._data.unanswerable > 0 and rng.random() < self._data.unanswerable
        shown = [positive]
        if writes or (identifies and sentences):
            shown = self._shown(example, positives, None if missing else positive, rng) or shown
        if identifies:
            read = shown if positive in shown and sentences else [positive]
            self._add_cii(batch.cii, context, read, positive, response, rng)
        if writes:
            self._add_grounded(batch.grounded, example, shown, positive, response)

    def _add_generation(self, part: Writing, context: Conversation, response: str) -> None:
        prompt, wall = self._template.prompt(context), 0
        if self._weights.session_mask:
            query = self._template.conversation_query(context)
            prompt, wall = query + self._template.answer_suffix(), len(query) - 1
        part.prompts.append(prompt)
        part.responses.append(self._template.response(response))
        part.walls.append(wall)

    def _add_retrieval(
        self,
        part: Contrast,
        example: Example,
        positives: Sequence[Passage],
        positive: Passage,
        negatives: Sequence[Passage],
    ) -> None:
        part.queries.append(self._template.conversation_query(example.context))
        part.labels.append(part.document(passage_key(positive), self._template.passage(positive)))
        part.own.append([passage_key(passage) for passage in positives])
        part.asked.append(conversation_key(example.context))
        for negative in negatives:
            part.document(passage_key(negative), self._template.passage(negative))

    def _add_cii(
        self,
        part: Contrast,
        context: Conversation,
        shown: Sequence[Passage],
        positive: Passage,
        response: str,
        rng: random.Random,
    ) -> None:
        """Queries and documents with their markers, or prompts and responses to be written."""
        template, most = self._template, self._data.sentence_negatives
        own, others = _sentences(response, positive, shown) if most else ([response], [])
        if self._weights.cii == "embeddings":
            part.queries.append(template.grounded_query(context, shown))
            document = template.response_document
        else:
            part.queries.append(template.prompt(context, shown))
            document = template.response
        part.labels.append(part.document(_key(own[0]), document(own[0])))
        part.own.append([_key(text) for text in own])
        for text in rng.sample(others, min(most, len(others))):
            part.document(_key(text), document(text))

    def _negatives(self, example: Example, wanted: int, rng: random.Random) -> list[Passage]:
        passages = self._examples.passages[example.source]
        ids = example.negatives
        found = [passages[id] for id in rng.sample(ids, min(wanted, len(ids)))]
        if self._data.random_negatives:
            pool = self._examples.pools[example.source]
            found += rng.sample(pool, min(wanted - len(found), len(pool)))
        return found

    def _add_grounded(
        self,
        part: Writing,
        example: Example,
        shown: Sequence[Passage],
        positive: Passage,
        response: str,
    ) -> None:
        """The response, or that nothing was found where ``positive`` isn't shown."""
        if positive not in shown:
            response = NOTHING_FOUND
        elif self._examples.sources[example.source].cite:
            response += f" [{shown.index(positive) + 1}]"
        part.prompts.append(self._template.prompt(example.context, shown))
        part.responses.append(self._template.response(response))

    def _shown(
        self,
        example: Example,
        positives: Sequence[Passage],
        positive: Passage | None,
        rng: random.Random,
    ) -> list[Passage]:
        """A relevant passage among distracting ones, or distracting ones alone."""
        data, count = self._data, self._data.grounded_passages
        if data.fewest_passages is not None:
            count = rng.randint(min(data.fewest_passages, count), count)
        relevant = [] if positive is None else [positive]
        others = self._distracting(example, positives, count - len(relevant), rng)
        shown = relevant + others
        if not (relevant and data.relevant_first > 0 and rng.random() < data.relevant_first):
            rng.shuffle(shown)
        return shown

    def _distracting(
        self, example: Example, positives: Sequence[Passage], wanted: int, rng: random.Random
    ) -> list[Passage]:
        """Passages that are not relevant: the turn's own negatives, then random ones."""
        passages = self._examples.passages[example.source]
        pool = self._examples.pools[example.source]
        ids = example.negatives
        candidates = [passages[id] for id in rng.sample(ids, min(wanted, len(ids)))]
        candidates += rng.sample(pool, min(wanted + len(positives), len(pool)))
        used = {passage_key(passage) for passage in positives}
        found: list[Passage] = []
        for candidate in candidates:
            if len(found) < wanted and passage_key(candidate) not in used:
                used.add(passage_key(candidate))
                found.append(candidate)
        return found


def _sentences(
    response: str, positive: Passage, shown: Sequence[Passage]
) -> tuple[list[str], list[str]]:
    """What context identification has to tell, first what is relevant: the sentence of the relevant
    passage that stands for the response, the response itself, and sentences that say much of it;
    then all others that are shown. The response alone where no sentence is near to it."""
    said = without_marks(response)
    near = {
        sentence: shared_words(sentence, said)
        for passage in shown
        for sentence in quotable(passage.text)
    }
    best = max(quotable(positive.text), key=near.__getitem__, default=response)
    if near.get(best, 0.0) < _NEAR:
        return [response], []
    own = [sentence for sentence in near if near[sentence] > near[best] / 2]
    return [best, response, *own], [one for one in near if one not in own]


def passage_key(passage: Passage) -> int:
    """Equal for passages of equal title and text, whatever their ids."""
    return _key(f"{passage.title}\n{passage.text}")


def conversation_key(conversation: Conversation) -> int:
    """Equal for conversations in which the same was said."""
    said = [text for turn in conversation.turns for text in (turn.query, turn.response or "")]
    return _key("\n".join(said))


def _key(text: str) -> int:
    """A positive int64 that is equal for texts that differ in white space only."""
    digest = hashlib.blake2b(" ".join(text.split()).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1 or 1
