"""The paper's recipe: every step, from native files of the five sets to the finished table."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import reproduce as recipe
from native_files import jsonl, one, write
from native_sets import FORMS
from paper_table import MEASURES, Published, markdown

from tiny import tiny_uniconv
from uniconv.config import load_config
from uniconv.config.strict import read_yaml, structure
from uniconv.data.catalogue import CATALOGUE
from uniconv.data.entry import Download
from uniconv.errors import UniConvError

PAPER = Path(recipe.__file__).parent
SETS = ("topiocqa", "qrecc", "orquac", "inscit", "faithdial")


def native(name: str) -> dict[str, bytes]:
    """The set's native files, with the split that the table reports."""
    files = dict(FORMS[name][1])
    if name == "faithdial":
        files["data/test.json"] = files["data/train.json"]
    if name == "orquac":
        rows = [json.loads(line) for line in files["preprocessed/dev.txt"].splitlines()]
        files["preprocessed/test.txt"] = jsonl(*rows)
        gold = {"C_1_0_q#0": {"9@0": 1, "9@1": 0}, "C_1_0_q#1": {"9@1": 1}}
        files["qrels.txt"] = one(gold)
    return files


class World:
    """Native files of all sets in a folder each, and what the driver is told."""

    def __init__(self, folder: Path) -> None:
        self.out = folder / "out"
        self.native = folder / "native"
        tiny_uniconv("mistral").save_pretrained(folder / "model")
        self.arguments = [
            *("--out", str(self.out), "--from", str(self.native), "--accept-licence"),
            *("--max-new-tokens", "3", "--set", f"model.path={folder / 'model'}"),
            *("model.conversation_tokens=96", "model.passage_tokens=48"),
            *("model.response_tokens=16", "optimisation.batch_size=2"),
            *("optimisation.accumulation=1", "optimisation.steps=2", "optimisation.precision=fp32"),
        ]

    def run(self, *more: str) -> None:
        recipe.main([*self.arguments[:-9], *more, *self.arguments[-9:]])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Everything, run once to its end."""
    world = World(tmp_path_factory.mktemp("paper"))
    with pytest.MonkeyPatch.context() as patch:
        for name in SETS:
            files = native(name)
            write(files, world.native / name)
            # The real files have checksums, which fixtures can't have.
            downloads = tuple(Download(path, None) for path in files)
            patch.setitem(CATALOGUE, name, replace(CATALOGUE[name], downloads=downloads))
        world.run()
    return world


def test_the_table_has_every_row_on_every_set(world: World) -> None:
    table = json.loads((world.out / "table.json").read_text())
    measured = {(row["row"], row["set"]): row["means"] for row in table["measured"]}
    rows = ("UniConv", "without CII", "without DDM", "separate retriever and generator")
    assert set(measured) == {(row, name) for row in rows for name in SETS}
    for means in measured.values():
        assert set(MEASURES) <= set(means)
    text = (world.out / "table.md").read_text()
    for name in SETS:
        assert f"\n## {name}\n" in text
    cell = f"{100 * measured['UniConv', 'topiocqa']['ndcg@3']:.1f} [42.6]"
    assert f"| UniConv | {cell} |" in text
    assert "without CII | " in text
    assert "[45.5]" in text


def test_rows_train_what_their_names_say(world: World) -> None:
    def config(name: str) -> dict[str, Any]:
        file = world.out / "models" / name / "model" / "uniconv.json"
        trained: dict[str, Any] = json.loads(file.read_text())["training"]["config"]
        return trained

    weights = {
        name: tuple(
            config(name)["objectives"][part] for part in ("retrieval", "generation", "alpha")
        )
        for name in ("joint", "no-cii", "retrieval", "generation")
    }
    assert weights == {
        "joint": (1, 1, 1),
        "no-cii": (1, 1, 0),
        "retrieval": (1, 0, 0),
        "generation": (0, 1, 0),
    }
    naive = config("no-ddm")["data"]["train"]
    assert [source["retrieval"] for source in naive] == ["responses", "none"] * 4
    assert config("joint")["model"]["method"] == "lora"
    pair = world.out / "results/separate-retriever-and-generator/orquac"
    made = json.loads((pair / "response/retrieved/result.json").read_text())["made_with"]
    assert made["generator"]["fingerprint"] != made["retriever"]["fingerprint"]


def test_training_gets_mined_negatives(world: World) -> None:
    report = json.loads((world.out / "data/orquac/train-mined.mining.json").read_text())
    assert report["report"]["mined"] > 0
    assert not (world.out / "data/topiocqa/train-mined.jsonl").exists()


def test_run_again_it_only_does_what_is_missing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = world.out / "results/UniConv/inscit/means.json"
    before = json.loads(gone.read_text())
    gone.unlink()
    measured: list[Path] = []
    measure = recipe.measure

    def watched(*arguments: Any) -> None:
        measured.append(arguments[2])
        measure(*arguments)

    monkeypatch.setattr(recipe, "measure", watched)
    world.run("--steps", "convert", "corpora", "mine", "train", "measure")
    assert measured == [gone.parent]
    assert json.loads(gone.read_text()) == before


def test_reduced_corpora_and_the_sets_that_are_measured(world: World, tmp_path: Path) -> None:
    out = tmp_path / "reduced"
    out.mkdir()
    (out / "data").symlink_to(world.out / "data")
    world.run(
        *("--out", str(out), "--passages", "1", "--steps", "corpora", "train", "measure", "table"),
        *("--rows", "without CII", "--sets", "orquac"),
    )
    assert len((out / "corpora/orquac.jsonl").read_text().splitlines()) == 2
    assert {path.name for path in (out / "results/without-CII").iterdir()} == {"orquac"}
    assert "**Corpora are reduced** to the positives and 1 other" in (out / "table.md").read_text()


def test_what_is_not_there_is_told(world: World) -> None:
    with pytest.raises(UniConvError, match=r"no row of joint; .*UniConv"):
        world.run("--rows", "joint")
    with pytest.raises(UniConvError, match=r"no set of squad; .*topiocqa"):
        world.run("--sets", "squad")


def test_the_base_is_a_training_configuration() -> None:
    base = load_config(PAPER / "base.yaml")
    assert base.model.path.startswith("mistralai/Mistral-7B-Instruct")
    assert (base.model.method, base.objectives.gamma) == ("lora", 0)
    paper = structure(read_yaml(PAPER / "rows.yaml"), recipe.Paper, "rows.yaml")
    rows, sets = {row.name for row in paper.rows}, {one.name for one in paper.sets}
    assert {one.row for one in paper.published} <= rows
    assert {one.set for one in paper.published} <= sets == set(SETS)
    assert {one.measure for one in paper.published} <= set(MEASURES)
    assert {one.source for one in paper.published} == {one.name for one in paper.sources}
    mined = {one.name for one in paper.sets if one.mine}
    trained = {source.set.name: source.split for source in base.data.train if source.set}
    assert {name for name, split in trained.items() if split == ("train-mined",)} == mined


def test_cells_are_empty_where_nothing_is_known() -> None:
    base = load_config(PAPER / "base.yaml")
    published = [Published("a", "s", "ndcg@3", 0.5, "there")]
    measured = {("a", "s"): {"ndcg@3": 0.25, "f1": 0.125}}
    text = markdown(["a", "b"], ["s"], measured, published, {"there": "A page."}, base, None)
    assert "| a | 25.0 [50.0] |  |  |  | 12.5 |" in text
    assert "| b |  |  |  |  |  |" in text
    assert "- there: A page." in text
    assert "reduced" not in text
