"""TREC runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uniconv.data.runs import Run, read_run, write_run
from uniconv.errors import DataError

IDS = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=6)
SPACED = st.text("ab c", min_size=1).map(lambda text: f"x{text}x")
SCORES = st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.dictionaries(IDS, st.dictionaries(IDS | SPACED, SCORES, min_size=1, max_size=4), max_size=3)
)
def test_runs_survive_writing_and_reading(
    tmp_path_factory: pytest.TempPathFactory, run: Run
) -> None:
    path = tmp_path_factory.mktemp("run") / "run.trec"
    write_run(path, run)
    assert read_run(path) == run


def test_ranks_follow_scores_and_ties_follow_trec_eval(tmp_path: Path) -> None:
    path = tmp_path / "run.trec"
    write_run(path, {"q": {"a": 1.0, "c": 1.0, "b": 2.5}}, tag="me")
    assert path.read_text().splitlines() == [
        "q Q0 b 1 2.5 me",
        "q Q0 c 2 1.0 me",
        "q Q0 a 3 1.0 me",
    ]


def test_tabs_split_columns_where_an_id_has_a_space(tmp_path: Path) -> None:
    path = tmp_path / "run.trec"
    write_run(path, {"q": {"Types of cheese:19": 1.0}}, tag="me")
    assert path.read_text() == "q\tQ0\tTypes of cheese:19\t1\t1.0\tme\n"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("q Q0 d 1 2.0", "has 5 columns"),
        ("q Q0 d 1 much tag", "field 'score': is 'much'"),
        ("q Q0 d 1 nan tag", "field 'score'"),
        ("q0 Q0 d0 2 0.5 tag", "lists passage 'd0' twice"),
    ],
)
def test_malformed_lines_are_named(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "run.trec"
    path.write_text(f"q0 Q0 d0 1 1.0 tag\n{line}\n")
    with pytest.raises(DataError) as caught:
        read_run(path)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert says in str(caught.value)


@given(st.binary(max_size=80))
def test_any_bytes_are_a_run_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("any") / "run.trec"
    path.write_bytes(content)
    try:
        run = read_run(path)
    except DataError:
        return
    write_run(path, run)
    assert read_run(path) == run
