"""What benchmarks/throughput.py counts and writes, on a model of two thin layers."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import machine
import material
import throughput
import work
from machine import Clock, Limits, kind_of
from stages import LOADS, STAGES, Load
from uniconv.config import ModelConfig, Objectives
from uniconv.model import UniConv
from uniconv.templates import Limits as TextLimits
from uniconv.training.network import unfreeze
from uniconv.training.objective import Objective

SMALL = Load(turns=2, passages=3, history=40, new=3, forward_tokens=16_384)
EVERY = [stage.name for stage in STAGES]


@pytest.fixture(scope="module")
def embedded() -> UniConv:
    return material.build("embedded", TextLimits(), device="cpu")


def thin(embedded: UniConv, **shape: Any) -> UniConv:
    config = material.narrow(embedded.lm.config)
    for name, value in ({"num_hidden_layers": 2} | shape).items():
        setattr(config, name, value)
    return material.random_model(config, embedded, TextLimits(), "cpu")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, embedded: UniConv) -> None:
    """Nothing large is built, and the machine's limits are made up."""
    models = thin(embedded), thin(embedded)
    monkeypatch.setattr(throughput, "models", lambda *_: models)
    monkeypatch.setattr(throughput, "measure_limits", lambda *_: Limits(1e11, 1e10))
    monkeypatch.setitem(LOADS, "embedded", SMALL)


def results(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return loaded


@pytest.mark.usefixtures("quick")
def test_every_stage_is_measured(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    throughput.main(["--repeats", "1", "--out", str(out)])
    found = results(out)
    rows = found["stages"]
    assert [row["stage"] for row in rows] == EVERY
    assert found["provenance"]["way"] == "segments" and found["provenance"]["packages"]["torch"]
    for row in rows:
        assert row["seconds"] > 0 and row["flops"] > 0 and row["nbytes"] > 0
        assert row["limit"] in ("compute", "bandwidth", "overhead")
        assert row["rate"] == pytest.approx(row["units"] / row["seconds"])
        assert row["share_of_compute"] == pytest.approx(row["flops"] / 1e11 / row["seconds"])
    by_name = {row["stage"]: row for row in rows}
    assert by_name["decode 8"]["units"] == 8 * SMALL.new
    assert by_name["encode 384"]["tokens"] == 3 * 384
    assert by_name["step"]["flops"] == by_name["step, checkpointing"]["flops"]


@pytest.mark.usefixtures("quick")
def test_results_are_there_after_every_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.json"

    def measure(_self: object, stage: Any, *_: object) -> dict[str, Any]:
        if stage.name == "prefill 1":
            raise KeyboardInterrupt
        return {"stage": stage.name, "problem": ""}

    monkeypatch.setattr(throughput.Bench, "measure", measure)
    with pytest.raises(KeyboardInterrupt):
        throughput.main(["--out", str(out)])
    assert [row["stage"] for row in results(out)["stages"]] == ["encode 128", "encode 384"]


@pytest.mark.usefixtures("quick")
def test_a_stage_without_time_says_so(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    throughput.main(["--minutes", "0", "--out", str(out)])
    assert {row["problem"] for row in results(out)["stages"]} == {"not measured: no time was left"}


def test_a_step_that_does_not_fit_is_tried_with_fewer_turns(embedded: UniConv) -> None:
    model = thin(embedded)
    unfreeze(model, ModelConfig(""))
    (stage,) = (one for one in STAGES if one.name == "step")
    bench = throughput.Bench(
        torch.device("cpu"), Clock(torch.device("cpu")), Limits(1e11, 1e10), 1, float("inf")
    )
    typical = bench.typical

    def small(stage: Any, model: UniConv, load: Load) -> Any:
        if load.turns > 1:
            raise torch.OutOfMemoryError
        return typical(stage, model, load)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(throughput.Bench, "typical", lambda _, *given, **__: small(*given))
        assert bench.measure(stage, model, model, SMALL)["load"]["turns"] == 1
        patch.setattr(throughput.Bench, "typical", lambda _, *given, **__: small(*given[:2], SMALL))
        problem = bench.measure(stage, model, model, SMALL)["problem"]
    assert problem == "not measured: out of memory"


@pytest.mark.usefixtures("quick")
def test_a_cards_limits_need_no_card(tmp_path: Path, embedded: UniConv) -> None:
    out = tmp_path / "out.json"
    throughput.main(["--card", "h200", "--stages", "encode", "decode", "--out", str(out)])
    rows = {row["stage"]: row for row in results(out)["stages"]}
    assert [*rows] == [name for name in EVERY if name.startswith(("encode", "decode"))]
    assert rows["encode 128"]["limit"] == "compute"
    assert rows["encode 128"]["seconds"] == pytest.approx(rows["encode 128"]["flops"] / 989e12)
    assert rows["decode 1"]["limit"] == "bandwidth"


class Counter(TorchDispatchMode):
    """FLOPs of the products that PyTorch makes; FlopCounterMode can't follow ``autograd.grad``."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        found = func(*args, **(kwargs or {}))
        if func.overloadpacket in flop_registry:
            self.flops += flop_registry[func.overloadpacket](*args, out_val=found)
        return found


def test_flops_are_those_that_pytorch_counts(embedded: UniConv) -> None:
    """PyTorch doesn't count the CPU's attention."""
    model = thin(embedded, hidden_size=64, intermediate_size=96)
    costs = work.Costs.of(model)
    assert costs.pair == 4 * 2 * 16 * 2  # two heads of 16 in two layers
    sequences = [[5, *range(20 + row, 80 + row)] for row in range(3)]
    expected = work.encoding(model, sequences, 16_384)
    attention = costs.pair * 3 * (61 * 62 // 2)
    with FlopCounterMode(display=False) as counter:
        model.encode(sequences)
    assert counter.get_total_flops() == expected.flops - attention
    assert expected.tokens == 183 and expected.units == 3
    assert expected.nbytes == costs.linear * 4
    assert work.prefill(model, 61, 3).flops == expected.flops


def test_a_steps_flops_are_those_that_pytorch_counts(embedded: UniConv) -> None:
    model = thin(embedded, hidden_size=128, intermediate_size=256, num_hidden_layers=8)
    unfreeze(model, ModelConfig(""))
    batch = material.batch_of(model, 2, Objectives(gamma=1.0))
    objective = Objective(model, Objectives(gamma=1.0))
    with Counter() as counter:
        loss, _ = objective(batch, [1 / count for count in batch.counts])
        loss.backward()
    expected = work.joint_step(model, batch, 16_384)
    costs = work.Costs.of(model)
    (trees,) = model.reader.passes(work.sequences_of(batch), 16_384)
    pairs = sum(place + 1 for tree in trees for place in tree.positions)
    # A little less: the first layer's input needs no gradient.
    assert 0.97 < counter.flops / (expected.flops - 3 * costs.pair * pairs) <= 1.001
    assert costs.trained > 0 and expected.tokens < batch.tokens


def test_decoding_reads_weights_once_for_all_conversations(embedded: UniConv) -> None:
    model = thin(embedded)
    one, eight = (work.decoding(model, 100, 10, at_once, halved=False) for at_once in (1, 8))
    assert eight.flops == 8 * one.flops
    cache = 2 * 1 * 16 * 2 * 4 * sum(range(101, 111))
    assert eight.nbytes - one.nbytes == 7 * cache
    half = work.decoding(model, 100, 10, 1, halved=True)
    assert half.nbytes - cache == (one.nbytes - cache) / 2


def test_the_largest_of_three_times_is_the_limit() -> None:
    load = work.Work(flops=4e9, nbytes=1e9, tokens=100, units=10)
    row = throughput.compared("x", load, Limits(1e9, 1e9), 8.0, 2.0)
    assert row["limit"] == "compute" and row["share_of_limit"] == 0.5
    assert row["share_of_bandwidth"] == 0.125
    assert throughput.compared("x", load, Limits(1e9, 1e9), 8.0, 6.0)["limit"] == "overhead"


def test_peaks_of_memory_are_forgotten() -> None:
    device = torch.device("cpu")
    base = machine.peak_bytes(device)
    if base is None:
        pytest.skip("peaks are known on Linux and on GPUs")
    torch.ones(32 << 20)
    high = machine.peak_bytes(device)
    machine.forget_peak(device)
    low = machine.peak_bytes(device)
    assert high is not None and low is not None and high - low > 100e6


@pytest.mark.parametrize(
    ("kernel", "kind"),
    [
        ("nvjet_hsh_256x128_64x4_1x2_h_bz_coopA_NTT", "matrix products"),
        ("void flash::flash_fwd_kernel<Flash_fwd_kernel_traits<128>>", "attention"),
        ("triton_tem_fused_flex_attention_0", "attention"),
        ("Memcpy HtoD (Pageable -> Device)", "copies"),
        ("void at::native::vectorized_elementwise_kernel<4, BinaryFunctor>", "elementwise"),
    ],
)
def test_kernels_are_told_apart(kernel: str, kind: str) -> None:
    assert kind_of(kernel) == kind
