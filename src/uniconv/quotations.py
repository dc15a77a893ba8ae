"""Responses that are a sentence of the passages, word for word, with its mark.

The sentence is retrieved as passages are: by the embedding of the conversation, read once for both,
and by BM25 for the last question; and the better its passage and the earlier in it, the likelier it
is. The four are fused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import chain

import numpy as np

from uniconv.citations import quotable, without_marks
from uniconv.conversational import ConversationalModel, Reading
from uniconv.decoding import Decoding, Generation, Writer
from uniconv.retrieval.bm25 import score_texts
from uniconv.retrieval.fusion import score_fusion
from uniconv.types import Conversation, Passage, ScoredPassage


@dataclass(frozen=True, slots=True)
class Quotation:
    """A sentence of the ``passage``-th of those that are read: its ``place``-th, both from 1."""

    text: str
    passage: int
    place: int

    @property
    def written(self) -> str:
        """The sentence with its mark."""
        return f"{self.text} [{self.passage}]"


def respond(
    model: ConversationalModel,
    conversation: Conversation,
    reading: Reading,
    passages: Sequence[Passage],
    decoding: Decoding,
    quotes: bool | None = None,
) -> Generation:
    """A quotation, where ``quotes``, or else the model's settings, say so; else the model writes.

    What no passage is read for is always written.
    """
    if passages and (model.quotes if quotes is None else quotes):
        return quote(model, conversation, reading, passages, decoding)
    return model.generate(reading, passages, **asdict(decoding))


def quote(
    model: ConversationalModel,
    conversation: Conversation,
    reading: Reading,
    passages: Sequence[Passage],
    decoding: Decoding,
) -> Generation:
    """Responds with the sentence of ``passages`` that is nearest to what was asked.

    Passages are given best first, which counts: search has ordered them by more than one sentence
    tells. Responds with nothing where they have none. Sentences longer than ``decoding`` allows,
    and those that earlier turns were answered with, are left out, as long as others are not.
    """
    template = model.template
    found = quotations(passages)
    if not found:
        return Generation.fixed("", len(reading.tokens))
    written = {one: template.content(one.written) for one in found}
    before = {without_marks(turn.response or "").strip() for turn in conversation.turns}
    found = [one for one in found if len(written[one]) <= decoding.max_new_tokens] or found
    found = [one for one in found if one.text not in before] or found
    documents = [template.response_document(one.text) for one in found]
    writer = Writer(model.tokenizer, template.stop, decoding)

    def pieces(question: str) -> list[str]:
        said = _nearest(found, model.encode_now(documents) @ reading.embedding, question)
        return writer.write([*written[said], min(template.stop)])

    # Nothing is embedded before somebody listens, and he may leave at any moment: a generator
    # could not be closed while another thread runs it.
    later = chain.from_iterable(map(pieces, [conversation.turns[-1].query]))
    return Generation(later, writer, len(reading.tokens) + sum(map(len, documents)))


def quotations(passages: Sequence[Passage]) -> list[Quotation]:
    """All sentences that may be quoted. Of one that is there several times, the first."""
    found: dict[str, Quotation] = {}
    for number, passage in enumerate(passages, start=1):
        for place, sentence in enumerate(quotable(passage.text), start=1):
            found.setdefault(sentence, Quotation(sentence, number, place))
    return list(found.values())


def _nearest(found: Sequence[Quotation], similarities: np.ndarray, question: str) -> Quotation:
    by_words = score_texts(question, [one.text for one in found])
    by_passage = -np.array([one.passage for one in found], np.float32)
    by_place = 1 / np.array([one.place for one in found], np.float32)
    voices = (similarities, by_words, by_passage, by_place)
    (best,) = score_fusion([_ranking(scores) for scores in voices], 1, depth=len(found))
    return found[int(best.passage.id)]


def _ranking(scores: np.ndarray) -> list[ScoredPassage]:
    order = np.argsort(-scores, kind="stable").tolist()
    return [ScoredPassage(Passage(str(row), ""), float(scores[row])) for row in order]
