"""Figures: what is drawn, from which values, and what is said where it can't be."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from saved_results import RUN, prediction_row, write_inputs, write_response, write_retrieval

from uniconv.errors import UniConvError
from uniconv.evaluation import figures
from uniconv.evaluation.plots import Drawn, draw_results, pool_depths, scores_by_relevance
from uniconv.evaluation.saved import read_results


@pytest.fixture
def config(tmp_path: Path) -> dict[str, str]:
    return write_inputs(tmp_path)


def draw(out: Path, *folders: Path, measures: list[str] | None = None) -> Drawn:
    pytest.importorskip("matplotlib")
    return draw_results(read_results(folders), out, measures)


def test_one_result_has_depths_and_scores(tmp_path: Path, config: dict[str, str]) -> None:
    drawn = draw(tmp_path / "out", write_retrieval(tmp_path / "dense", config))
    names = sorted(path.name for path in drawn.files)
    kinds = ("depth-ndcg-3", "depth-recall-10", "scores")
    assert names == sorted(f"{name}.{kind}" for name in kinds for kind in ("png", "svg"))
    assert drawn.skipped == ()
    for path in drawn.files:
        if path.suffix == ".png":
            assert path.read_bytes().startswith(b"\x89PNG")
        else:
            assert ElementTree.parse(path).getroot().tag.endswith("svg")


def test_results_of_a_kind_are_compared(tmp_path: Path, config: dict[str, str]) -> None:
    first = write_retrieval(tmp_path / "dense", config)
    second = write_retrieval(tmp_path / "$bm25_", config, dict.fromkeys(RUN, RUN["c_1"]))
    rows = [prediction_row(f"c_{turn}", "x", [], confidence=turn) for turn in (1, 2, 3)]
    response = write_response(tmp_path / "answers", config, rows, {"c_1": 0.5, "c_2": 1.0})
    drawn = draw(tmp_path / "out", first, second, response, measures=["mrr", "f1"])
    names = {path.stem for path in drawn.files}
    assert names == {"depth-mrr", "depth-f1", "compare-retrieval", "scores", "abstention"}


def test_the_same_result_gives_the_same_figure(tmp_path: Path, config: dict[str, str]) -> None:
    folder = write_retrieval(tmp_path / "dense", config)
    for first, again in zip(
        draw(tmp_path / "a", folder, measures=["mrr"]).files,
        draw(tmp_path / "b", folder, measures=["mrr"]).files,
        strict=True,
    ):
        assert first.read_bytes() == again.read_bytes()


def test_what_can_not_be_drawn_is_said(tmp_path: Path, config: dict[str, str]) -> None:
    first = write_response(tmp_path / "a", config, [], {"c_1": 0.5})
    second = write_response(tmp_path / "b", config, [], {"c_2": 0.5})
    drawn = draw(tmp_path / "out", first, second)
    assert drawn.files == ()
    assert [sentence.split(":")[0] for sentence in drawn.skipped] == [
        "No figure of f1 by depth",
        "No figure of abstention",
    ]


def test_an_unknown_measure_is_refused(tmp_path: Path, config: dict[str, str]) -> None:
    with pytest.raises(UniConvError, match=r"no result has the measure 'rouge'; there are map, "):
        draw(tmp_path, write_retrieval(tmp_path / "dense", config), measures=["rouge"])


def test_without_matplotlib_the_extra_is_named(
    tmp_path: Path, config: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert not figures.can_draw()
    results = read_results([write_retrieval(tmp_path / "dense", config)])
    with pytest.raises(UniConvError, match=r"uniconv\[plots\]"):
        draw_results(results, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_deep_turns_are_pooled_until_there_are_enough() -> None:
    depths = [1] * 12 + [2] * 11 + [3] * 6 + [4] * 5 + [5] * 2
    pools = pool_depths(depths, fewest=10)
    assert [(pool.label, pool.turns) for pool in pools] == [("1", 12), ("2", 11), ("3+", 13)]
    assert pools[2].depths == {3, 4, 5}
    assert [pool.label for pool in pool_depths([1] * 12 + [2] * 3, fewest=10)] == ["1+"]
    assert [pool.label for pool in pool_depths([1], fewest=10)] == ["1"]


def test_scores_are_told_apart_by_relevance(tmp_path: Path, config: dict[str, str]) -> None:
    folder = write_retrieval(tmp_path / "dense", config)
    relevant, others, judged = scores_by_relevance(folder)
    assert relevant == [0.9, 0.1]
    assert sorted(others) == [0.2, 0.5, 0.7, 0.8]
    assert judged == 3
