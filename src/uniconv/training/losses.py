"""What is minimised: contrastive and generative losses, as sums over their queries or tokens.

Sums, not means: the trainer divides by the number of queries or tokens of the whole step, over
all forward passes and processes, so that the split doesn't change the gradient. Everything is
computed in float32.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

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


def response_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """``-sum log P(token | what precedes it)`` over the tokens of responses.

    It is the paper's loss of response generation, and of grounded generation where passages
    precede the response. ``logits`` [n, length, vocabulary] at a position predict the token at
    the same position of ``targets``, int64 [n, length], IGNORED where there is none.
    """
    known = targets != IGNORED
    return cross_entropy(logits[known].float(), targets[known], reduction="sum")
