"""Training as a whole: stopped and resumed, split over passes, and gone wrong."""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from uniconv.config import TrainConfig, plain
from uniconv.errors import ConfigError, DataError
from uniconv.model import UniConv
from uniconv.training import trainer
from uniconv.training.checkpoints import checkpoints
from uniconv.training.failures import DivergedError
from uniconv.training.objective import Objective
from uniconv.training.optimisation import StopSignals
from uniconv.training.reporting import Window
from uniconv.training.trainer import Trainer, train
from uniconv.types import Passage

Configure = Callable[..., TrainConfig]


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    (file,) = folder.glob("*.safetensors")
    return load_file(file)


def _records(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text("utf-8").splitlines()]


def _stop_after(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Sends SIGTERM to this process while the step is being trained."""
    original = trainer.seed_step

    def seed_step(seed: int, number: int, process: int) -> None:
        if number == step - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        original(seed, number, process)

    monkeypatch.setattr(trainer, "seed_step", seed_step)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_resumed_equals_uninterrupted(
    method: str, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = {"method": method, "adapter": {"rank": 4}}  # with dropout, whose draws must resume too
    whole = configure("whole", model=model)
    parts = configure("parts", model=model)
    uninterrupted = _weights(train(whole))
    with monkeypatch.context() as patch:
        _stop_after(patch, 3)
        with pytest.raises(SystemExit) as stopped:
            train(parts)
    assert stopped.value.code == 128 + signal.SIGTERM
    assert [one.step for one in checkpoints(parts.output)] == [2, 3]
    resumed = _weights(train(parts))
    assert uninterrupted.keys() == resumed.keys()
    for name, value in uninterrupted.items():
        assert torch.equal(value, resumed[name]), name
    timeless = [
        [{**record, "train": {**record["train"], "tokens_per_second": 0}} for record in _records(o)]
        for o in (whole.output, parts.output)
    ]
    assert timeless[0] == timeless[1]


def test_a_finished_run_is_left_as_it_is(configure: Configure) -> None:
    config = configure(optimisation={"steps": 1})
    folder = train(config)
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert train(config) == folder == config.output / "model"
    assert (folder / "model.safetensors").stat().st_mtime_ns == before


def test_the_model_records_how_it_was_made(configure: Configure) -> None:
    config = configure(optimisation={"steps": 1})
    record = UniConv.from_pretrained(train(config)).training
    assert record is not None
    assert record["steps"] == 1
    assert record["config"]["optimisation"]["batch_size"] == 2
    assert {Path(path).name for path in record["data"]} == {"train.jsonl", "corpus.jsonl"}


def test_accumulated_generation_loss_equals_one_large_batch(configure: Configure) -> None:
    only = {"retrieval": 0.0, "generation": 1.0, "alpha": 0.0, "gamma": 0.5}
    found = []
    for batch, accumulation in ((4, 1), (2, 2), (1, 4)):
        split = {"batch_size": batch, "accumulation": accumulation}
        one = Trainer(configure(objectives=only, optimisation=split))
        one.optimizer.step = lambda: None
        one.optimizer.zero_grad = lambda **_: None
        window = Window()
        one._train_step(window, StopSignals())
        gradients = {name: p.grad for name, p in one.objective.named_parameters()}
        found.append((window.means()["generation"], window.means()["grounded"], gradients))
    for generation, grounded, gradients in found[1:]:
        assert generation == pytest.approx(found[0][0], rel=1e-5)
        assert grounded == pytest.approx(found[0][1], rel=1e-5)
        for name, gradient in gradients.items():
            assert torch.allclose(gradient, found[0][2][name], rtol=1e-3, atol=1e-6), name


def test_a_merged_adapter_computes_what_it_did_apart(configure: Configure) -> None:
    lora = {"method": "lora", "adapter": {"rank": 4}}
    apart = UniConv.from_pretrained(train(configure("apart", model=lora)))
    merged = UniConv.from_pretrained(train(configure("merged", model={**lora, "merge": True})))
    assert not (configure("merged").output / "model" / "adapter_config.json").exists()
    passages = [Passage("1", "Tower 3 opened in 1803."), Passage("2", "A hill.")]
    np.testing.assert_allclose(
        apart.encode_passages(passages), merged.encode_passages(passages), atol=2e-6
    )
    untrained = UniConv.from_pretrained(configure().model.path)
    assert (
        np.abs(untrained.encode_passages(passages) - merged.encode_passages(passages)).max() > 0.01
    )


def test_dev_turns_are_measured(configure: Configure) -> None:
    data = plain(configure())["data"]
    config = configure(data={"dev": data["train"]}, reporting={"evaluate_every": 2})
    train(config)
    measured = {r["step"]: r["dev"] for r in _records(config.output) if "dev" in r}
    assert measured.keys() == {2, 4}
    for dev in measured.values():
        assert dev["generation_perplexity"] == pytest.approx(math.exp(dev["generation"]))
        assert 0 < dev["retrieval_accuracy"] <= dev["retrieval_mrr"] <= 1
    assert measured[4]["generation"] < measured[2]["generation"]


def test_divergence_stops_the_run_and_keeps_the_last_checkpoint(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure(checkpoints={"every_steps": 1})
    combine = Objective.combine
    calls = iter(range(100))

    def spoiled(self: Objective, *arguments: Any) -> torch.Tensor:
        loss = combine(self, *arguments)
        return loss * float("nan") if next(calls) == 2 else loss

    monkeypatch.setattr(Objective, "combine", spoiled)
    with pytest.raises(DivergedError, match="diverged at step 3: gradient is not a finite"):
        train(config)
    assert [one.step for one in checkpoints(config.output)] == [1, 2]
    kept = _weights(checkpoints(config.output)[-1].folder)
    assert all(bool(value.isfinite().all()) for value in kept.values())
    assert not (config.output / "model").exists()


def test_another_configuration_may_not_go_on(configure: Configure) -> None:
    train(configure(optimisation={"steps": 1}))
    with pytest.raises(ConfigError, match=r"optimisation.steps: was 1, now 2"):
        train(configure(optimisation={"steps": 2}))
    with pytest.raises(ConfigError, match="already holds a run"):
        train(configure(optimisation={"steps": 1}, checkpoints={"resume": "never"}))


def test_other_data_may_not_go_on(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = configure().data.train[0].conversations[0].read_text("utf-8").splitlines()
    copy = tmp_path / "copy.jsonl"
    copy.write_text("\n".join(lines), "utf-8")
    source = {**plain(configure())["data"]["train"][0], "conversations": str(copy)}
    config = configure(data={"train": [source]})
    _stop_after(monkeypatch, 1)
    with pytest.raises(SystemExit):
        train(config)
    copy.write_text("\n".join(lines[1:]), "utf-8")
    with pytest.raises(ConfigError, match="other training data"):
        train(config)


def test_a_passage_that_is_nowhere_is_named(configure: Configure, tmp_path: Path) -> None:
    empty = tmp_path / "corpus.jsonl"
    empty.write_text('{"_id": "p1", "text": "x"}\n', "utf-8")
    source = {**plain(configure())["data"]["train"][0], "corpora": [str(empty)]}
    with pytest.raises(DataError, match=r"8 passages that are in none .* first 'p0'"):
        train(configure(data={"train": [source]}))


def test_limits_beyond_the_context_are_refused(configure: Configure) -> None:
    with pytest.raises(ConfigError, match=r"reads 512; lower model.conversation_tokens \(500\)"):
        train(configure(model={"conversation_tokens": 500}))


def test_sentences_of_what_is_shown_take_room(configure: Configure) -> None:
    data = {"sentence_negatives": 2, "grounded_passages": 60}
    with pytest.raises(ConfigError, match=r"data.grounded_passages \(60\)"):
        train(configure(data=data, objectives={"gamma": 0}))


def test_sentences_of_what_is_shown_are_learned_from(configure: Configure) -> None:
    data = {"sentence_negatives": 4, "grounded_passages": 3}
    config = configure(data=data, objectives={"gamma": 0})
    train(config)
    assert all(record["train"]["cii"] > 0 for record in _records(config.output))
