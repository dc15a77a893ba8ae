"""The responses of one part on disk: written turn by turn, gone on with after a stop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uniconv.citations import marked_numbers
from uniconv.data.lines import read_object, resume_jsonl
from uniconv.data.records import Record
from uniconv.errors import UniConvError
from uniconv.evaluation.generators import Response
from uniconv.evaluation.grounding import declines
from uniconv.evaluation.protocols import Question
from uniconv.files import write_json
from uniconv.types import Passage

PREDICTIONS = "predictions.jsonl"
SETTINGS = "settings.json"


@dataclass(frozen=True, slots=True)
class Prediction:
    """The response to a turn and the passages that were read for it.

    ``declined`` is true where nothing was found or the response says that it has no answer.
    """

    id: str
    text: str
    found: bool
    declined: bool
    read: tuple[Passage, ...]
    tokens: Mapping[str, int]


def prediction_row(question: Question, response: Response) -> dict[str, Any]:
    """The line of ``predictions.jsonl``. A passage's ``relevant`` is null where none is known."""
    marked = marked_numbers(response.text)
    return {
        "_id": question.id,
        "prediction": response.text,
        "found": response.found,
        "confidence": response.confidence,
        "declined": not response.found or declines(response.text),
        "citations": [
            {"number": number, "_id": response.read[number - 1].id}
            for number in marked
            if 1 <= number <= len(response.read)
        ],
        "passages": [
            {
                "_id": passage.id,
                "title": passage.title,
                "text": passage.text,
                "relevant": question.relevance(passage),
            }
            for passage in response.read
        ],
        "timings": {stage: round(seconds, 6) for stage, seconds in response.timings.items()},
        "tokens": dict(response.tokens),
    }


def prediction(record: Record) -> Prediction:
    """The prediction in a line.

    Raises:
        DataError: a field is missing or of the wrong type.
    """
    passages = tuple(
        Passage(one.identifier("_id"), one.text("text"), one.text("title"))
        for one in record.records("passages")
    )
    tokens = record.record("tokens")
    return Prediction(
        record.identifier("_id"),
        record.text("prediction"),
        record.fields.get("found") is True,
        record.fields.get("declined") is True,
        passages,
        {kind: tokens.integer(kind) for kind in tokens.fields},
    )


def read_predictions(folder: Path) -> dict[str, Prediction]:
    """The predictions of a part's folder so far, by query id."""
    return {one.id: one for one in resume_jsonl(folder / PREDICTIONS, prediction, unique="_id")}


def check_same(folder: Path, deciding: Mapping[str, Any]) -> None:
    """Keeps in ``settings.json`` what predictions depend on, or compares with what is there.

    Raises:
        UniConvError: the folder holds predictions that depend on something else.
    """
    path = folder / SETTINGS
    if not path.exists() and not (folder / PREDICTIONS).exists():
        write_json(path, deciding)
        return
    before = read_object(path).fields
    changed = [name for name, value in deciding.items() if value != before.get(name)]
    if changed:
        raise UniConvError(
            f"{folder}: holds predictions made with other {' and '.join(changed)}; choose another "
            "folder or delete it"
        )
