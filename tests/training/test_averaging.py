"""The average of weights: what it is, that it is evaluated and saved, and that it resumes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from training.test_stages import assert_same, records, stop_after, weights
from uniconv.config import TrainConfig, plain
from uniconv.training.averaging import Average
from uniconv.training.checkpoints import checkpoints
from uniconv.training.trainer import train

_OWN = "weights."
Configure = Callable[..., TrainConfig]


def test_the_average_forgets_at_its_decay() -> None:
    network = nn.Linear(2, 1)
    network.bias.requires_grad_(False)
    nn.init.constant_(network.weight, 0.0)
    average = Average(network, decay=0.5)
    wanted = 0.0
    for step in range(20):
        nn.init.constant_(network.weight, float(step))
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        wanted = decay * wanted + (1 - decay) * step
    with average.in_place():
        assert network.weight.flatten().tolist() == pytest.approx([wanted] * 2)
    assert network.weight.flatten().tolist() == [19.0, 19.0]


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_run_with_an_average_resumes_exactly(
    method: str, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    sections = {"model": {"method": method, "adapter": {"rank": 4}}, "optimisation": {"ema": 0.9}}
    uninterrupted = weights(train(configure("whole", **sections)))
    parts = configure("parts", **sections)
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        with pytest.raises(SystemExit):
            train(parts)
    assert_same(weights(train(parts)), uninterrupted)


def test_the_average_is_what_is_evaluated_and_saved(configure: Configure) -> None:
    dev = {"dev": plain(configure())["data"]["train"]}
    found = {}
    for name, decay in (("plain", None), ("average", 0.9)):
        config = configure(name, data=dev, optimisation={"ema": decay})
        saved = weights(train(config))
        held = weights(checkpoints(config.output)[-1].folder).items()
        last = {name[len(_OWN) :]: value for name, value in held if name.startswith(_OWN)}
        found[name] = saved, last, records(config.output)[-1]["dev"]["generation"]
    (saved, last, loss), (average, trained, average_loss) = found["plain"], found["average"]
    assert_same(saved, last)
    assert_same(trained, last)  # averaging leaves training alone
    assert any(not torch.equal(average[name], value) for name, value in trained.items())
    assert average_loss != loss
