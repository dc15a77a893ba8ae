"""The studies on the command line: what they are told, and that mistakes are one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from command import run
from uniconv.config import (
    AblationConfig,
    AlphaConfig,
    ConsistencyConfig,
    OverheadConfig,
    load_study,
)

ROOT = Path(__file__).parents[2]
STUDIES = ("ablation", "alpha", "consistency", "overhead")


@pytest.fixture
def recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with the recipes of studies and empty files where they look for data."""
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    for name in ("topiocqa/dev.jsonl", "wiki/corpus.jsonl"):
        (tmp_path / "data" / name).parent.mkdir(parents=True)
        (tmp_path / "data" / name).touch()
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_is_told_its_configuration(
    name: str, recipes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    monkeypatch.setattr(f"uniconv.studies.{name}.{name}", told.append)
    status = run("study", name, f"recipes/studies/{name}.yaml", "--set", "output=elsewhere")
    assert status == 0
    assert told[0].output == Path("elsewhere")
    assert type(told[0]).__name__ == f"{name.capitalize()}Config"


@pytest.mark.parametrize("name", STUDIES)
def test_mistakes_are_told_in_a_sentence(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("study", name, "nowhere.yaml") == 2
    assert (
        capsys.readouterr().err
        == "uniconv: nowhere.yaml: can't be read (No such file or directory)\n"
    )


def test_the_recipes_share_a_base_of_the_embedded_model(recipes: None) -> None:
    kinds = (AblationConfig, AlphaConfig, ConsistencyConfig)
    for name, kind in zip(STUDIES, kinds, strict=False):
        study = load_study(Path(f"recipes/studies/{name}.yaml"), kind)
        assert study.base().model.path == "embedded"
        larger = load_study(
            Path(f"recipes/studies/{name}.yaml"), kind, ["set=[model.path=some/model]"]
        )
        assert larger.base().model.path == "some/model"
    load_study(Path("recipes/studies/overhead.yaml"), OverheadConfig)
