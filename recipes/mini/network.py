"""The forward pass of pretraining: packed rows in, losses out, as fast as the machine allows.

On CUDA attention runs in ``flex_attention`` by blocks of the mask, and the layers, which are all
alike, are compiled once; where that fails, one line says so and a slower way takes its place. On
CPUs the mask is dense. Products are in bfloat16 wherever the hardware has instructions for it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from packed import Codec
from pieces import GROUNDED, KINDS
from rows import Batch
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask
from torch.nn.functional import cross_entropy, normalize

_MARKERS = 256  # the number of markers is padded to a multiple of this
_PART = 256  # tokens whose logits (16 MB) a CPU's cache holds
WAYS = ("flex_attention in compiled layers", "flex_attention", "dense mask")
torch._dynamo.config.recompile_limit = 64  # should layers not be as alike as they are


@dataclass(frozen=True, slots=True)
class Weights:
    """The weight of each loss beside the next token's, and InfoNCE's temperature.

    ``grounded`` is that of a copied token beside one of other text: they are a fiftieth of all, and
    what is not rewarded enough while text is learned is lost.
    """

    grounded: float = 6.0
    contrast: float = 0.2
    distance: float = 8.0
    temperature: float = 0.05


@dataclass(frozen=True, slots=True)
class Rows:
    """A batch on the device; see :class:`rows.Batch`. ``targets`` are decoded, [t, k]."""

    ids: Tensor
    positions: Tensor
    pieces: Tensor
    labels: Tensor
    kinds: Tensor
    markers: Tensor
    groups: Tensor
    taught: Tensor
    targets: Tensor

    @classmethod
    def of(cls, batch: Batch, codec: Codec, device: torch.device) -> Rows:
        """Moves a batch to ``device``."""
        names = ("ids", "positions", "pieces", "labels", "kinds", "markers", "groups", "taught")
        moved = [
            torch.from_numpy(getattr(batch, name)).to(device, non_blocking=True) for name in names
        ]
        targets = codec.decode(batch.targets) if len(batch.targets) else np.zeros((0, 1), "f4")
        return cls(*moved, torch.from_numpy(targets).to(device))


def computes_in_bfloat16(device: torch.device) -> bool:
    """Whether the hardware has instructions for products of bfloat16."""
    if device.type == "cuda":
        return True
    # Not in all versions of PyTorch.
    found = getattr(torch.cpu, "get_capabilities", dict)()
    return any(found.get(name) for name in ("avx512_bf16", "amx_bf16"))


def states(network: Any, ids: Tensor, positions: Tensor, mask: Any) -> Tensor:
    """Last states [r, n, d] of rows [r, n] with either kind of mask."""
    found = network.model(
        input_ids=ids, position_ids=positions, attention_mask=mask, use_cache=False
    )
    hidden: Tensor = found.last_hidden_state
    return hidden


def token_losses(
    hidden: Tensor, head: Tensor, labels: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """The weighted sum of all tokens' cross-entropies, and each of them [r, n] without a gradient.

    Where no token is to be predicted the label is -100 and the cross-entropy 0.
    """
    logits = (hidden @ head.T).flatten(0, 1).float()
    losses = cross_entropy(logits, labels.flatten(), ignore_index=-100, reduction="none")
    losses = losses.view_as(labels)
    return (losses * weights).sum(), losses.detach()


class TokenLossesInParts(torch.autograd.Function):
    """The same on a CPU, whose cache holds the logits of some tokens, but not of all.

    Logits become gradients while they are there, so they are computed once, as in one go. Under
    autocast products are in its type, all else in float32.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, head: Tensor, labels: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        wanted = (labels != -100).flatten()
        true, scales = labels.flatten().clamp(min=0)[:, None], weights.flatten() * wanted
        losses, by_hidden = torch.empty_like(scales), torch.empty_like(hidden)
        by_head = torch.zeros_like(head)
        kind = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else head.dtype
        matrix = head.to(kind)
        for start in range(0, len(true), _PART):
            here = slice(start, start + _PART)
            states = hidden.flatten(0, 1)[here].to(kind)
            logits = (states @ matrix.T).float()
            highest = logits.amax(1, keepdim=True)
            losses[here] = (highest - logits.gather(1, true[here]))[:, 0]
            powers = logits.sub_(highest).exp_()
            total = powers.sum(1, keepdim=True)
            losses[here] += total.log()[:, 0]
            gradient = powers.mul_(scales[here, None] / total)
            gradient.scatter_add_(1, true[here], -scales[here, None])
            by_logits = gradient.to(kind)
            by_hidden.flatten(0, 1)[here] = by_logits @ matrix
            by_head += by_logits.T @ states
        losses = (losses * wanted).view_as(labels)
        ctx.save_for_backward(by_hidden, by_head)
        ctx.mark_non_differentiable(losses)
        return (losses * weights).sum(), losses

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        by_hidden, by_head = ctx.saved_tensors
        return by_hidden * gradients[0], by_head * gradients[0], None, None


def dense_mask(pieces: Tensor) -> Tensor:
    """Whether a token sees another, bool [r, 1, n, n]: earlier ones of its own sequence."""
    size = pieces.shape[1]
    causal = torch.ones(size, size, dtype=torch.bool, device=pieces.device).tril()
    return ((pieces[:, :, None] == pieces[:, None]) & causal)[:, None]


def block_mask(pieces: Tensor) -> Any:
    """The same for ``flex_attention``."""

    def sees(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:  # noqa: ARG001
        return (query >= key) & (pieces[row, query] == pieces[row, key])

    rows, size = pieces.shape
    return create_block_mask(sees, rows, None, size, size, device=pieces.device.type)


class Learner:
    """A network with the fastest way of running it that works here."""

    def __init__(self, network: Any, codec: Codec, device: torch.device, weights: Weights) -> None:
        self.network, self.codec, self.device, self.weights = network, codec, device, weights
        self._bfloat16 = computes_in_bfloat16(device)
        self._set(WAYS[-1])

    def choose(self, batches: list[Batch]) -> None:
        """Tries the ways, fastest first, on a few batches; the first that works stays.

        A way that compiles anew for every batch is as good as broken.
        """
        for way in WAYS if self.device.type == "cuda" else WAYS[-1:]:
            self._set(way)
            try:
                for batch in batches:
                    started = time.monotonic()
                    self.losses(batch)[0].backward()
                    self.network.zero_grad(set_to_none=True)
                    if self.device.type == "cuda":
                        torch.cuda.synchronize()
                    last = time.monotonic() - started
                if self.device.type == "cpu" or last < 3:
                    print(f"attention: {way}, {last:.2f} s a step", flush=True)
                    return
                print(f"{way} takes {last:.0f} s a step even when warm, trying another", flush=True)
            except Exception as error:  # compilers fail in many ways, and each has a way out
                reason = str(error).strip().splitlines() or [""]
                print(f"{way} failed ({type(error).__name__}: {reason[0][:150]})", flush=True)
                torch.cuda.empty_cache()
        raise RuntimeError("no way to run the network works on this machine")

    def _set(self, way: str) -> None:
        self.way = way
        self.network.set_attn_implementation("sdpa" if way == WAYS[-1] else "flex_attention")
        for layer in self.network.model.layers:
            layer._compiled_call_impl = None
            if way == WAYS[0]:
                layer.compile(dynamic=False)
        self._token_losses: Any = token_losses
        if self.device.type == "cpu":
            self._token_losses = TokenLossesInParts.apply
        elif way == WAYS[0]:
            self._token_losses = torch.compile(token_losses, dynamic=False)

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum to minimise, and its parts by name as they are reported (not synchronised)."""
        rows = Rows.of(batch, self.codec, self.device)
        mask = dense_mask(rows.pieces) if self.way == WAYS[-1] else block_mask(rows.pieces)
        wanted = rows.labels != -100
        weights = torch.where(rows.kinds == GROUNDED, self.weights.grounded, 1.0) * wanted
        weights = weights / weights.sum()
        head = self.network.lm_head.weight
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bfloat16):
            hidden = states(self.network, rows.ids, rows.positions, mask)
            total, losses = self._token_losses(hidden, head, rows.labels, weights)
        report = {"next": losses.sum() / wanted.sum()}
        for number, name in enumerate(KINDS):
            chosen = wanted & (rows.kinds == number)
            report[name] = (losses * chosen).sum() / chosen.sum()  # nan where none is
        if len(batch.groups) > 1:
            embeddings = self._embeddings(hidden, rows.markers)
            contrast, accuracy = info_nce(embeddings, rows.groups, self.weights.temperature)
            total = total + self.weights.contrast * contrast
            report |= {"contrast": contrast.detach(), "found": accuracy}
            if len(batch.taught):
                distance = distance_to(embeddings[rows.taught], rows.targets)
                total = total + self.weights.distance * distance
                report["distance"] = distance.detach()
        return total, report

    def _embeddings(self, hidden: Tensor, markers: Tensor) -> Tensor:
        """L2-normalised states at the markers, float32 [m, d]."""
        flat = hidden.flatten(0, 1)
        padded = -len(markers) % _MARKERS
        at = torch.cat([markers, markers.new_zeros(padded)])
        return normalize(flat[at][: len(markers)].float(), dim=-1)


def info_nce(embeddings: Tensor, groups: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """InfoNCE in both directions, and the share of queries that find their passage first.

    The first half of ``embeddings`` [2p, d] are queries, the second their passages; pairs of equal
    ``groups`` [p] are no negatives of each other.
    """
    queries, passages = embeddings.chunk(2)
    scores = queries @ passages.T / temperature
    right = torch.arange(len(scores), device=scores.device)
    same = (groups[:, None] == groups[None]) & (right[:, None] != right[None])
    scores = scores.masked_fill(same, -torch.inf)
    loss = (cross_entropy(scores, right) + cross_entropy(scores.T, right)) / 2
    return loss, (scores.detach().argmax(1) == right).float().mean()


def distance_to(embeddings: Tensor, targets: Tensor) -> Tensor:
    """1 - cosine with the teacher's components [t, k], in the first k dimensions.

    The embedding's other dimensions are free; those that it lacks are left out.
    """
    known = min(targets.shape[1], embeddings.shape[1])
    student = normalize(embeddings[:, :known], dim=-1)
    return 1 - (student * normalize(targets[:, :known], dim=-1)).sum(-1).mean()


def work(config: Any, attended: float) -> float:
    """Floating-point operations of training on a token that sees ``attended`` keys.

    Six for each weight in a matrix product, and twelve for each key, head and dimension.
    """
    heads = config.num_attention_heads * config.head_dim
    groups = config.num_key_value_heads * config.head_dim
    layer = config.hidden_size * (2 * heads + 2 * groups + 3 * config.intermediate_size)
    weights = config.num_hidden_layers * layer + config.hidden_size * config.vocab_size
    return 6 * weights + 12 * config.num_hidden_layers * heads * attended


def measured_peak(device: torch.device) -> float:
    """Floating-point operations a second of a large matrix product here."""
    cuda = device.type == "cuda"
    size = 8192 if cuda else 1024
    kind = torch.bfloat16 if computes_in_bfloat16(device) else torch.float32
    a, b = (torch.randn(size, size, device=device, dtype=kind) for _ in range(2))
    for repeats in (2, 8):
        if cuda:
            torch.cuda.synchronize()
        started = time.monotonic()
        for _ in range(repeats):
            a @ b
        if cuda:
            torch.cuda.synchronize()
    return repeats * 2 * size**3 / (time.monotonic() - started)
