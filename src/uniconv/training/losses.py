"""What is minimised: contrastive and generative losses, as sums over their queries or tokens.

Sums, not means: the trainer divides by the number of queries or tokens of the whole step, over
all forward passes and processes, so that the split doesn't change the gradient. Everything is
computed in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import grad
from torch.nn.functional import cross_entropy, normalize
from torch.utils.checkpoint import checkpoint

IGNORED = -100
"""The target of positions that are not to be predicted."""

NO_KEY = 0
"""Pads rows of keys; no document has it."""


def first_occurrences(keys: Tensor) -> Tensor:
    """For each document the first one with the same key: int64 [m] from int64 [m]."""
    if not len(keys):
        return keys
    return (keys[:, None] == keys[None, :]).int().argmax(dim=1)


def no_negatives(labels: Tensor, own: Tensor, keys: Tensor) -> Tensor:
    """Which documents must not serve as negatives of which query.

    A document is no negative if it is relevant to the query itself: the same passage again,
    another positive of its turn, or one with the same text. A document that several processes
    hold counts once, where it occurs first. Texts are compared by ``keys``.

    Args:
        labels: int64 [n], the document that each query should retrieve, a first occurrence.
        own: int64 [n, p], keys of all positives of each query, padded with NO_KEY.
        keys: int64 [m], keys of the documents.

    Returns:
        bool [n, m]; false at the labels.
    """
    relevant = (own[:, :, None] == keys[None, None, :]).any(dim=1)
    places = torch.arange(len(keys), device=keys.device)
    excluded = relevant | (first_occurrences(keys) != places)
    return excluded.scatter(1, labels[:, None], False)


def prefixes(embeddings: Tensor, length: int) -> Tensor:
    """The first ``length`` components of each embedding, L2-normalised: float32 [n, length]."""
    return normalize(embeddings[:, :length].float(), dim=1)


def similarities(
    queries: Tensor, documents: Tensor, excluded: Tensor, temperature: float
) -> Tensor:
    """Dot products over the temperature, float32 [n, m], minus infinity where excluded.

    ``queries`` [n, d] and ``documents`` [m, d] are L2-normalised.
    """
    with torch.autocast(queries.device.type, enabled=False):
        scores = queries.float() @ documents.float().T / temperature
    return scores.masked_fill(excluded, float("-inf"))


def contrastive(logits: Tensor, labels: Tensor) -> Tensor:
    """InfoNCE (van den Oord et al. 2018, equation 4), summed over queries.

    ``-sum_i log(exp(s_i,labels_i) / sum_j exp(s_ij))`` for ``logits`` s of [n, m]. It serves both
    contrastive objectives of the paper (ACL 2025): conversational retrieval, where documents are
    passages, and the context identification instruction (CII), where queries are conversations
    with their relevant passage and documents are responses.
    """
    return cross_entropy(logits.float(), labels, reduction="sum")


def reciprocal_ranks(logits: Tensor, labels: Tensor) -> Tensor:
    """1 / rank of each query's label among the documents of the batch, float32 [n].

    A document of equal score counts as better, so that a collapsed model does not look good.
    """
    target = logits.gather(1, labels[:, None])
    return 1 / (logits >= target).sum(dim=1)


def squared_distances(left: Tensor, right: Tensor) -> Tensor:
    """Between rows of the same place, float32 [n].

    Their mean over queries and their documents is alignment (Wang & Isola 2020, equation 1, with
    exponent 2): 0 at best, 2 where the two have nothing to do with each other.
    """
    return (left.float() - right.float()).square().sum(dim=1)


def uniformity(*sets: Tensor) -> Tensor:
    """How evenly embeddings lie on the sphere (Wang & Isola 2020, equation 2, t = 2), a scalar.

    ``log mean exp(-2 * squared distance)`` over the pairs of a set's L2-normalised rows: about -4
    where directions are unrelated, 0 where all rows are one. It is the mean over the sets that
    have pairs, of which the first ROWS rows count; 0 where none has.
    """
    found = []
    for rows in sets:
        if len(rows) > 1:
            some = rows[:ROWS].float()
            one, other = torch.triu_indices(len(some), len(some), 1, device=some.device)
            cosines = (some @ some.T)[one, other]
            found.append((4 * cosines - 4).exp().mean().log())
    return torch.stack(found).mean() if found else torch.zeros((), device=sets[0].device)


ROWS = 256
"""Rows have 32,640 pairs, enough for a mean; a large batch would have hundreds of millions."""


def response_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """``-sum log P(token | what precedes it)`` over the tokens of responses.

    It is the paper's loss of response generation, and of grounded generation where passages
    precede the response. ``logits`` [n, length, vocabulary] at a position predict the token at
    the same position of ``targets``, int64 [n, length], IGNORED where there is none.
    """
    known = targets != IGNORED
    return cross_entropy(logits[known].float(), targets[known], reduction="sum")


def response_log_likelihoods(logits: Tensor, targets: Tensor) -> Tensor:
    """The mean log-likelihood of each response's tokens, float32 [n]; arguments as above."""
    losses = cross_entropy(
        logits.float().flatten(0, 1), targets.flatten(), reduction="none", ignore_index=IGNORED
    )
    return -losses.view_as(targets).sum(1) / (targets != IGNORED).sum(1)


def head_log_likelihoods(
    head: nn.Module, states: Tensor, targets: Tensor, *, rows: int = 1024
) -> Tensor:
    """The log-likelihood of each token, float32 [n]; arguments as of :func:`head_cross_entropy`.

    Each token may have another gradient, so logits are made again where that is known.
    """

    def part(states: Tensor, targets: Tensor) -> Tensor:
        return -cross_entropy(head(states).float(), targets, reduction="none")

    pieces = zip(torch.split(states, rows), torch.split(targets, rows), strict=True)
    return torch.cat([checkpoint(part, *piece, use_reentrant=False) for piece in pieces])


def head_cross_entropy(
    head: nn.Module, states: Tensor, targets: Tensor, *, rows: int = 1024
) -> Tensor:
    """:func:`response_cross_entropy` from the states, without ever holding all logits.

    ``head`` makes logits [n, vocabulary] of ``states`` [n, d]; ``targets`` is int64 [n].
    """

    def loss(logits: Tensor, part: slice) -> Tensor:
        return cross_entropy(logits.float(), targets[part], reduction="sum")

    return head_loss(head, states, loss, rows=rows)


def head_loss(
    head: nn.Module, states: Tensor, loss: Callable[[Tensor, slice], Tensor], *, rows: int = 1024
) -> Tensor:
    """The sum of ``loss(head(states[part]), part)`` over parts of ``rows`` rows of ``states``.

    Logits exist for one part at a time, and gradients are computed along with the loss, so nothing
    is computed twice. They go to the states and the head alone, not to what ``loss`` knows.
    """
    # An autograd function can't ask whether gradients are wanted, and would always compute them.
    wanted = torch.is_grad_enabled()
    parameters = [one for one in head.parameters() if wanted and one.requires_grad]
    states = states if wanted else states.detach()
    total: Tensor = _HeadLoss.apply(head, loss, rows, states, *parameters)  # type: ignore[no-untyped-call]
    return total


class _HeadLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        head: nn.Module,
        loss: Callable[[Tensor, slice], Tensor],
        rows: int,
        states: Tensor,
        *parameters: Tensor,
    ) -> Tensor:
        wanted = [place for place, needed in enumerate(ctx.needs_input_grad[3:]) if needed]
        inputs = (states, *parameters)
        gradients = {place: torch.zeros_like(inputs[place]) for place in wanted}
        total = states.new_zeros((), dtype=torch.float32)
        kind = states.device.type
        for start in range(0, len(states), rows):
            part = slice(start, start + rows)
            # A cached bfloat16 copy of the weights would belong to the graph of one part.
            with (
                torch.set_grad_enabled(bool(wanted)),
                torch.autocast(
                    kind,
                    torch.get_autocast_dtype(kind),
                    enabled=torch.is_autocast_enabled(kind),
                    cache_enabled=False,
                ),
            ):
                here = states[part].detach().requires_grad_(bool(wanted))
                value = loss(head(here), part)
            total += value.detach()
            if wanted:
                sources = [here if place == 0 else inputs[place] for place in wanted]
                for place, gradient in zip(wanted, grad(value, sources), strict=True):
                    if place == 0:
                        gradients[0][part] = gradient
                    else:
                        gradients[place] += gradient
        ctx.wanted = wanted
        ctx.save_for_backward(*gradients.values())
        return total

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        found: list[Tensor | None] = [None] * len(ctx.needs_input_grad[3:])
        for place, gradient in zip(ctx.wanted, ctx.saved_tensors, strict=True):
            found[place] = gradient * upstream[0]
        return (None, None, None, *found)
