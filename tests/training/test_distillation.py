"""What a teacher adds to the objective: formulas, equal ways through the LM, and who is refused."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tiny import FAMILIES, tiny_uniconv
from training.test_forwards import FIXED, PASSAGES, assert_same, trainable
from uniconv.config import DataConfig, Distillation, Objectives, Source
from uniconv.errors import ConfigError
from uniconv.model import UniConv
from uniconv.training.batch import Batch
from uniconv.training.collate import Collator
from uniconv.training.distillation import Distiller, TokenTeacher
from uniconv.training.examples import Example, Examples
from uniconv.training.forwards import Separate, Shared
from uniconv.training.gradcache import Cached
from uniconv.training.objective import Objective
from uniconv.training.teacher_embeddings import embed_once

NAMES = ("retrieval_scores", "retrieval_embeddings", "generation_tokens", "grounded_tokens")
WEIGHTS = Objectives(
    retrieval=0.6,
    generation=0.7,
    alpha=0.5,
    gamma=0.3,
    temperature=0.1,
    scores=1.0,
    embeddings=3.0,
    tokens=0.4,
    grounded_tokens=0.2,
)
ALONE = Objectives(0, 0, 0, 0, 0.1, scores=1.0, embeddings=3.0, tokens=0.4, grounded_tokens=0.2)


def _examples() -> Examples:
    source = Source((Path("c"),), (Path("p"),))
    turns = [Example(one, number, 0) for one in FIXED for number in range(1, len(one.turns) + 1)]
    return Examples([source], turns, [PASSAGES], [list(PASSAGES.values())])


def _batch(model: UniConv, examples: Examples, weights: Objectives) -> Batch:
    source = examples.sources[0]
    collate = Collator(
        model.template, examples, DataConfig((source,), grounded_passages=2), weights
    )
    return collate((place, random.Random(place)) for place in range(len(examples)))


def _distiller(student: UniConv, folder: Path, teacher: UniConv | None = None) -> Distiller:
    teacher = teacher or tiny_uniconv(seed=1)
    embeddings = embed_once(teacher, [_examples()], folder, temperature=0.2, reads="all")
    return Distiller(
        Distillation("tiny", token_temperature=2.0), embeddings, TokenTeacher(teacher, student, 500)
    )


def _run(
    objective: Objective, batch: Batch
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    loss, sums = objective(batch, [1 / max(1, count) for count in batch.counts])
    loss.backward()
    gradients = {n: p.grad.clone() for n, p in objective.named_parameters() if p.requires_grad}
    return {**sums, "loss": loss.detach()}, gradients


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("way", ["trees", "small trees", "gradcache"])
def test_every_way_equals_separate(family: str, way: str, tmp_path: Path) -> None:
    model = trainable(family, "lora" if family == "mistral" else "full")
    distiller = _distiller(model, tmp_path)
    batch = _batch(model, _examples(), WEIGHTS)
    found = []
    for one in (Separate, Cached if way == "gradcache" else Shared):
        objective = Objective(
            model,
            WEIGHTS,
            forward_tokens=16_384 if way == "trees" else 120,
            way=one,
            distiller=distiller,
        )
        objective.zero_grad()
        found.append(_run(objective, batch))
    assert found[0][0].keys() >= {*NAMES}
    for name in NAMES:
        assert found[0][0][name] > 0.01
        torch.testing.assert_close(found[1][0][name], found[0][0][name], rtol=1e-4, atol=1e-5)
    assert_same(found[1], found[0])


def test_a_teacher_alone_trains_the_student_alone(tmp_path: Path) -> None:
    student, teacher = tiny_uniconv(), tiny_uniconv(seed=1)
    objective = Objective(student, ALONE, distiller=_distiller(student, tmp_path, teacher))
    batch = _batch(student, _examples(), ALONE)
    assert batch.counts[2] == 0  # no context identification
    own = {id(parameter) for parameter in student.network.parameters()}
    assert {id(parameter) for parameter in objective.parameters()} == own
    optimizer = torch.optim.Adam(objective.parameters(), lr=0.01)
    losses = []
    for _ in range(8):
        loss, sums = objective(batch, [1 / max(1, count) for count in batch.counts])
        assert "generation" not in sums
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append({name: sums[name].item() for name in NAMES})
    assert all(losses[-1][name] < 0.9 * losses[0][name] for name in NAMES), losses
    for parameter in teacher.network.parameters():
        assert parameter.grad is None
        assert not parameter.requires_grad


def test_scores_and_relations_equal_loops(tmp_path: Path) -> None:
    student, teacher = tiny_uniconv(), tiny_uniconv(seed=1)
    weights = replace(ALONE, tokens=0.0, grounded_tokens=0.0)
    batch = _batch(student, _examples(), weights)
    with torch.no_grad():
        objective = Objective(student, weights, distiller=_distiller(student, tmp_path, teacher))
        found = objective.sums(batch)
        # One model after another, text by text, with the same templates.
        texts = [*batch.retrieval.queries, *batch.retrieval.documents]
        own, taught = ([model.embed([text])[0] for text in texts] for model in (student, teacher))
    queries = len(batch.retrieval)
    expected = 0.0
    for row in range(queries):
        both = []
        for vectors, temperature in ((taught, 0.2), (own, 0.1)):
            scores = [math.exp(float(vectors[row] @ d) / temperature) for d in vectors[queries:]]
            both.append([score / sum(scores) for score in scores])
        expected += sum(p * math.log(p / q) for p, q in zip(*both, strict=True))
    assert found["retrieval_scores"].item() == pytest.approx(expected, rel=1e-3)
    distances = [1 - float(a @ b) for a, b in zip(own, taught, strict=True)]
    of_queries = sum(distances[:queries]) / queries
    of_documents = sum(distances[queries:]) / (len(texts) - queries)
    mean = found["retrieval_embeddings"].item() / queries
    assert mean == pytest.approx((of_queries + of_documents) / 2, rel=1e-4)


def test_distributions_are_those_of_the_teacher_itself(tmp_path: Path) -> None:
    student, teacher = tiny_uniconv(), tiny_uniconv(seed=1)
    batch = _batch(student, _examples(), ALONE)
    soft = TokenTeacher(teacher, student, 500).targets(batch.grounded, 1.0)
    for prompt, response, states in zip(
        batch.grounded.prompts, batch.grounded.responses, soft.states, strict=True
    ):
        with torch.no_grad():
            logits = teacher.lm(torch.tensor([prompt + response])).logits[0]
        torch.testing.assert_close(
            soft.head(states), logits[len(prompt) - 1 : -1], rtol=1e-4, atol=1e-5
        )


def test_another_tokenizer_is_refused_and_the_sequence_level_named() -> None:
    student, teacher = tiny_uniconv(), tiny_uniconv(seed=1)
    teacher.name = "wise"
    teacher.tokenizer.add_tokens(["harbour"])
    with pytest.raises(
        ConfigError, match=r"wise has another tokenizer .*sequence level: .*responses"
    ):
        TokenTeacher(teacher, student, 500)


def test_another_prompt_format_is_refused() -> None:
    student, teacher = tiny_uniconv(), tiny_uniconv(seed=1, chat_template=None)
    with pytest.raises(ConfigError, match=r"another prompt format .*model.template"):
        TokenTeacher(teacher, student, 500)


def test_logits_that_are_changed_after_the_head_are_refused() -> None:
    student, teacher = tiny_uniconv(), tiny_uniconv(seed=1)
    forward = teacher.lm.forward

    def capped(*args: object, **options: object) -> object:
        output = forward(*args, **options)
        output.logits = torch.tanh(output.logits)
        return output

    teacher.lm.forward = capped
    with pytest.raises(ConfigError, match="changes its logits"):
        TokenTeacher(teacher, student, 500)
