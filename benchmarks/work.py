"""What an operation needs at least: floating-point operations, and bytes of weights and KV cache.

Model FLOPs, on real tokens: padding, and what activation checkpointing or GradCache compute again,
is not counted, and what sequences share is counted once, as it is computed. A product of matrices
with n weights costs 2 n FLOPs a token forward. Backward costs 2 n for the input's gradient and,
where weights are trained, 2 n for theirs: so 4 n in all for frozen weights, 6 n for an adapter's
(Kaplan et al. 2020, appendix B, counts 6 n where all are trained). Attention costs 4 h d for each
pair of a token and one that it sees, h heads of d, in each layer; three times that with backward.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from machine import Limits
from uniconv.model import UniConv
from uniconv.training.batch import PARTS, Batch, Contrast
from uniconv.tree import Tokens


@dataclass(frozen=True, slots=True)
class Work:
    """FLOPs, bytes that must be read, tokens that are computed, and units of what is counted."""

    flops: float
    nbytes: float
    tokens: int
    units: int
    unit: str = "tokens"

    def least_seconds(self, limits: Limits) -> dict[str, float]:
        """How long it takes at least, by what limits it."""
        return {"compute": self.flops / limits.flops, "bandwidth": self.nbytes / limits.bandwidth}


@dataclass(frozen=True, slots=True)
class Costs:
    """A model's weights by their use, and what a seen token costs in attention."""

    frozen: int
    trained: int
    head: int
    head_trained: bool
    pair: int
    kv_bytes: int
    item: int

    @classmethod
    def of(cls, model: UniConv) -> Costs:
        config = model.lm.config.get_text_config()
        heads = config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // heads
        linear = [one.weight for one in model.lm.base_model.modules() if isinstance(one, nn.Linear)]
        trained = sum(one.numel() for one in linear if one.requires_grad)
        head = model.lm.get_output_embeddings().weight
        item = model.lm.dtype.itemsize
        groups = config.num_key_value_heads
        return cls(
            frozen=sum(one.numel() for one in linear) - trained,
            trained=trained,
            head=head.numel(),
            head_trained=head.requires_grad,
            pair=4 * heads * size * config.num_hidden_layers,
            kv_bytes=2 * groups * size * config.num_hidden_layers * item,
            item=item,
        )

    @property
    def linear(self) -> int:
        """Weights of all linear layers, the output layer's not."""
        return self.frozen + self.trained

    @property
    def weights(self) -> int:
        """Bytes of these weights: what a pass reads."""
        return self.linear * self.item


def encoding(model: UniConv, sequences: Sequence[Tokens], budget: int) -> Work:
    """Forward over sequences that share nothing, in passes of ``budget`` tokens."""
    costs = Costs.of(model)
    tokens, pairs, passes = _trees(model, sequences, budget)
    flops = 2 * costs.linear * tokens + costs.pair * pairs
    return Work(flops, costs.weights * passes, tokens, len(sequences), "passages")


def prefill(model: UniConv, tokens: int, at_once: int) -> Work:
    """Forward over conversations of ``tokens`` tokens, whose keys and values are kept."""
    costs = Costs.of(model)
    pairs = tokens * (tokens + 1) // 2
    flops = at_once * (2 * costs.linear * tokens + costs.pair * pairs)
    read = at_once * tokens
    return Work(flops, costs.weights + read * costs.kv_bytes, read, read)


def decoding(model: UniConv, history: int, new: int, at_once: int, halved: bool) -> Work:
    """``new`` tokens for each of so many conversations, a token of each in a pass.

    ``halved`` weights are read in half their bytes (:mod:`uniconv.engine.kernels`).
    """
    costs = Costs.of(model)
    seen = sum(range(history + 1, history + new + 1))
    tokens = at_once * new
    flops = 2 * (costs.linear + costs.head) * tokens + at_once * costs.pair * seen
    weights = (costs.weights + costs.head * costs.item) / (2 if halved else 1)
    return Work(flops, new * weights + at_once * seen * costs.kv_bytes, tokens, tokens)


def joint_step(model: UniConv, batch: Batch, budget: int) -> Work:
    """Forward and backward of all objectives; weights are read once in each direction."""
    costs = Costs.of(model)
    tokens, pairs, passes = _trees(model, sequences_of(batch), budget)
    predicted = len(batch.generation) + len(batch.grounded)
    flops = (4 * costs.frozen + 6 * costs.trained) * tokens + 3 * costs.pair * pairs
    flops += (6 if costs.head_trained else 4) * costs.head * predicted
    return Work(flops, 2 * costs.weights * passes, tokens, tokens)


def sequences_of(batch: Batch) -> list[Tokens]:
    """All that the LM reads of a batch, what is shared each time."""
    sequences: list[Tokens] = []
    for part in (getattr(batch, name) for name in PARTS):
        if isinstance(part, Contrast):
            sequences += [*part.queries, *part.documents]
        else:  # a response's last token is predicted but never read
            pairs = zip(part.prompts, part.responses, strict=True)
            sequences += [prompt + response[:-1] for prompt, response in pairs]
    return sequences


def _trees(model: UniConv, sequences: Sequence[Tokens], budget: int) -> tuple[int, int, int]:
    """Tokens, pairs of a token and one that it sees, and passes."""
    passes = list(model.reader.passes(sequences, budget))
    positions = [place for trees in passes for tree in trees for place in tree.positions]
    return len(positions), sum(positions) + len(positions), len(passes)
