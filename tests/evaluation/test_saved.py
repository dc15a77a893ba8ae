"""Results are read back from their folders, and a folder that is none is told so."""

from __future__ import annotations

from pathlib import Path

import pytest
from saved_results import prediction_row, write_inputs, write_response, write_retrieval

from uniconv.errors import DataError, UniConvError
from uniconv.evaluation.saved import depth_of, distinct_names, read_results
from uniconv.files import write_json


def test_a_retrieval_result_has_its_settings_and_values(tmp_path: Path) -> None:
    config = write_inputs(tmp_path)
    [result] = read_results([write_retrieval(tmp_path / "dense", config)])
    assert (result.name, result.kind) == ("dense", "retrieval")
    assert result.path("corpus") == tmp_path / "corpus.jsonl"
    assert result.path("index") is None
    assert result.values["c_2"]["mrr"] == pytest.approx(1 / 3)


def test_every_part_of_a_response_result_is_one(tmp_path: Path) -> None:
    folder = write_response(tmp_path / "answers", {}, [prediction_row("c_1", "", [])], {"c_1": 0.5})
    [result] = read_results([folder])
    assert (result.name, result.kind) == ("answers", "response")
    assert result.folder == folder / "retrieved"
    write_response(tmp_path / "more", {}, [], {})
    (folder / "retrieved").rename(tmp_path / "more" / "none")
    write_json(tmp_path / "more" / "result.json", {"parts": {"retrieved": {}, "none": {}}})
    names = [result.name for result in read_results([tmp_path / "more"])]
    assert names == ["more/retrieved", "more/none"]


def test_a_folder_without_a_result_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UniConvError, match="holds no result"):
        read_results([tmp_path])


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"_id": "c_1", "mrr": "high"}', "'mrr': is a string; expected a number"),
        ('{"_id": "c_1", "mrr": NaN}', "'mrr': is nan; expected a finite number"),
        ('{"mrr": 1}', "'_id': is missing"),
    ],
)
def test_a_malformed_value_is_named(tmp_path: Path, line: str, problem: str) -> None:
    folder = write_retrieval(tmp_path / "dense", write_inputs(tmp_path))
    (folder / "queries.jsonl").write_text(line + "\n")
    with pytest.raises(DataError, match=problem):
        read_results([folder])


def test_names_are_as_long_as_it_takes() -> None:
    assert distinct_names([Path("/a/x/run"), Path("/a/y/run"), Path("/a/z")]) == [
        "x/run",
        "y/run",
        "z",
    ]
    with pytest.raises(UniConvError, match="given twice"):
        distinct_names([Path("/a/x"), Path("/a/../a/x")])


def test_the_depth_is_the_number_behind_the_last_underscore() -> None:
    assert [depth_of(query) for query in ("c_3", "a_b_12", "c", "c_x")] == [3, 12, 1, 1]
