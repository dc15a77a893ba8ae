"""Compared gradients are those of the parts, however the batch is read."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from tiny import tiny_uniconv
from uniconv.config import ModelConfig, Objectives
from uniconv.model import UniConv
from uniconv.training import gradients
from uniconv.training.batch import Batch, Contrast, Writing
from uniconv.training.forwards import Forward, Separate, Shared
from uniconv.training.gradcache import Cached
from uniconv.training.gradients import compare_gradients
from uniconv.training.network import unfreeze
from uniconv.training.objective import Objective

PROMPTS = [[1, 300, 301, 302, 5], [1, 310], [1, 320, 321]]
RESPONSES = [[306, 4], [307, 308, 309, 4], [311, 312, 4]]
DOCUMENTS = [[1, 330, 2], [1, 331, 332, 333, 2], [1, 334, 2]]


def _batch() -> Batch:
    part = Contrast(PROMPTS, DOCUMENTS, [0, 1, 2], [[7], [8], [9]], [7, 8, 9])
    other = Contrast(DOCUMENTS, PROMPTS, [2, 1, 0], [[9], [8], [7]], [7, 8, 9])
    return Batch(part, Writing(PROMPTS, RESPONSES), other, Writing())


def _by_autograd(objective: Objective, batch: Batch, part: str) -> torch.Tensor:
    parameters = [one for one in objective.parameters() if one.requires_grad]
    found = torch.autograd.grad(objective.sums(batch)[part], parameters, materialize_grads=True)
    return torch.cat([one.flatten() for one in found])


@pytest.mark.parametrize("way", [Shared, Separate, Cached])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_cosines_and_norms_equal_those_of_autograd(
    way: Callable[[UniConv, int], Forward], checkpointing: bool
) -> None:
    model = tiny_uniconv("qwen3")
    unfreeze(model, ModelConfig("tiny", "full"))
    if checkpointing:
        model.lm.gradient_checkpointing_enable({"use_reentrant": False})
    weights = Objectives(alpha=0.5, gamma=1, temperature=0.1)
    objective, batch = Objective(model, weights, way=way), _batch()
    objective.train()
    parts = {
        part: _by_autograd(objective, batch, part) for part in ("retrieval", "generation", "cii")
    }
    found = compare_gradients(objective, batch)
    expected = {
        f"cosine_{one}_{other}": float(parts[one] @ parts[other])
        / float(parts[one].norm() * parts[other].norm())
        for one, other in (("retrieval", "generation"), ("retrieval", "cii"), ("generation", "cii"))
    }
    expected["norm_retrieval"] = float(parts["retrieval"].norm()) / 3
    expected["norm_generation"] = float(parts["generation"].norm()) / 9
    expected["norm_cii"] = 0.5 * float(parts["cii"].norm()) / 3
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-5)
    assert all(abs(value) < 0.99 for name, value in found.items() if name.startswith("cosine"))
    assert all(one.grad is None for one in objective.parameters())
    assert objective.objectives == weights


def test_the_same_part_twice_pulls_the_same_way() -> None:
    writing = Writing(PROMPTS, RESPONSES)
    weights = Objectives(retrieval=0, alpha=0, gamma=2)
    found = compare_gradients(
        Objective(tiny_uniconv(), weights), Batch(generation=writing, grounded=writing)
    )
    assert found["cosine_generation_grounded"] == pytest.approx(1)
    assert found["norm_grounded"] == pytest.approx(2 * found["norm_generation"])


def test_a_part_alone_is_compared_with_nothing() -> None:
    objective = Objective(tiny_uniconv(), Objectives(alpha=0, gamma=1))
    assert compare_gradients(objective, Batch(generation=Writing(PROMPTS, RESPONSES))) == {}


def test_large_models_are_compared_by_some_of_their_tensors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    objective, batch = Objective(tiny_uniconv(), Objectives(alpha=0)), _batch()
    whole = compare_gradients(objective, batch)
    sizes: list[int] = []
    flat = gradients._gradient
    size = sum(one.numel() for one in objective.parameters())

    def gradient(parameter: torch.Tensor) -> torch.Tensor:
        sizes.append(parameter.numel())
        return flat(parameter)

    monkeypatch.setattr(gradients, "_gradient", gradient)
    monkeypatch.setattr(gradients, "NUMBERS", size // 2)
    found = compare_gradients(objective, batch)
    assert 0 < sum(sizes) <= 2 * (size // 2)
    assert found.keys() == whole.keys()
    assert not math.isclose(found["norm_retrieval"], whole["norm_retrieval"])
