"""Finds the confidence below which a question is better declined than answered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from uniconv.errors import UniConvError
from uniconv.retrieval.vectors import Floats
from uniconv.search import ConversationalSearch
from uniconv.types import Conversation

_DEPTH = 50  # passages looked through for the best one that is not a positive


@dataclass(frozen=True, slots=True)
class Calibration:
    """The ``threshold`` and what it does to the turns that it was found on.

    ``false_declines`` is the share of answerable turns that it declines. ``declines`` is the share
    declined of the same turns once their positives are taken out of the index. That is a hard
    stand-in for questions without an answer, because passages on the same topic remain.
    """

    threshold: float
    turns: int
    false_declines: float
    declines: float


def calibrate(
    search: ConversationalSearch,
    conversations: Sequence[Conversation],
    *,
    false_declines: float = 0.1,
) -> Calibration:
    """The greatest threshold that declines at most a share of the answerable turns.

    Use turns that nothing else was tuned on, and whose positives are in the index.

    Raises:
        UniConvError: fewer than 20 turns have a positive in the index, or the share isn't between
            0 and 1.
    """
    if not 0 <= false_declines < 1:
        raise UniConvError(f"the share of false declines must be from 0 to 1, not {false_declines}")
    contexts, positives = [], []
    for conversation in conversations:
        for number, turn in enumerate(conversation.turns, start=1):
            known = {one for one in turn.positives if search.index.passage(one) is not None}
            if known:
                contexts.append(conversation.context(number))
                positives.append(known)
    if len(contexts) < 20:
        raise UniConvError(
            f"{len(contexts)} turns have a positive in the index, which is too few to calibrate "
            "on; give at least 20"
        )
    settings = replace(search.settings, retrieve=max(search.settings.retrieve, _DEPTH))
    answerable, removed = [], []
    embeddings = search.model.encode_conversations(contexts)
    for context, embedding, known in zip(contexts, embeddings, positives, strict=True):
        passages, scores = search.ranked(context, embedding, settings)
        rest = [
            score
            for one, score in zip(passages, scores, strict=True)
            if one.passage.id not in known
        ]
        answerable.append(_confidence(search, embedding, scores))
        removed.append(_confidence(search, embedding, rest))
    threshold = float(np.quantile(answerable, false_declines, method="lower"))
    return Calibration(
        threshold=threshold,
        turns=len(contexts),
        false_declines=float(np.mean(np.array(answerable) < threshold)),
        declines=float(np.mean(np.array(removed) < threshold)),
    )


def _confidence(search: ConversationalSearch, embedding: Floats, scores: Sequence[float]) -> float:
    """In the first of the scores; where nothing is found, the question is declined anyway."""
    return search.confidence(embedding, scores[0]) if scores else -math.inf
