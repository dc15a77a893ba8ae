"""Finds the confidence below which a question is better declined than answered."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from uniconv.errors import UniConvError
from uniconv.search import ConversationalSearch
from uniconv.types import Conversation

_DEPTH = 50  # passages looked through for the best one that is not a positive


@dataclass(frozen=True, slots=True)
class Calibration:
    """The ``threshold`` and what it does to the turns that it was found on.

    ``false_declines`` is the share of answerable turns that it declines. ``declines`` is the share
    declined of the same turns once their positives are taken out of the index. That is a hard
    stand-in for questions without an answer, because passages on the same topic remain.
    ``unanswerable`` is the share declined of turns that have no answer in the index, where such
    were given.
    """

    threshold: float
    turns: int
    false_declines: float
    declines: float
    unanswerable: float | None = None


def calibrate(
    search: ConversationalSearch,
    conversations: Sequence[Conversation],
    *,
    unanswerable: Sequence[Conversation] = (),
    false_declines: float = 0.1,
) -> Calibration:
    """The greatest threshold that declines at most a share of the answerable turns.

    Use turns that nothing else was tuned on, and whose positives are in the index. None of the
    turns of ``unanswerable`` has an answer in it; they have no part in the threshold.

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
    rankings = _rankings(search, contexts)
    answerable = np.array([_confidence(one) for one in rankings])
    removed = np.array([_confidence(*pair) for pair in zip(rankings, positives, strict=True)])
    elsewhere = _rankings(
        search, [one.context(n) for one in unanswerable for n in range(1, len(one.turns) + 1)]
    )
    absent = np.array([_confidence(one) for one in elsewhere])
    threshold = float(np.quantile(answerable, false_declines, method="lower"))
    return Calibration(
        threshold=threshold,
        turns=len(contexts),
        false_declines=float(np.mean(answerable < threshold)),
        declines=float(np.mean(removed < threshold)),
        unanswerable=float(np.mean(absent < threshold)) if len(absent) else None,
    )


def _rankings(
    search: ConversationalSearch, contexts: Sequence[Conversation]
) -> list[list[tuple[str, float]]]:
    """Ids of the passages that are found for each, best first, and the model's scores of them."""
    if not contexts:
        return []
    settings = replace(search.settings, retrieve=max(search.settings.retrieve, _DEPTH))
    rankings = []
    embeddings = search.model.encode_conversations(contexts)
    for context, embedding in zip(contexts, embeddings, strict=True):
        passages, scores = search.ranked(context, embedding, settings)
        ids = [one.passage.id for one in passages]
        rankings.append(list(zip(ids, scores, strict=True)))
    return rankings


def _confidence(ranking: Sequence[tuple[str, float]], removed: Collection[str] = ()) -> float:
    """In the first that is not removed; where none is left, the question is declined anyway."""
    return next((score for id, score in ranking if id not in removed), -math.inf)
