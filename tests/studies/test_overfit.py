"""One turn is learned by heart by random models, and a model that can't learn is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiny import tiny_uniconv
from uniconv.config import ModelConfig
from uniconv.data.conversations import write_conversations
from uniconv.errors import ConfigError, DataError
from uniconv.studies.overfit import (
    CONVERSATION,
    PASSAGES,
    OverfitConfig,
    learn_turn,
    overfit,
)
from uniconv.training.examples import Example
from uniconv.training.network import unfreeze


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_random_model_learns_a_turn(family: str) -> None:
    model = tiny_uniconv(family)
    unfreeze(model, ModelConfig("tiny", "full"))
    report = learn_turn(model, Example(CONVERSATION, 2, 0), PASSAGES, steps=150, learning_rate=0.01)
    assert report.learned, str(report)
    assert (report.rank, report.response) == (1, "It was lit in October 1871 [1].")
    assert report.losses["generation"] < 1
    assert report.losses["cii"] == 0


def test_a_model_that_does_not_learn_is_told() -> None:
    model = tiny_uniconv("llama")
    unfreeze(model, ModelConfig("tiny", "full"))
    report = learn_turn(model, Example(CONVERSATION, 2, 0), PASSAGES, steps=1, learning_rate=1e-9)
    assert not report.learned
    assert str(report).startswith("NOT learned after 1 steps\npassage: rank ")


def test_a_turn_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "conversations.jsonl"
    write_conversations(path, [CONVERSATION])
    with pytest.raises(ConfigError, match="no turn 'lighthouse_1'"):
        overfit(OverfitConfig("none", path, query_id="lighthouse_1"))
    with pytest.raises(DataError, match="no corpus holds passage 'marrow-2'"):
        overfit(OverfitConfig("none", path))
