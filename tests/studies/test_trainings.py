"""Ablation, alpha and consistency from a configuration to the report, and gone on with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from uniconv.config import AblationConfig, AlphaConfig, ConsistencyConfig, load_study
from uniconv.errors import ConfigError, UniConvError
from uniconv.studies import runs as runs_module
from uniconv.studies.ablation import ablation
from uniconv.studies.alpha import alpha, pareto
from uniconv.studies.consistency import ambiguity, consistency, grouped, margin

QUIET = Console(quiet=True)
Write = Callable[..., Path]


def figures(folder: Path) -> set[str]:
    return {path.name for path in (folder / "figures").iterdir()}


def test_an_ablation_goes_on_where_it_stopped(
    write_study: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_study(variants=["joint", "no-ddm"], seeds=[0, 1])
    study = load_study(path, AblationConfig)
    whole = ablation(load_study(path, AblationConfig, [f"output={tmp_path}/whole"]), QUIET)

    measured: list[Path] = []
    measure = runs_module.measure

    def stops(*arguments: Any) -> None:
        if len(measured) == 2:
            raise KeyboardInterrupt
        measured.append(arguments[2])
        measure(*arguments)

    monkeypatch.setattr(runs_module, "measure", stops)
    with pytest.raises(KeyboardInterrupt):
        ablation(study, QUIET)
    assert not (study.output / "report.md").exists()
    measured.clear()
    result = ablation(study, QUIET)
    assert measured == [study.output / name / "seed-1" for name in ("joint", "no-ddm")]
    assert result["variants"] == whole["variants"]

    assert json.loads((study.output / "result.json").read_text()) == result
    assert len(result["runs"]) == 4
    assert result["config"]["seeds"] == [0, 1]
    assert result["variants"]["no-ddm"]["ndcg@3"]["reach"] is not None
    report = (study.output / "report.md").read_text()
    assert "| without DDM |" in report
    assert "## f1 over turns, response/retrieved" in report
    assert figures(study.output) == {"variants.png", "variants.svg"}
    folder = study.output / "joint" / "seed-0"
    assert not (folder / "index").exists()
    assert (folder / "train" / "model" / "uniconv.json").exists()


def test_runs_with_other_settings_are_refused(write_study: Write) -> None:
    path = write_study(variants=["joint"], seeds=[0], keep_indexes=True)
    study = load_study(path, AblationConfig)
    ablation(study, QUIET)
    assert (study.output / "joint" / "seed-0" / "index").exists()
    with pytest.raises(ConfigError, match=r"optimisation\.steps: was 2, now 3"):
        ablation(load_study(path, AblationConfig, ['set=["optimisation.steps=3"]']), QUIET)
    with pytest.raises(ConfigError, match="other settings or other data"):
        ablation(load_study(path, AblationConfig, ["evaluation.max_new_tokens=4"]), QUIET)


def test_alpha_draws_the_pareto_front(write_study: Write) -> None:
    study = load_study(write_study(alphas=[1, 0], seeds=[0]), AlphaConfig)
    result = alpha(study, QUIET)
    assert list(result["variants"]) == ["alpha-0", "alpha-1"]
    assert set(result["pareto"]) <= set(result["variants"])
    assert result["pareto"]
    assert {"pareto.png", "pareto.svg", "by-alpha.png", "by-alpha.svg"} == figures(study.output)
    without = json.loads((study.output / "alpha-0/seed-0/train/model/uniconv.json").read_text())
    assert without["training"]["config"]["objectives"]["alpha"] == 0


def test_the_pareto_front() -> None:
    points = {"a": (0.1, 0.9), "b": (0.5, 0.5), "c": (0.4, 0.4), "d": (0.9, 0.1), "e": (0.9, 0.05)}
    assert pareto(points) == ["a", "b", "d"]
    assert pareto({"one": (1.0, 1.0), "same": (1.0, 1.0)}) == ["one", "same"]


def test_consistency_compares_the_sides_on_ambiguous_turns(write_study: Write) -> None:
    study = load_study(write_study(share=0.25), ConsistencyConfig)
    result = consistency(study, QUIET)
    assert {name: len(turns) for name, turns in result["groups"].items()} == {
        "ambiguous": 2,
        "between": 4,
        "clear": 2,
    }
    assert result["margins"]["unified"]["ambiguous"] < result["margins"]["unified"]["clear"]
    found = {(one["kind"], one["group"]): one for one in result["compared"]}
    row = found["response", "ambiguous"]
    difference = row["unified less separate"]["f1"]["mean"]
    means = [row["means"][side]["f1"]["mean"] for side in ("unified", "separate")]
    assert difference == pytest.approx(means[0] - means[1])
    assert {"ambiguity.png", "ambiguity.svg"} == figures(study.output)
    pair = study.output / "separate" / "seed-0"
    weights = [
        json.loads((pair / side / "model" / "uniconv.json").read_text())["training"]["config"][
            "objectives"
        ]
        for side in ("retriever", "generator")
    ]
    assert [(one["retrieval"], one["generation"]) for one in weights] == [(1, 0), (0, 1)]
    made = json.loads((pair / "response/retrieved/result.json").read_text())["made_with"]
    assert made["generator"]["fingerprint"] != made["retriever"]["fingerprint"]


def test_margins() -> None:
    assert margin([0.5, 0.9, 0.7]) == pytest.approx(0.2 / 0.163299, rel=1e-4)
    assert margin([3.0]) == float("inf")
    assert margin([1.0, 1.0]) == 0


def test_ambiguity_is_by_the_mean_rank_of_margins() -> None:
    sure = {"a": {"x": 1.0, "y": 0.0, "z": 0.0}, "b": {"x": 1.0, "y": 0.9, "z": 0.0}}
    torn = {"a": {"x": 0.2, "y": 0.2, "z": 0.0}, "b": {"x": 10.0, "y": 9.0, "z": 0.0}}
    assert ambiguity([sure]) == {"a": 1.0, "b": 0.0}
    assert ambiguity([sure, torn]) == {"a": 0.5, "b": 0.5}  # whatever the scores' scale
    assert ambiguity([sure, {"a": torn["a"]}]) == {"a": 0.0}
    places = {"a": 0.9, "b": 0.1, "c": 0.5, "d": 0.2, "e": 0.8}
    assert grouped(places, 0.4) == {
        "ambiguous": ["b", "d"],
        "between": ["c"],
        "clear": ["e", "a"],
    }


def test_too_few_turns_are_told() -> None:
    with pytest.raises(UniConvError, match="only 2 turns"):
        grouped({"a": 0.0, "b": 1.0}, 0.3)


def test_mistakes_are_told_before_anything_is_loaded(write_study: Write, tmp_path: Path) -> None:
    for override, problem in (
        ("seeds=[0,0]", "seeds: one is given twice"),
        ("seeds=[]", "seeds: expected at least one"),
        ("variants=[jont]", r"variants\[0\]: expected one of joint"),
        ("evaluation.corpora=[]", "evaluation.corpora: expected at least one file"),
        ("evaluation.corpora=[none.jsonl]", r"evaluation.corpora\[0\]: there is no file none"),
        ("evaluation.passages=[none]", "evaluation.passages: expected 'retrieved'"),
        ("evaluation.turns=0", "evaluation.turns: expected a number of at least 1"),
        ("evaluation.turn=1", "did you mean 'turns'"),
    ):
        with pytest.raises(ConfigError, match=problem):
            load_study(write_study(), AblationConfig, [override])
    with pytest.raises(ConfigError, match="alphas: expected numbers of at least 0"):
        load_study(write_study(), AlphaConfig, ["alphas=[-1]"])
