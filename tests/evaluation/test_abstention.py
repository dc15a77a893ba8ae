"""Precision and recall of declining as the threshold moves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from saved_results import prediction_row, write_inputs, write_response

from uniconv.errors import DataError
from uniconv.evaluation.abstention import Abstention, read_abstention
from uniconv.evaluation.saved import read_results


def test_turns_of_the_same_confidence_are_declined_together() -> None:
    one = Abstention(
        confidence=np.array([0.1, 0.5, 0.5, 0.9]),
        unanswerable=np.array([True, True, False, False]),
        declined=np.array([True, False, True, False]),
    )
    recall, precision = one.curve()
    assert recall.tolist() == [0.5, 1.0, 1.0]
    assert precision.tolist() == [1.0, 2 / 3, 0.5]
    assert one.point() == (0.5, 0.5)


def test_nothing_declined_is_no_point() -> None:
    one = Abstention(np.array([1.0, 2.0]), np.array([True, False]), np.array([False, False]))
    assert one.point() is None


def rows(*confidences: float | None) -> list[dict[str, object]]:
    return [
        prediction_row(f"c_{turn}", "x", [], declined=turn == 3, confidence=confidence)
        for turn, confidence in enumerate(confidences, start=1)
    ]


def test_answerability_comes_from_the_conversations(tmp_path: Path) -> None:
    folder = write_response(tmp_path / "a", write_inputs(tmp_path), rows(2.0, 3.0, -1.0, None), {})
    found = read_abstention(read_results([folder])[0])
    assert found is not None
    assert found.confidence.tolist() == [2.0, 3.0, -1.0]  # the fourth has none
    assert found.unanswerable.tolist() == [False, False, True]
    assert found.declined.tolist() == [False, False, True]


def test_without_confidences_or_conversations_there_is_nothing_to_show(tmp_path: Path) -> None:
    config = write_inputs(tmp_path)
    without = write_response(tmp_path / "a", config, rows(None, None, None), {})
    answerable = write_response(tmp_path / "b", config, rows(1.0, 2.0), {})
    gone = write_response(tmp_path / "c", {"conversations": "gone.jsonl"}, rows(1.0, 2.0, 0.0), {})
    for result in read_results([without, answerable, gone]):
        assert read_abstention(result) is None


def test_a_confidence_that_is_no_number_is_named(tmp_path: Path) -> None:
    bad = [prediction_row("c_1", "x", []) | {"confidence": "high"}]
    folder = write_response(tmp_path / "a", write_inputs(tmp_path), bad, {})
    with pytest.raises(DataError, match="'confidence': is a string"):
        read_abstention(read_results([folder])[0])
