"""Results side by side: differences, what may be compared, and the report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from command import run
from uniconv.data.beir import write_qrels
from uniconv.data.lines import write_jsonl
from uniconv.data.runs import write_run
from uniconv.errors import UniConvError
from uniconv.evaluation.breakdowns import write_groups
from uniconv.evaluation.comparison import Comparison, compare_results
from uniconv.evaluation.comparison_report import comparison_markdown
from uniconv.evaluation.saved import read_results
from uniconv.evaluation.significance import randomisation_test
from uniconv.evaluation.summary import bootstrap_interval, conversations_of
from uniconv.files import sha256, write_json

QUERIES = [f"c{number}_{turn}" for number in range(20) for turn in (1, 2)]
NOISE = np.random.default_rng(0).random((3, len(QUERIES)))


def write(folder: Path, values: Mapping[str, Mapping[str, float]]) -> Path:
    write_jsonl(folder / "queries.jsonl", ({"_id": id, **row} for id, row in values.items()))
    write_qrels(folder / "qrels.tsv", {id: {"p": 1} for id in values})
    write_run(folder / "run.trec", {id: {"p": 1.0, "q": 0.5} for id in values})
    groups = {"depth": {id: [id[-1]] for id in values}, "type": {QUERIES[0]: ["why"]}}
    write_groups(folder, values, groups)
    write_json(folder / "result.json", {"config": {}, "queries": len(values)})
    return folder


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Three results: the second is better than the first, the third like the first."""
    shifts = {"low": 0.0, "high": 0.5, "same": 0.02}
    return [
        write(
            tmp_path / name,
            {
                id: {"ndcg@3": 0.5 * NOISE[row, place] + shift, "mrr": NOISE[0, place]}
                for place, id in enumerate(QUERIES)
            },
        )
        for row, (name, shift) in enumerate(shifts.items())
    ]


def compare(folders: list[Path], *measures: str, by: tuple[str, ...] = ()) -> Comparison:
    return compare_results(read_results(folders), measures, by=by)


def test_differences_are_those_of_the_second_from_the_first(folders: list[Path]) -> None:
    comparison = compare(folders)
    assert comparison.measures == ["ndcg@3", "mrr"]
    assert list(comparison.differences) == [("low", "high"), ("low", "same"), ("high", "same")]
    found = comparison.differences[("low", "high")]["ndcg@3"]
    expected = (0.5 * (NOISE[1] - NOISE[0]) + 0.5)[:, None]
    clusters = conversations_of(QUERIES)
    low, high = bootstrap_interval(expected, clusters)
    assert (found.mean, found.low, found.high) == pytest.approx((expected.mean(), low[0], high[0]))
    assert found.p == randomisation_test(expected, clusters)[0]
    assert found.adjusted == pytest.approx(3 * found.p)  # as is that of the third, so both by 3
    assert found.queries == 40
    alike = comparison.differences[("low", "same")]["ndcg@3"]
    assert not alike.significant
    assert alike.adjusted == alike.p  # the last of the three
    same = comparison.differences[("low", "high")]["mrr"]
    assert (same.mean, same.low, same.high, same.p) == (0, 0, 0, 1)


def test_what_is_significantly_better_is_marked(folders: list[Path]) -> None:
    comparison = compare(folders)
    assert comparison.beaten_by("high", "ndcg@3") == ["low", "same"]
    assert comparison.beaten_by("low", "ndcg@3") == comparison.beaten_by("high", "mrr") == []
    lines = comparison_markdown(comparison).splitlines()
    assert lines[2] == "|  | result | queries | ndcg@3 | mrr |"
    row = next(line for line in lines if line.startswith("| b | high | 40 |"))
    assert "[ac]" in row
    assert any(line.startswith("| b − a | **+0.") for line in lines)


def test_two_results_need_no_correction(folders: list[Path]) -> None:
    pair = compare(folders[:2], "ndcg@3").differences[("low", "high")]
    assert list(pair) == ["ndcg@3"]
    assert pair["ndcg@3"].p == pair["ndcg@3"].adjusted


def test_a_measure_is_compared_where_both_have_it(tmp_path: Path) -> None:
    one = {id: {"f1": 0.5} for id in QUERIES}
    other = {id: {"f1": 0.5} for id in QUERIES}
    one[QUERIES[0]] = {"f1": 0.5, "cited": 1.0}
    one[QUERIES[2]] = {"f1": 0.5, "cited": 0.0}
    other[QUERIES[2]] = {"f1": 0.5, "cited": 1.0}
    comparison = compare([write(tmp_path / "a", one), write(tmp_path / "b", other)])
    found = comparison.differences[("a", "b")]["cited"]
    assert (found.queries, found.mean, found.p) == (1, 1.0, 1.0)
    assert "n=2" in comparison_markdown(comparison)
    del other[QUERIES[2]]["cited"]
    other[QUERIES[4]] = {"f1": 0.5, "cited": 1.0}
    comparison = compare([write(tmp_path / "a", one), write(tmp_path / "b", other)])
    assert list(comparison.differences[("a", "b")]) == ["f1"]


def test_other_queries_and_other_judgements_are_refused(folders: list[Path]) -> None:
    rows = {id: {"ndcg@3": 0.0} for id in QUERIES}
    write(folders[1], {id: rows[id] for id in QUERIES[3:]})
    with pytest.raises(UniConvError, match="low has 3 that high lacks, such as 'c0_1'"):
        compare(folders[:2])
    write(folders[1], rows | {"z_1": {"ndcg@3": 0.0}})
    with pytest.raises(UniConvError, match="high has 1 that low lacks, such as 'z_1'"):
        compare(folders[:2])
    write(folders[1], rows)
    write_qrels(folders[1] / "qrels.tsv", {id: {"other": 1} for id in QUERIES})
    with pytest.raises(UniConvError, match="were judged differently: 40 queries, such as 'c0_1'"):
        compare(folders[:2])


def test_what_is_not_there_is_named(folders: list[Path]) -> None:
    with pytest.raises(UniConvError, match="at least two"):
        compare(folders[:1])
    with pytest.raises(UniConvError, match="measure 'f1'; they share ndcg@3, mrr"):
        compare(folders, "f1")
    with pytest.raises(UniConvError, match="broken down by 'topic'; there are depth, type"):
        compare(folders, by=("topic",))
    write(folders[1], {id: {"f1": 0.0} for id in QUERIES})
    with pytest.raises(UniConvError, match="low and high share no measure"):
        compare(folders[:2])


def test_the_command_prints_and_writes(
    folders: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ("evaluate", "compare", *folders, "--by", "depth", "type", "--out", out)
    assert run(*arguments) == 0
    printed = capsys.readouterr().out
    text = (out / "compare.md").read_text()
    assert text in printed
    assert "### ndcg@3 by depth\n\n|  | queries | a | b | c |" in text
    assert "| why | 1 |" in text
    written = json.loads((out / "compare.json").read_text())
    assert written["results"]["low"]["queries"] == 40
    assert written["inputs"]["high"]["sha256"] == sha256(folders[1] / "result.json")
    first = written["differences"][0]
    assert (first["from"], first["to"]) == ("low", "high")
    assert first["measures"]["ndcg@3"]["adjusted"] < 0.01
