"""The tree gives the losses and gradients of separate sequences (DESIGN: tree == separate)."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft.tuners.lora import LoraLayer
from torch import nn
from torch.nn.functional import cross_entropy

from tiny import FAMILIES, tiny_uniconv
from uniconv.config import Adapter, DataConfig, ModelConfig, Objectives, Source
from uniconv.model import Settings, UniConv
from uniconv.templates import Limits
from uniconv.training.batch import PARTS, Batch, Contrast, Writing
from uniconv.training.collate import Collator
from uniconv.training.examples import Example, Examples
from uniconv.training.forwards import Forward, Outputs, Separate, Shared, choose
from uniconv.training.gradcache import Cached
from uniconv.training.losses import head_cross_entropy
from uniconv.training.network import unfreeze
from uniconv.training.objective import Objective
from uniconv.types import Conversation, Passage, Turn

WEIGHTS = Objectives(retrieval=1, generation=0.7, alpha=0.5, gamma=0.3, temperature=0.1)
PASSAGES = {f"p{n}": Passage(f"p{n}", "deforms under weight " * n, f"Ice {n}") for n in range(6)}
WORDS = ["tower", "harbour", "1893", "who", "built", "it", "opened", "spring", "é", "漢字"]
TEXTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map(" ".join)
IDS = st.lists(st.sampled_from(sorted(PASSAGES)), max_size=2, unique=True).map(tuple)
TURNS = st.builds(Turn, TEXTS, TEXTS, st.none(), IDS, IDS)
CONVERSATIONS = st.lists(
    st.lists(TURNS, min_size=1, max_size=5).map(tuple), min_size=1, max_size=3
).map(lambda all: [Conversation(f"c{n}", turns) for n, turns in enumerate(all)])
FIXED = [
    Conversation(
        "a",
        tuple(
            Turn(f"who built tower {n}, and when?", f"Family {n} did [1].", None, (f"p{n}",), ())
            for n in range(5)
        ),
    ),
    Conversation("b", (Turn("who?", "The harbour.", None, ("p1", "p5"), ("p2",)),)),
]


MASKED = replace(WEIGHTS, session_mask=True)
MATRYOSHKA = replace(WEIGHTS, matryoshka=(3, 8))
LIKELIHOODS = replace(WEIGHTS, cii="likelihoods", cii_temperature=0.7)


def batch_of(
    model: UniConv, conversations: list[Conversation], weights: Objectives = WEIGHTS
) -> Batch:
    source = Source((Path("c"),), (Path("p"),))
    examples = [
        Example(one, number, 0) for one in conversations for number in range(1, len(one.turns) + 1)
    ]
    pool = list(PASSAGES.values())
    collate = Collator(
        model.template,
        Examples([source], examples, [PASSAGES], [pool]),
        DataConfig((source,), grounded_passages=2),
        weights,
    )
    return collate((place, random.Random(place)) for place in range(len(examples)))


Found = tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]


def run(
    model: UniConv,
    batch: Batch,
    way: Callable[[UniConv, int], Forward],
    tokens: int = 16_384,
    weights: Objectives = WEIGHTS,
) -> Found:
    """Sums by part and gradients by parameter."""
    objective = Objective(model, weights, forward_tokens=tokens, way=way)
    objective.zero_grad()
    loss, sums = objective(batch, [1 / max(1, count) for count in batch.counts])
    loss.backward()
    gradients = {
        name: one.grad.clone() for name, one in objective.named_parameters() if one.requires_grad
    }
    return {**sums, "loss": loss.detach()}, gradients


def trainable(family: str, method: str, dropout: float = 0.0) -> UniConv:
    model = tiny_uniconv(family)
    if method == "lora":
        unfreeze(model, ModelConfig("", adapter=Adapter(rank=4, dropout=dropout)))
        for name, parameter in model.network.named_parameters():
            if "lora_B" in name:  # zero at first, which would leave A without a gradient
                nn.init.normal_(parameter, std=0.1)
    return model


def assert_equal(model: UniConv, batch: Batch, tokens: int = 16_384) -> None:
    assert_same(run(model, batch, Shared, tokens), run(model, batch, Separate))


def assert_same(found: Found, expected: Found) -> None:
    shared, shared_gradients = found
    separate, separate_gradients = expected
    assert shared.keys() == separate.keys() >= {*PARTS}
    for name in (*PARTS, "loss"):
        torch.testing.assert_close(shared[name], separate[name], rtol=1e-5, atol=1e-5)
    whole = torch.cat([one.flatten() for one in separate_gradients.values()])
    difference = torch.cat(
        [(shared_gradients[name] - one).flatten() for name, one in separate_gradients.items()]
    )
    assert difference.norm() <= 1e-5 * max(1e-3, float(whole.norm()))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", ["full", "lora"])
def test_tree_equals_separate(family: str, method: str) -> None:
    model = trainable(family, method)
    assert isinstance(Objective(model, WEIGHTS).run, Shared)
    batch = batch_of(model, FIXED)
    assert min(batch.counts) > 0
    assert_equal(model, batch)
    assert_equal(model, batch, tokens=120)  # several trees, which repeat what they share


@pytest.mark.parametrize("way", [Shared, Cached])
@pytest.mark.parametrize("tokens", [16_384, 120])
def test_matryoshka_lengths_are_learned_alike(
    way: Callable[[UniConv, int], Forward], tokens: int
) -> None:
    model = trainable("llama", "lora")
    batch = batch_of(model, FIXED)
    found = run(model, batch, way, tokens, MATRYOSHKA)
    assert_same(found, run(model, batch, Separate, weights=MATRYOSHKA))
    whole = run(model, batch, Separate)
    assert found[0]["retrieval"] > whole[0]["retrieval"] + 1
    for name in ("retrieval_mrr", "retrieval_alignment", "cii", "generation"):
        torch.testing.assert_close(found[0][name], whole[0][name], rtol=1e-5, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(CONVERSATIONS, st.sampled_from([16_384, 150]))
def test_tree_equals_separate_for_any_conversations(
    conversations: list[Conversation], tokens: int
) -> None:
    model = tiny_uniconv("qwen3", limits=Limits(conversation=60, passage=20, response=8))
    assert_equal(model, batch_of(model, conversations), tokens)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", ["full", "lora"])
def test_likelihoods_of_responses_are_those_of_separate_sequences(family: str, method: str) -> None:
    model = trainable(family, method)
    batch = batch_of(model, FIXED, LIKELIHOODS)
    assert len(batch.cii) == 6
    expected = run(model, batch, Separate, weights=LIKELIHOODS)
    nothing = run(model, Batch(), Separate, weights=LIKELIHOODS)
    for way, tokens in ((Shared, 16_384), (Shared, 120), (Cached, 16_384), (Cached, 120)):
        assert_same(run(model, batch, way, tokens, LIKELIHOODS), expected)
        assert_same(run(model, Batch(), way, tokens, LIKELIHOODS), nothing)


@settings(max_examples=15, deadline=None)
@given(CONVERSATIONS, st.sampled_from([16_384, 150]))
def test_likelihoods_equal_separate_for_any_conversations(
    conversations: list[Conversation], tokens: int
) -> None:
    model = tiny_uniconv("qwen3", limits=Limits(conversation=60, passage=20, response=8))
    batch = batch_of(model, conversations, LIKELIHOODS)
    expected = run(model, batch, Separate, weights=LIKELIHOODS)
    assert_same(run(model, batch, Shared, tokens, LIKELIHOODS), expected)


def test_likelihoods_are_the_models_own() -> None:
    model = tiny_uniconv()
    batch = batch_of(model, FIXED, LIKELIHOODS)
    scores = torch.empty(len(batch.cii.queries), len(batch.cii.documents))
    for row, prompt in enumerate(batch.cii.queries):
        for column, response in enumerate(batch.cii.documents):
            logits = model.lm(input_ids=torch.tensor([prompt + response])).logits[0]
            after = logits[len(prompt) - 1 : -1].log_softmax(1)
            scores[row, column] = after.gather(1, torch.tensor(response)[:, None]).mean()
    wanted = cross_entropy(scores / 0.7, torch.tensor(batch.cii.labels), reduction="sum")
    found = Objective(model, LIKELIHOODS).sums(batch)
    torch.testing.assert_close(found["cii"], wanted, rtol=1e-5, atol=1e-5)
    own = scores.gather(1, torch.tensor(batch.cii.labels)[:, None])
    assert found["cii_accuracy"] == ((scores >= own).sum(1) == 1).sum()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_the_session_mask_is_that_of_separate_sequences(family: str, attention: str) -> None:
    model = tiny_uniconv(family)
    model.lm.set_attn_implementation(attention)
    batch = batch_of(model, FIXED, MASKED)
    marker = model.template.marker
    for prompt, wall in zip(batch.generation.prompts, batch.generation.walls, strict=True):
        assert prompt[wall] == marker
    expected = run(model, batch, Separate, weights=MASKED)
    for way, tokens in ((Shared, 16_384), (Shared, 120), (Cached, 16_384), (Cached, 120)):
        assert_same(run(model, batch, way, tokens, MASKED), expected)
    seen, _ = run(model, batch_of(model, FIXED), Separate)
    assert not torch.isclose(seen["generation"], expected[0]["generation"])
    torch.testing.assert_close(seen["grounded"], expected[0]["grounded"])


@settings(max_examples=15, deadline=None)
@given(CONVERSATIONS, st.sampled_from([16_384, 150]))
def test_the_session_mask_equals_separate_for_any_conversations(
    conversations: list[Conversation], tokens: int
) -> None:
    model = tiny_uniconv("llama", limits=Limits(conversation=60, passage=20, response=8))
    batch = batch_of(model, conversations, MASKED)
    expected = run(model, batch, Separate, weights=MASKED)
    assert_same(run(model, batch, Shared, tokens, MASKED), expected)


def test_a_masked_response_sees_its_conversation_through_the_marker_alone() -> None:
    model = tiny_uniconv()
    # One layer carries nothing further than one step: what is behind the marker is out of reach.
    model.lm.base_model.layers = model.lm.base_model.layers[:1]
    losses = []
    for word in ("tower", "harbour"):
        talk = [Conversation("c", (Turn(f"the {word}?", "It was lit."),))]
        parts = {"generation": batch_of(model, talk, MASKED).generation}
        losses.append(Shared(model, 1000)(parts).losses["generation"])
    torch.testing.assert_close(*losses, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("pooling", ["mean", "weighted_mean"])
def test_tree_equals_separate_with_every_pooling(pooling: str) -> None:
    model = tiny_uniconv(settings=Settings(pooling=pooling))  # type: ignore[arg-type]
    assert_equal(model, batch_of(model, FIXED))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("tokens", [16_384, 120, 1])
def test_gradcache_equals_plain(family: str, method: str, tokens: int) -> None:
    model = trainable(family, method)
    batch = batch_of(model, FIXED)
    assert_same(run(model, batch, Cached, tokens), run(model, batch, Separate))
    assert_same(run(model, Batch(), Cached, tokens), run(model, Batch(), Separate))


@settings(max_examples=15, deadline=None)
@given(CONVERSATIONS, st.sampled_from([400, 100]))
def test_gradcache_equals_plain_for_any_conversations(
    conversations: list[Conversation], tokens: int
) -> None:
    model = tiny_uniconv("mistral", limits=Limits(conversation=60, passage=20, response=8))
    batch = batch_of(model, conversations)
    assert_same(run(model, batch, Cached, tokens), run(model, batch, Shared, tokens))


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("way", [Shared, Separate, Cached])
def test_gradient_checkpointing_changes_no_gradient(
    way: Callable[[UniConv, int], Forward], method: str
) -> None:
    model = trainable("llama", method)
    model.network.train()
    read: list[int] = []
    model.lm.base_model.layers[0].mlp.register_forward_pre_hook(lambda *_: read.append(1))
    batch = batch_of(model, FIXED)
    choose(model, 120)  # tries ways to read, before passes are counted
    read.clear()
    plain = run(model, batch, way, 120)
    passes = len(read)
    model.lm.gradient_checkpointing_enable({"use_reentrant": False})
    assert_same(run(model, batch, way, 120), plain)
    with_graph = passes // 2 if way is Cached else passes
    assert len(read) - passes == passes + with_graph  # layers are run again for the gradients


class Noted(Shared):
    """Keeps the embeddings that it found, by pass, and counts tokens of responses."""

    def __init__(self, model: UniConv, forward_tokens: int) -> None:
        super().__init__(model, forward_tokens)
        self.embeddings: list[torch.Tensor] = []
        self.written: list[int] = []

    def forward(self, parts: Mapping[str, Contrast | Writing]) -> Outputs:
        outputs = super().forward(parts)
        found = [one for pair in outputs.embeddings.values() for one in pair]
        self.embeddings.append(torch.cat(found).detach())
        writings = (part for part in parts.values() if isinstance(part, Writing))
        self.written.append(sum(len(one.responses) for one in writings))
        return outputs


def test_the_first_run_of_gradcache_reads_what_is_compared() -> None:
    model = trainable("llama", "lora")
    batch = batch_of(model, FIXED)
    cached = Cached(model, 120, Noted)
    run(model, batch, lambda *_: cached)
    noted = cached.innermost
    assert isinstance(noted, Noted)
    passes = len(noted.written) // 2
    assert passes > 1
    assert not any(noted.written[:passes])
    assert sum(noted.written[passes:]) == len(batch.generation.prompts + batch.grounded.prompts)


def test_both_runs_of_gradcache_draw_the_same_dropout() -> None:
    model = trainable("llama", "lora", dropout=0.5)
    model.network.train()
    cached = Cached(model, 120, Noted)
    noted = cached.innermost
    assert isinstance(noted, Noted)
    torch.manual_seed(0)
    run(model, batch_of(model, FIXED), lambda *_: cached)
    noted.embeddings = noted.embeddings[1:]  # with which it was seen that numbers are drawn
    passes = len(noted.embeddings) // 2
    assert passes > 1
    for first, second in zip(noted.embeddings[:passes], noted.embeddings[passes:], strict=True):
        torch.testing.assert_close(first, second)
    after = torch.rand(1)
    run(model, batch_of(model, FIXED), lambda *_: cached)
    third = torch.cat(noted.embeddings[2 * passes : 3 * passes])
    assert not torch.allclose(torch.cat(noted.embeddings[:passes]), third)
    assert torch.rand(1) != after  # the second runs leave the stream of random numbers alone


def test_a_conversation_is_read_once() -> None:
    model = tiny_uniconv()
    turns = tuple(
        Turn(f"And who built the tower number {n}, and when was it?", f"It was opened in 189{n}.")
        for n in range(8)
    )
    conversation = Conversation("long", turns)
    batch = batch_of(model, [conversation])
    read: list[int] = []
    objective = Objective(model, Objectives(retrieval=0, alpha=0))
    assert model.reader.reads_trees  # tried before tokens are counted
    model.lm.base_model.register_forward_pre_hook(
        lambda _module, _args, kwargs: read.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    objective.sums(batch)
    assert sum(read) <= len(model.template.conversation(conversation))
    assert sum(read) < batch.tokens / 4


def test_a_logit_cap_is_read_separately() -> None:
    model = tiny_uniconv()
    forward = model.lm.forward

    def capped(*args: object, **options: object) -> object:
        output = forward(*args, **options)
        output.logits = torch.tanh(output.logits)
        return output

    model.lm.forward = capped
    assert isinstance(choose(model, 100), Separate)
    assert isinstance(choose(tiny_uniconv(), 100), Shared)


@pytest.mark.parametrize("rows", [1, 3, 100])
def test_chunks_of_logits_change_nothing(rows: int) -> None:
    torch.manual_seed(0)
    head = nn.Linear(8, 20)
    states = torch.randn(7, 8, requires_grad=True)
    targets = torch.randint(0, 20, (7,))
    expected = cross_entropy(head(states), targets, reduction="sum")
    (2 * expected).backward()
    wanted = [states.grad, head.weight.grad, head.bias.grad]
    states.grad = None
    head.zero_grad()
    found = head_cross_entropy(head, states, targets, rows=rows)
    (2 * found).backward()
    torch.testing.assert_close(found, expected)
    for one, other in zip([states.grad, head.weight.grad, head.bias.grad], wanted, strict=True):
        torch.testing.assert_close(one, other)


def test_a_frozen_head_passes_gradients_to_the_states_alone() -> None:
    head = nn.Linear(8, 20).requires_grad_(False)
    states = torch.randn(3, 8, requires_grad=True)
    head_cross_entropy(head, states, torch.tensor([1, 2, 3]), rows=2).backward()
    assert states.grad is not None
    assert head.weight.grad is None
    with torch.no_grad():
        assert head_cross_entropy(head, states, torch.tensor([1, 2, 3])).item() > 0


@pytest.mark.parametrize("checkpointing", [False, True])
def test_an_adapter_over_bfloat16_is_not_fed_float32(checkpointing: bool) -> None:
    """The same loss and gradients as with PEFT's casts, which autocast takes back."""
    model = tiny_uniconv("llama")
    model.lm.to(torch.bfloat16)
    unfreeze(model, ModelConfig("", "lora", Adapter(dropout=0.0)))
    adapters = [one for one in model.network.modules() if isinstance(one, LoraLayer)]
    torch.manual_seed(1)
    for adapter in adapters:  # which begin as nothing
        nn.init.normal_(adapter.lora_B["default"].weight, std=0.1)
    if checkpointing:
        model.lm.gradient_checkpointing_enable({"use_reentrant": False})
    model.network.train()
    batch = batch_of(model, FIXED)
    assert model.reader.reads_trees and model.reader.has_plain_head  # tried without autocast
    fed: list[torch.dtype] = []
    hooks = [
        adapter.lora_dropout["default"].register_forward_pre_hook(
            lambda _, inputs: fed.append(inputs[0].dtype)
        )
        for adapter in adapters
    ]
    found = _under_autocast(model, batch)
    assert set(fed) == {torch.bfloat16}
    embedding = model.embed([[5, 6, model.template.marker]])  # without autocast
    assert embedding.dtype == torch.float32 and set(fed) == {torch.bfloat16, torch.float32}
    for hook in hooks:
        hook.remove()
    for adapter in adapters:  # as PEFT does it by itself
        adapter._forward_pre_hooks.clear()
        adapter.cast_input_dtype_enabled = True
    for one, other in zip(found, _under_autocast(model, batch), strict=True):
        assert one.keys() == other.keys()
        for name in one:
            torch.testing.assert_close(one[name], other[name], rtol=0, atol=0)


def _under_autocast(model: UniConv, batch: Batch) -> Found:
    objective = Objective(model, WEIGHTS, bf16=True)
    objective.zero_grad()
    loss, sums = objective(batch, [1 / count for count in batch.counts])
    loss.backward()
    gradients = {
        name: one.grad.clone() for name, one in objective.named_parameters() if one.requires_grad
    }
    return {**sums, "loss": loss.detach()}, gradients


def test_the_objective_needs_no_index() -> None:
    """So that it can be measured where faiss and the readers' libraries are missing."""
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('faiss', 'bm25s', 'pyarrow', 'pypdf')));"
        "import uniconv.training.objective, uniconv.training.gradcache, uniconv.engine"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
