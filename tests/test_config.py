"""Settings are read strictly: every mistake is named by file and dotted key."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import tyro
import yaml
from hypothesis import given
from hypothesis import strategies as st

from uniconv.config import (
    DataConfig,
    ModelConfig,
    Objectives,
    Source,
    TrainConfig,
    check_config,
    config_from,
    load_config,
    located,
    plain,
)
from uniconv.config.strict import read_yaml
from uniconv.errors import ConfigError

BASE = {"output": "x", "model": {"path": "m"}, "data": {"train": [{"conversations": "c.jsonl"}]}}


def _load(tmp_path: Path, text: str, *overrides: str) -> TrainConfig:
    path = tmp_path / "train.yaml"
    path.write_text(text, "utf-8")
    return load_config(path, overrides)


def test_yaml_python_and_command_line_are_one_definition(tmp_path: Path) -> None:
    written = _load(tmp_path, f"{yaml.safe_dump(BASE)}optimisation: {{learning_rate: 2e-5}}\n")
    built = TrainConfig(Path("x"), ModelConfig("m"), DataConfig((Source((Path("c.jsonl"),)),)))
    assert written.optimisation.learning_rate == 2e-5
    assert replace(written, optimisation=built.optimisation) == built
    flags = ["--optimisation.learning-rate", "2e-5"]
    assert tyro.cli(TrainConfig, default=built, args=flags) == written


def test_a_configuration_survives_yaml(tmp_path: Path) -> None:
    config = config_from(BASE | {"objectives": {"gamma": 1, "temperature": 0.05}})
    assert _load(tmp_path, yaml.safe_dump(plain(config))) == config


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("optimisation: {lerning_rate: 1}", "optimisation.lerning_rate: unknown setting; did you "),
        ("optimisation: {lerning_rate: 1}", "mean 'learning_rate'?"),
        ("modle: 1", "modle: unknown setting; did you mean 'model'?"),
        ("zzz: 1", "zzz: unknown setting; known: output, model, data"),
        ("optimisation: {steps: 3.0}", "optimisation.steps: expected a whole number, not 3.0"),
        ("optimisation: {seed: yes}", "optimisation.seed: expected a whole number, not True"),
        ("optimisation: {schedule: cos}", "expected one of cosine, linear, constant, not 'cos'"),
        ("optimisation: {learning_rate: fast}", "learning_rate: expected a number, not 'fast'"),
        ("optimisation: {learning_rate: 0}", "expected a number above 0, not 0.0"),
        ("optimisation: {warmup: 2}", "expected a number of at least 0 and at most 1, not 2.0"),
        ("objectives: {alpha: .nan}", "objectives.alpha: expected a number of at least 0, not nan"),
        ("optimisation: [1]", "optimisation: expected settings by name"),
        ("output: y", "'output' is given twice"),
        ("reporting: {log_every: 'a", "not valid YAML"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path, f"{yaml.safe_dump(BASE)}{text}\n")
    assert problem in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "train.yaml"))


def test_mistakes_in_lists_are_named_by_their_place() -> None:
    source = {"conversations": "c", "corpora": ["a", 3], "weight": 0}
    with pytest.raises(ConfigError, match=r"data.train\[1\].corpora\[1\]: expected a path, not 3"):
        config_from(BASE | {"data": {"train": [{"conversations": "c"}, source]}})
    with pytest.raises(ConfigError, match=r"data.train\[0\].weight: expected a number above 0"):
        config_from(BASE | {"data": {"train": [{"conversations": "c", "weight": 0}]}})


def test_all_mistakes_are_listed() -> None:
    with pytest.raises(ConfigError) as caught:
        config_from({"output": 1, "data": {"train": []}, "more": 2})
    lines = str(caught.value).splitlines()
    assert lines[0] == "configuration: 3 settings are wrong"
    assert {line.split(":")[0].strip() for line in lines[1:]} == {"output", "model", "more"}


@pytest.mark.parametrize("text", ["", "- a", "text", "{a: b", "? [1]\n: 2"])
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError):
        _load(tmp_path, text)


def test_overrides_take_the_place_of_the_file(tmp_path: Path) -> None:
    text = yaml.safe_dump(BASE)
    config = _load(
        tmp_path, text, "optimisation.steps=7", "data.train[0].weight=0.5", "model.path=other"
    )
    assert config.optimisation.steps == 7
    assert config.data.train[0].weight == 0.5
    assert config.model.path == "other"


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("steps", "expected key=value"),
        ("=1", "expected key=value"),
        ("data.train[4].weight=1", "no place"),
        ("output.name=1", "no place"),
        ("optimisation.step=1", "did you mean 'steps'"),
        ("optimisation.steps=[", "not valid YAML"),
    ],
)
def test_wrong_overrides_are_named(tmp_path: Path, override: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        _load(tmp_path, yaml.safe_dump(BASE), override)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
_SECTIONS = st.sampled_from([*BASE, "objectives", "optimisation", "checkpoints", "reporting"])


@given(st.dictionaries(_SECTIONS, _VALUES), _VALUES)
def test_any_value_gives_a_configuration_or_one_error(
    sections: dict[str, object], value: object
) -> None:
    for candidate in (BASE | sections, value):
        try:
            assert isinstance(config_from(candidate), TrainConfig)
        except ConfigError as error:
            assert str(error)


def test_files_and_combinations_are_checked_before_anything_is_loaded(tmp_path: Path) -> None:
    config = config_from(BASE | {"output": str(tmp_path / "run")})
    with pytest.raises(ConfigError) as caught:
        check_config(config)
    assert "data.train[0].conversations: there is no file c.jsonl" in str(caught.value)
    assert "data.train[0].corpora: expected a file, since passages" in str(caught.value)
    nothing = replace(config, objectives=Objectives(0, 0, 0, 0))
    with pytest.raises(ConfigError, match="all weights are 0"):
        check_config(nothing)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is a file; name a folder"):
        check_config(replace(config, output=tmp_path / "file"))


def test_one_path_stands_for_a_list_of_one() -> None:
    (source,) = config_from(BASE).data.train
    assert source.conversations == (Path("c.jsonl"),)
    several = {"conversations": ["a.jsonl", "b.jsonl"], "corpora": "p.jsonl"}
    (source,) = config_from(BASE | {"data": {"train": [several]}}).data.train
    assert source == Source((Path("a.jsonl"), Path("b.jsonl")), (Path("p.jsonl"),))


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """Folders of sets: own has a corpus of its own, shared names one, test is for evaluation."""
    abouts = {
        "own": {},
        "shared": {"corpus": "../wiki/corpus.jsonl"},
        "test": {"evaluation_only": True},
        "bare": {},
        "broken": {},
    }
    for name, about in abouts.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.jsonl").touch()
        (tmp_path / name / "dataset.json").write_text(json.dumps(about))
    (tmp_path / "broken" / "dataset.json").write_text("{")
    (tmp_path / "stopped").mkdir()
    for name in ("own/dev.jsonl.gz", "own/dev.references.jsonl", "own/corpus.jsonl.gz"):
        (tmp_path / name).touch()
    (tmp_path / "test" / "corpus.jsonl").touch()
    (tmp_path / "wiki").mkdir()
    (tmp_path / "wiki" / "corpus.jsonl").touch()
    return tmp_path


def test_the_files_of_a_set_are_found(sets: Path) -> None:
    own = located(Source(set=sets / "own", split=("train", "dev")))
    assert own.conversations == (sets / "own/train.jsonl", sets / "own/dev.jsonl.gz")
    assert own.corpora == (sets / "own/corpus.jsonl.gz",)
    shared = located(Source(set=sets / "shared"))
    assert [path.resolve() for path in shared.corpora] == [sets / "wiki/corpus.jsonl"]
    given = Source(set=sets / "own", corpora=(sets / "wiki/corpus.jsonl",))
    assert located(given).corpora == given.corpora
    files = Source((Path("c"),))
    assert located(files) is files


def _problems(*sources: dict[str, object], part: str = "train", **data: object) -> str:
    """What is wrong with sources, or nothing."""
    value = {"train": [{"conversations": __file__, "corpora": __file__}], **data}
    config = config_from(BASE | {"output": "runs/none", "data": value | {part: list(sources)}})
    try:
        check_config(config)
    except ConfigError as error:
        return str(error)
    return ""


def test_sources_are_checked_before_anything_is_loaded(sets: Path) -> None:
    def of(name: str, **settings: object) -> dict[str, object]:
        return {"set": str(sets / name), **settings}

    assert _problems(of("own"), of("shared", split="train")) == ""
    assert "has no nowhere.jsonl; it has dev, train" in _problems(of("own", split="nowhere"))
    assert "[0].set: " in _problems(of("stopped"))
    assert "has no dataset.json" in _problems(of("stopped"))
    assert "dataset.json: can't be read" in _problems(of("broken"))
    assert "corpora: expected a file, since passages" in _problems(of("bare"))
    assert _problems(of("bare", retrieval="responses")) == ""
    assert "or a set, and not both" in _problems(of("own", conversations="c.jsonl"))
    assert "or a set, and not both" in _problems({"weight": 2})
    (sets / "wiki" / "corpus.jsonl").unlink()
    assert "corpora: there is no file" in _problems(of("shared"))


def test_sets_for_evaluation_are_refused_for_training(sets: Path) -> None:
    by_set = {"set": str(sets / "test")}
    by_file = {
        "conversations": str(sets / "test" / "train.jsonl"),
        "corpora": str(sets / "test" / "corpus.jsonl"),
    }
    for source, key in ((by_set, "set"), (by_file, "conversations")):
        problem = _problems(source)
        assert f"data.train[0].{key}: {sets / 'test'} is for evaluation only" in problem
        assert "set allow_evaluation_only" in problem
        assert _problems(source | {"allow_evaluation_only": True}) == ""
        assert _problems(source, part="dev") == ""


def test_the_documentations_configurations_are_valid(tmp_path: Path) -> None:
    written = tmp_path / "block.yaml"
    page = Path(__file__).parents[1] / "docs" / "training.md"
    blocks = re.findall(r"^```yaml\n(.*?)^```", page.read_text("utf-8"), re.S | re.M)
    configurations = []
    for block in blocks:
        written.write_text(block, "utf-8")
        configurations.append(config_from(BASE | read_yaml(written)))
    assert [len(config.data.train) for config in configurations] == [1, 3, 1, 1, 1]


def test_shares_are_for_all_sources_and_alone() -> None:
    files = {"conversations": __file__, "corpora": __file__}
    shared = files | {"share": 1}
    assert _problems(shared, files | {"share": 0.5}) == ""
    assert "data.train[1].share: is missing" in _problems(shared, files)
    assert "has a weight and a share" in _problems(shared | {"weight": 2})
    assert "mixing_temperature: sources have shares" in _problems(shared, mixing_temperature=2)


def test_the_import_is_light() -> None:
    code = "import sys, uniconv.config; print({'torch', 'transformers', 'peft'} & set(sys.modules))"
    source = str(Path(__file__).parents[1] / "src")
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": source},
    )
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("lengths", [[0], [8, 4], [4, 4]])
def test_matryoshka_lengths_rise(lengths: list[int]) -> None:
    config = config_from(BASE | {"objectives": {"matryoshka": lengths}})
    with pytest.raises(ConfigError, match=r"objectives.matryoshka: expected lengths of 1 or more"):
        check_config(config)
