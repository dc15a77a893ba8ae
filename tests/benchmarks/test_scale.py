"""The laws of benchmarks/scale.py, against what is known of them."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig

import scale_model as laws
from machine import hardware
from scale_model import Rates, Shape, Turn
from scale_rates import build, sample
from uniconv.model import UniConv

RATES = Rates(
    flops=1e9,
    read=1e-4,
    bm25=2e-4,
    train=1e-9,
    add=1e-10,
    exact=1e-9,
    exact_start=1e-3,
    ivf=1e-9,
    ivf_start=2e-3,
    text_bytes=700,
    bm25_bytes=500,
    answers=((1, 3.0), (4, 6.0), (16, 8.0)),
)


def test_operations_are_those_that_torch_counts() -> None:
    config = LlamaConfig(
        vocab_size=97,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        attn_implementation="eager",  # the counter doesn't know every fused kernel
    )
    lm, tokens = LlamaForCausalLM(config), 40
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        lm.model(input_ids=torch.ones(1, tokens, dtype=torch.long))
    shape = Shape.of(config)
    # The counter takes the whole square of the scores, of which the half behind is masked.
    square = 4 * shape.layers * shape.attention * tokens**2
    triangle = 4 * shape.layers * shape.attention * tokens * (tokens + 1) / 2
    assert shape.reading(tokens) - triangle + square == counter.get_total_flops()


def test_reading_in_two_parts_is_the_same_work() -> None:
    shape = Shape.of(MistralConfig())
    assert shape.reading(30) + shape.reading(70, 30) == pytest.approx(shape.reading(100))
    assert shape.weights + 2 * shape.head == pytest.approx(7.24e9, rel=0.01)
    assert shape.cache(1) == 131_072  # 2 x 32 layers x 8 heads x 128 x 2 bytes


def test_large_indexes_are_built_and_searched_by_lists() -> None:
    small, large = 100_000, 400_000
    assert laws.is_exact(small)
    assert not laws.is_exact(large)
    assert laws.indexing(RATES, small, 8) == pytest.approx(30.0)
    assert laws.indexing(RATES, large, 8) > 120.0
    assert laws.searching(RATES, small, 8) == pytest.approx(1e-3 + 1e-9 * 800_000)
    twice = laws.searching(RATES, 4 * large, 8) - RATES.ivf_start
    assert twice == pytest.approx(2 * (laws.searching(RATES, large, 8) - RATES.ivf_start))
    assert laws.disk(RATES, large, 8).total == large * (700 + 500 + 32 + 16)


def test_one_server_that_takes_one_at_a_time_is_the_queue_of_the_textbooks() -> None:
    """M/M/1: with a server that is busy half of the time, one waits as long as one is served."""
    load = laws.simulate((0.0, lambda _: 0.01, 1), 100, rate=0.5, seconds=200_000)
    waits = [one - 0.01 for one in load.first]
    assert sum(waits) / len(waits) == pytest.approx(1.0, rel=0.05)
    assert load.answers == pytest.approx(0.5, rel=0.02)
    assert sum(load.whole) / len(load.whole) == pytest.approx(2.0, rel=0.05)


@pytest.mark.parametrize("clients, answers", [(1, 3.0), (4, 6.0), (16, 8.0), (64, 8.0)])
def test_the_simulation_gives_measured_answers_back(clients: int, answers: float) -> None:
    replica = laws.measured_replica(RATES, Turn(), 16)
    load = laws.simulate(replica, Turn().answer, clients=clients, seconds=2000)
    assert load.answers == pytest.approx(answers, rel=0.04)


def test_reading_holds_up_everybody() -> None:
    load = laws.simulate((1.0, lambda _: 0.001, 4), 1, clients=8, seconds=1000)
    assert load.answers == pytest.approx(1.0, rel=0.05)


def test_replicas_are_as_many_as_the_load_needs() -> None:
    replica = laws.measured_replica(RATES, Turn(), 16)
    count, load = laws.replicas_for(replica, Turn(), 20.0, search=0.0)
    assert count == 3  # two give 16 answers a second, three 24
    assert load.percentile(load.first, 0.95) <= 2.0
    fewer = laws.simulate(replica, 100, rate=20.0 / (count - 1))
    assert fewer.percentile(fewer.first, 0.95) > 2.0


def test_a_card_holds_what_its_memory_takes() -> None:
    card = hardware()["a100"]
    shape = Shape.of(MistralConfig())
    reading, step, width = laws.gpu_replica(card, shape, Turn(), 0.5)
    assert width == 64
    assert step(1) == pytest.approx(2 * (shape.weights + shape.head) / 1.02e12, rel=0.02)
    assert step(64) > step(1)
    assert 0 < reading < 1
    narrow = laws.gpu_replica(card._replace(memory=20e9), shape, Turn(), 0.5)[2]
    assert 1 <= narrow < 64


def test_a_collection_that_grows_is_built_size_after_size(tmp_path: Path) -> None:
    rng = random.Random(0)
    corpus = tmp_path / "corpus.jsonl"
    with corpus.open("w", encoding="utf-8") as file:
        for number in range(300):
            text = " ".join(rng.choice(("harbour", "tower", "bridge", "river")) for _ in range(9))
            row = {"_id": f"p{number}", "title": f"Title {number}", "text": text}
            file.write(json.dumps(row) + "\n")
    assert [one.id for one in sample(corpus, 3, first=3)] == ["p0", "p1", "p2"]
    model = UniConv.from_pretrained("embedded", device="cpu")
    first, second = build(corpus, [150, 120], model, tmp_path)
    assert (first.passages, first.encoded) == (120, 120)
    assert (second.passages, second.encoded) == (150, 30)
    assert first.encoding > 0
    assert first.rest > 0
    assert second.disk > first.disk
