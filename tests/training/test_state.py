"""The tensors of a run on disk; split over processes they are tested in test_distributed.py."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from uniconv.errors import UniConvError
from uniconv.training.state import RunState


class Network(nn.Module):
    """Two layers, the second of which is never used, and one that is frozen."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.used, self.idle, self.frozen = (nn.Linear(width, 2) for _ in range(3))
        self.frozen.requires_grad_(False)


def _run(width: int = 3, steps: int = 0) -> tuple[Network, torch.optim.AdamW, RunState]:
    network = Network(width)
    trained = [one for one in network.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.1)
    for _ in range(steps):
        network.used(torch.ones(1, width)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    averages = {"used.weight": torch.full((2, width), float(steps))}
    return network, optimizer, RunState(network, optimizer, averages)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    network, optimizer, state = _run(steps=2)
    expected = state.tensors()
    assert {name for name in expected if "frozen" in name} == set()
    assert {name for name in expected if "idle" in name} == {
        "weights.idle.weight",
        "weights.idle.bias",
    }
    state.write(tmp_path)
    other, its_optimizer, its_state = _run()
    its_state.read(tmp_path)
    found = its_state.tensors()
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
    for one in (network, other):  # and goes on alike
        one.used(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    its_optimizer.step()
    assert torch.equal(network.used.weight, other.used.weight)


def test_nothing_that_is_read_could_be_executed(tmp_path: Path) -> None:
    _run(steps=1)[2].write(tmp_path)
    assert [path.suffix for path in tmp_path.iterdir()] == [".safetensors"]


def test_another_model_is_refused(tmp_path: Path) -> None:
    _run(steps=1)[2].write(tmp_path)
    with pytest.raises(UniConvError, match="not the whole checkpoint of this model"):
        _run(width=4)[2].read(tmp_path)


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    _run(steps=1)[2].write(tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UniConvError, match=r"can't be read .* go on from the checkpoint before"):
        _run()[2].read(tmp_path)
