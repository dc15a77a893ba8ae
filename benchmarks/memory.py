"""What memory a joint step needs, counted without having it: Mistral-7B's shape with LoRA on GPUs.

    python benchmarks/memory.py                   # what fits on cards of 24, 48, 80 and 141 GB
    MALLOC_MMAP_THRESHOLD_=65536 python benchmarks/memory.py --check     # against a real process

The step is the trainer's own, GradCache included, on fake tensors: they have shapes and no data, so
that every tensor of forward, backward and AdamW is made and freed as in a real step, and can be
counted. Attention is counted as what PyTorch's flash attention keeps (inputs, output and a number a
row), which is also what ``flex_attention`` keeps, and dropout as CUDA's kernel, whose mask takes a
byte. Memory grows with layers and tokens in straight lines, which are found from four counts and
checked by a count of all layers. The variable has malloc give back what was freed.
"""

from __future__ import annotations

import argparse
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import MistralConfig, MistralForCausalLM

from machine import forked_bytes
from uniconv.config import Adapter, ModelConfig
from uniconv.model import UniConv
from uniconv.training.batch import Contrast, Writing
from uniconv.training.forwards import Outputs, Shared
from uniconv.training.gradcache import Cached
from uniconv.training.network import parameter_groups, unfreeze

CARDS = (24, 48, 80, 141)  # GB, of 10^9 bytes, as they are sold
KEPT_FREE = 0.1  # of a card: CUDA's context, kernels' workspaces, fragments
NF4 = 0.5 + 1 / 64 + 4 / (64 * 256)  # bytes a weight: blocks of 64, constants of 8 bits doubly so
LENGTH = 512  # tokens of a sequence; without a mask of all pairs it changes nothing
MIDDLE = {
    "hidden_size": 512,
    "intermediate_size": 1792,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "vocab_size": 8192,
}


class Live(TorchDispatchMode):
    """Counts the bytes of all tensors that are alive, and the most there were; not of ``known``."""

    def __init__(self, known: list[Tensor]) -> None:
        super().__init__()
        self.now = self.most = 0
        self._seen = weakref.WeakSet(one.untyped_storage() for one in known)

    def __torch_dispatch__(
        self, operation: Any, _types: Any, arguments: Any = (), options: Any = None
    ) -> Any:
        results = operation(*arguments, **(options or {}))
        for one in tree_leaves(results):
            if isinstance(one, Tensor) and (storage := one.untyped_storage()) not in self._seen:
                self._seen.add(storage)
                self._change(storage.nbytes())
                weakref.finalize(storage, self._change, -storage.nbytes())
        return results

    def _change(self, size: int) -> None:
        self.now += size
        self.most = max(self.most, self.now)


@dataclass(frozen=True)
class Line:
    """Bytes of a step beyond weights and moments: ``fixed``, and for each token of a pass."""

    fixed: float
    token: float

    def at(self, tokens: int) -> float:
        return self.fixed + self.token * tokens


def skeleton(shape: dict[str, int], dtype: torch.dtype) -> UniConv:
    """A model without weights, with LoRA as ``uniconv train`` adds it."""
    embedded = UniConv.from_pretrained("embedded", device="cpu")
    with torch.device("meta"):
        config = MistralConfig(sliding_window=None, **shape)
        network: Any = MistralForCausalLM._from_config(config, dtype=dtype)
        model = UniConv(network, embedded.tokenizer, embedded.template)
        unfreeze(model, ModelConfig("", "lora", Adapter()))
    return model


def give_weights(model: UniConv) -> list[Tensor]:
    """Gives a skeleton tensors of the kind that are made here, fake or real."""
    for module in model.network.modules():
        for name, one in module._parameters.items():
            if one is not None:
                own = torch.empty(one.shape, dtype=one.dtype).normal_(std=0.02)
                module._parameters[name] = nn.Parameter(own, requires_grad=one.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = torch.ones(buffer.shape, dtype=buffer.dtype)
        if isinstance(module, nn.Dropout):
            module.forward = partial(_dropped, module.p)  # type: ignore[method-assign]
    return [*model.network.parameters(), *model.network.buffers()]


def _dropped(probability: float, values: Tensor) -> Tensor:
    found: Tensor = torch.native_dropout(values, probability, True)[0]
    return found


def parts_of(tokens: int) -> dict[str, Contrast | Writing]:
    """So many tokens, a quarter of them of conversations with their responses."""
    rows = tokens // LENGTH
    sequence = [5] * LENGTH
    prompts = rows // 4
    queries = (rows - prompts) // 2
    return {
        "retrieval": Contrast([sequence] * queries, [sequence] * (rows - prompts - queries)),
        "generation": Writing([sequence[:400]] * prompts, [sequence[400:]] * prompts),
    }


def loss(outputs: Outputs) -> tuple[Tensor, dict[str, Tensor]]:
    """Retrieval and generation, without what is measured of them besides, which needs data."""
    queries, documents = outputs.embeddings["retrieval"]
    found = cross_entropy(queries @ documents.T / 0.05, torch.arange(len(queries)))
    return found + outputs.losses["generation"], dict(outputs.losses)


def prepare(model: UniConv, tokens: int, checkpointing: bool, bf16: bool) -> Callable[[], None]:
    """A step with passes of ``tokens`` tokens and twice as many in the batch."""
    if checkpointing:
        model.lm.gradient_checkpointing_enable({"use_reentrant": False})
    model.network.train()
    model.reader.__dict__["way"] = "separate"  # which is found by trying, with data
    run = Cached(model, tokens, Shared)
    run._draws = True  # which is found by comparing
    optimizer = torch.optim.AdamW(parameter_groups(model.network, 0.01), lr=1e-4)
    parts = parts_of(2 * tokens)

    def precision() -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16, enabled=bf16)

    def step() -> None:
        value, _ = run.learn(parts, loss, precision)
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()

    return step


def count(shape: dict[str, int], tokens: int, *, checkpointing: bool, bf16: bool = True) -> int:
    """The most bytes that a step has beyond weights and AdamW's moments, on fake tensors."""
    model = skeleton(shape, torch.bfloat16 if bf16 else torch.float32)
    with FakeTensorMode(allow_non_fake_inputs=True):
        live = Live(give_weights(model))
        step = prepare(model, tokens, checkpointing, bf16)
        with live:
            step()
            moments = live.now
            step()
    return live.most - moments


def measure(shape: dict[str, int], tokens: int, *, checkpointing: bool) -> int:
    """What :func:`count` counts, by the resident memory of a process that has it, in float32."""
    model = skeleton(shape, torch.float32)
    give_weights(model)
    step = prepare(model, tokens, checkpointing, bf16=False)
    prepare(model, LENGTH * 4, checkpointing, bf16=False)()  # kernels are loaded and compiled
    return forked_bytes(step)


def line(checkpointing: bool) -> Line:
    """Of all layers: a step is linear in layers and in tokens, and is found from four counts."""
    few, many, short, long = 2, 4, 2048, 4096

    def of(layers: int) -> Line:
        shape = {"num_hidden_layers": layers}
        first, second = (
            count(shape, tokens, checkpointing=checkpointing) for tokens in (short, long)
        )
        token = (second - first) / (long - short)
        return Line(first - token * short, token)

    first, second = of(few), of(many)
    layers = (MistralConfig().num_hidden_layers - few) / (many - few)
    return Line(
        first.fixed + layers * (second.fixed - first.fixed),
        first.token + layers * (second.token - first.token),
    )


def weights_of(model: UniConv, four_bits: bool) -> float:
    """Bytes of weights, and of AdamW's two moments of those that are trained."""
    head, total = model.lm.get_output_embeddings(), 0.0
    for module in model.network.modules():
        for one in module._parameters.values():
            if one is None:
                continue
            frozen = isinstance(module, nn.Linear) and module is not head and not one.requires_grad
            size = NF4 if four_bits and frozen else one.element_size()
            total += one.numel() * (size + 8 * one.requires_grad)
    if four_bits:  # one matrix at a time is there in bfloat16
        total += 2 * max(one.numel() for one in model.lm.model.layers.parameters())
    return total


def report() -> None:
    """Prints what fits where."""
    model = skeleton({}, torch.bfloat16)
    trained = sum(one.numel() for one in model.network.parameters() if one.requires_grad)
    table = Table("card", title=f"Mistral-7B, {trained:,} trained parameters, forward_tokens")
    columns: list[tuple[float, Line]] = []
    lines = {checkpointing: line(checkpointing) for checkpointing in (False, True)}
    for four_bits in (False, True):
        for checkpointing, found in lines.items():
            weights = weights_of(model, four_bits)
            columns.append((weights, found))
            name = f"{'QLoRA' if four_bits else 'LoRA'}{', checkpointing' * checkpointing}"
            table.add_column(
                f"{name}\n{weights / 1e9:.2f} GB\n+ {found.fixed / 1e9:.2f} GB"
                f"\n+ {found.token / 1e3:.0f} kB a token",
                justify="right",
            )
    for card in CARDS:
        room = [(1 - KEPT_FREE) * card * 1e9 - weights - one.fixed for weights, one in columns]
        fits = [max(0, int(free / one.token)) for free, (_, one) in zip(room, columns, strict=True)]
        table.add_row(f"{card} GB", *(f"{tokens:,}" for tokens in fits))
    Console(width=110).print(table)


def check(tokens: int) -> None:
    """Prints counts beside what is measured, and the line beside a count of all layers."""
    table = Table("", "tokens a pass", "checkpointing", "MB", "counted MB")
    for checkpointing in (False, True):
        found = measure(MIDDLE, 2048, checkpointing=checkpointing)
        counted = count(MIDDLE, 2048, checkpointing=checkpointing, bf16=False)
        about = ("a process", "2,048", str(checkpointing))
        table.add_row(*about, f"{found / 1e6:,.0f}", f"{counted / 1e6:,.0f}")
    straight = line(checkpointing=True).at(tokens)
    counted = count({}, tokens, checkpointing=True)
    about = ("the line", f"{tokens:,}", "True")
    table.add_row(*about, f"{straight / 1e6:,.0f}", f"{counted / 1e6:,.0f}")
    Console(width=110).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # a forked process can't use the threads of its parent
    if arguments.check:
        check(tokens=16_384)
    else:
        report()


if __name__ == "__main__":
    main()
