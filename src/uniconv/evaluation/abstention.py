"""How declining trades precision against recall when its threshold moves."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from uniconv.data.conversations import read_conversations
from uniconv.data.lines import read_jsonl
from uniconv.data.records import Record, kind
from uniconv.evaluation.saved import PREDICTIONS, SavedResult
from uniconv.types import UNANSWERABLE


@dataclass(frozen=True, slots=True)
class Abstention:
    """Turns whose answerability is known: what the system was sure of and what it did.

    ``confidence`` is float64 [turns], ``unanswerable`` and ``declined`` are bool [turns].
    """

    confidence: npt.NDArray[np.float64]
    unanswerable: npt.NDArray[np.bool_]
    declined: npt.NDArray[np.bool_]

    def curve(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Recall and precision of declining at every threshold, from the lowest on.

        Turns of the same confidence are declined together. Recall is the share of the unanswerable
        turns that are declined, precision the share of the declined turns that are unanswerable.
        """
        order = np.argsort(self.confidence, kind="stable")
        hits = np.cumsum(self.unanswerable[order])
        ascending = self.confidence[order]
        last = np.append(ascending[1:] != ascending[:-1], True)
        declined = np.arange(1, len(order) + 1)
        return hits[last] / self.unanswerable.sum(), hits[last] / declined[last]

    def point(self) -> tuple[float, float] | None:
        """Recall and precision of what was declined in fact; None if nothing was."""
        if not self.declined.any():
            return None
        hits = (self.declined & self.unanswerable).sum()
        return float(hits / self.unanswerable.sum()), float(hits / self.declined.sum())


def read_abstention(result: SavedResult) -> Abstention | None:
    """What a response result says of declining.

    None where its predictions have no confidence, its conversations are gone, or their turns are
    not both answerable and unanswerable. A turn counts as answerable if it has positives or its
    attribute ``answerability`` says anything but unanswerable.
    """
    predictions = result.folder / PREDICTIONS
    if not predictions.exists() or not (path := result.path("conversations")) or not path.exists():
        return None
    known = {
        one.query_id(number): turn.attributes.get("answerability") == UNANSWERABLE
        for one in read_conversations(path)
        for number, turn in enumerate(one.turns, start=1)
        if turn.positives or "answerability" in turn.attributes
    }
    rows = [
        (confidence, known[id], declined)
        for id, declined, confidence in read_jsonl(predictions, _row, unique="_id")
        if id in known and confidence is not None
    ]
    if len({unanswerable for _, unanswerable, _ in rows}) < 2:
        return None
    confidences, unanswerable, declined = zip(*rows, strict=True)
    return Abstention(np.array(confidences), np.array(unanswerable), np.array(declined))


def _row(record: Record) -> tuple[str, bool, float | None]:
    declined = record.fields.get("declined") is True
    return record.identifier("_id"), declined, confidence_of(record)


def confidence_of(record: Record) -> float | None:
    """The confidence in a line of predictions; None for those that were not made by a search.

    Raises:
        DataError: it is no finite number.
    """
    value = record.fields.get("confidence")
    if value is None:
        return None
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value):
        raise record.error("confidence", f"is {kind(value)}; expected a finite number")
    return float(value)
