"""Records are read back as they were written, also after a run was resumed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from uniconv.config import TrainConfig, training
from uniconv.errors import ConfigError
from uniconv.training.failures import Failure
from uniconv.training.loggers import JsonLines, Loggers, TensorBoard, Tracker
from uniconv.training.reporting import Reporter
from uniconv.training.stages import Moment
from uniconv.training.trainer import train

Configure = Callable[..., TrainConfig]

FAILURE = Failure("forgetting", "the perplexity rose")


def _moment(step: int) -> Moment:
    return Moment(step, "joint", step / 10)


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_a_file_forgets_what_lies_after_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    log = JsonLines(path, 0)
    for step in (1, 2, 3):
        log.measured(_moment(step), "train", {"loss": float("inf") if step == 1 else 1.5})
    log.warned(_moment(3), FAILURE)
    with path.open("a", encoding="utf-8") as file:
        file.write('{"step": 2, "tr')  # cut short by a crash
    resumed = JsonLines(path, 2)
    resumed.measured(_moment(3), "train", {"loss": 2.0})
    resumed.warned(_moment(3), FAILURE)
    assert _lines(path) == [
        {"step": 1, "stage": "joint", "epoch": 0.1, "train": {"loss": None}},
        {"step": 2, "stage": "joint", "epoch": 0.2, "train": {"loss": 1.5}},
        {"step": 3, "stage": "joint", "epoch": 0.3, "train": {"loss": 2.0}},
        {
            "step": 3,
            "stage": "joint",
            "epoch": 0.3,
            "warning": {"name": "forgetting", "text": "the perplexity rose"},
        },
    ]
    JsonLines(path, 0)  # a run that begins again
    assert _lines(path) == []


def _events(folder: Path) -> dict[str, list[tuple[int, Any]]]:
    """What TensorBoard's own back end makes of the files: steps and values by tag."""
    from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()

    def value(proto: Any) -> float | str:
        array = make_ndarray(proto).reshape(-1)
        return array[0].decode() if array.dtype == object else round(float(array[0]), 6)

    return {
        tag: [(one.step, value(one.tensor_proto)) for one in events.Tensors(tag)]
        for tag in events.Tags()["tensors"]
    }


def test_tensorboard_is_read_back_without_duplicates(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    first = TensorBoard(tmp_path, 0)
    for step in (0, 2, 4):
        first.measured(_moment(step), "dev", {"loss": 1.5 - step})
    first.warned(_moment(4), FAILURE)
    first.close()
    resumed = TensorBoard(tmp_path, 2)
    resumed.measured(_moment(4), "dev", {"loss": -7.5})
    resumed.warned(_moment(4), FAILURE)
    resumed.close()
    assert _events(tmp_path) == {
        "dev/loss": [(0, 1.5), (2, -0.5), (4, -7.5)],
        "dev/epoch": [(0, 0.0), (2, 0.2), (4, 0.4)],
        "warning/forgetting/text_summary": [(4, "the perplexity rose")],
    }


def test_a_run_of_two_parts_is_one_in_all_files(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard")
    reporting = {"loggers": ["jsonl", "tensorboard"], "log_every": 2, "diagnose_every": 2}
    config = configure(reporting=reporting, checkpoints={"every_steps": 3})
    with monkeypatch.context() as patch:
        # The power fails after the fourth step was logged, one after the checkpoint.
        record = Loggers.record

        def fail(self: Loggers, moment: Moment, what: str, *told: Any) -> None:
            record(self, moment, what, *told)
            if moment.step == 4 and what == "train":
                raise RuntimeError("power failure")

        patch.setattr(Loggers, "record", fail)
        with pytest.raises(RuntimeError):
            train(config)
    train(config)
    lines = _lines(config.output / "metrics.jsonl")
    moments = [(line["step"], "train" in line) for line in lines]
    assert moments == [(0, False), (2, True), (2, False), (4, True), (4, False)]
    events = _events(config.output / "tensorboard")
    assert [step for step, _ in events["train/loss"]] == [2, 4]
    assert [step for step, _ in events["diagnosis/cosine_retrieval_cii"]] == [0, 2, 4]
    told = {line["step"]: line["train"]["loss"] for line in lines if "train" in line}
    assert dict(events["train/loss"]) == pytest.approx(told, rel=1e-5)


class _Service(ModuleType):
    """A tracker that keeps what it is sent, as trackio and wandb do."""

    def __init__(self) -> None:
        super().__init__("trackio")
        self.begun: list[dict[str, Any]] = []
        self.sent: list[tuple[int, dict[str, float]]] = []
        self.alerts: list[tuple[str, str]] = []
        self.finished = 0

    def init(self, **options: Any) -> _Service:
        self.begun.append(options)
        return self

    def log(self, values: dict[str, float], step: int) -> None:
        self.sent.append((step, values))

    def alert(self, title: str, text: str) -> None:
        self.alerts.append((title, text))

    def finish(self) -> None:
        self.finished += 1


def test_a_service_is_not_sent_anything_twice(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = _Service()
    monkeypatch.setitem(sys.modules, "trackio", service)
    config = configure()
    config.output.mkdir()
    first = Tracker("trackio", config, 0)
    for step in (2, 4):
        first.measured(_moment(step), "train", {"loss": 1.0})
        first.warned(_moment(step), FAILURE)
    resumed = Tracker("trackio", config, 2)
    for step in (4, 6):
        resumed.measured(_moment(step), "train", {"loss": 1.0})
        resumed.warned(_moment(step), FAILURE)
    resumed.measured(_moment(4), "dev", {"loss": 2.0})  # was never sent
    resumed.close()
    assert [(step, sorted(values)) for step, values in service.sent] == [
        *((step, ["train/epoch", "train/loss"]) for step in (2, 4, 6)),
        (4, ["dev/epoch", "dev/loss"]),
    ]
    assert [text for _, text in service.alerts] == [
        f"step {step}: the perplexity rose" for step in (2, 4, 6)
    ]
    begun, again = service.begun
    assert begun["name"] == again["name"]
    assert begun["config"]["optimisation"]["steps"] == 4
    Tracker("trackio", config, 0)
    assert service.begun[2]["name"] != begun["name"]  # another run in the same folder


@pytest.mark.parametrize("name", ["trackio", "wandb"])
def test_a_real_service_takes_a_run(
    name: str, configure: Configure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # read when it is imported
    pytest.importorskip(name)
    config = configure(reporting={"loggers": [name], "diagnose_every": 2})
    train(config)
    state = json.loads((config.output / f"{name}.json").read_text("utf-8"))
    assert state["sent"] == {"train": 4, "diagnosis": 4}
    if name == "wandb":
        assert list((config.output / "wandb").glob("offline-run-*"))


def test_a_missing_package_is_named_before_a_model_is_loaded(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "find_spec", lambda _: None)
    config = configure(reporting={"loggers": ["terminal", "wandb"]}, model={"path": "nowhere"})
    with pytest.raises(
        ConfigError, match=r"loggers: wandb needs its extra .pip install 'uniconv\[wandb\]"
    ):
        train(config)


def test_an_unknown_logger_is_refused(configure: Configure) -> None:
    with pytest.raises(ConfigError, match=r"loggers\[0\]: expected one of terminal, jsonl, tens"):
        configure(reporting={"loggers": ["mlflow"]})


def test_only_the_first_process_has_loggers(configure: Configure, tmp_path: Path) -> None:
    config = configure()
    everything = Loggers(config, Reporter(1, 0, shown=False), 0, main=False)
    everything.record(_moment(1), "train", {"loss": 1.0}, [FAILURE])
    assert not config.output.exists()


def test_the_terminal_is_silent_where_it_is_no_logger(
    configure: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    train(configure("quiet", reporting={"loggers": ["jsonl"]}, optimisation={"steps": 1}))
    assert "step 1/1" not in capsys.readouterr().err
    told = {"loggers": ["terminal"], "diagnose_every": 1}
    train(configure("told", reporting=told, optimisation={"steps": 1}))
    shown = capsys.readouterr().err
    assert "step 1/1 train: loss" in shown
    assert "there is no data.dev: the perplexity of held-out responses is not measured" in shown
    assert not (configure("told").output / "metrics.jsonl").exists()
