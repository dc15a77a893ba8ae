"""How far a student is from its teacher: sums over queries or tokens, as in losses.py.

What comes from the teacher is data: no gradient reaches it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import kl_div, log_softmax

from uniconv.training.losses import head_loss


@dataclass(frozen=True, slots=True)
class SoftTargets:
    """A teacher's distributions over the tokens of responses.

    They are kept as the teacher's states, [length, d] for each response, whose logits ``head``
    makes when they are needed. The first ``columns`` logits are the tokenizer's tokens; output
    layers are often padded beyond them, by different numbers in models of one family.
    ``temperature`` divides the logits of both sides.
    """

    states: Sequence[Tensor]
    head: nn.Module
    columns: int
    temperature: float = 1.0

    def select(self, rows: Sequence[int]) -> SoftTargets:
        """The targets of some responses."""
        chosen = [self.states[row] for row in rows]
        return SoftTargets(chosen, self.head, self.columns, self.temperature)


def token_divergence(
    head: nn.Module, states: Tensor, soft: SoftTargets, *, rows: int = 512
) -> Tensor:
    """``T^2 * sum KL(teacher || student)`` over tokens, at temperature T (Hinton et al. 2015).

    ``head`` makes the student's logits of its ``states`` [n, d], the n tokens of all responses in
    order. Logits of both sides exist for ``rows`` tokens at a time.
    """
    taught = torch.cat(list(soft.states))

    def loss(logits: Tensor, part: slice) -> Tensor:
        with torch.no_grad():
            expected = soft.head(taught[part])
        pair = (expected, logits)
        of_teacher, of_student = (
            log_softmax(one[:, : soft.columns].float() / soft.temperature, dim=1) for one in pair
        )
        divergence = kl_div(of_student, of_teacher, reduction="sum", log_target=True)
        return divergence * soft.temperature**2

    return head_loss(head, states, loss, rows=rows)


def score_divergence(logits: Tensor, expected: Tensor) -> Tensor:
    """``sum_i KL(softmax(expected_i) || softmax(logits_i))`` over queries, both [n, m].

    Both are similarities to the same m documents over a temperature: each side has its own, so
    there is no factor T^2.
    """
    with torch.autocast(logits.device.type, enabled=False):
        of_student = log_softmax(logits.float(), dim=1)
        of_teacher = log_softmax(expected.float(), dim=1)
        return kl_div(of_student, of_teacher, reduction="sum", log_target=True)


def embedding_distances(
    rows: Tensor, columns: Tensor, expected_rows: Tensor, expected_columns: Tensor
) -> Tensor:
    """How far each of n embeddings is from the teacher's of the same text, float32 [n].

    Embeddings are L2-normalised. Of equal length, they are compared directly: 1 - cosine, so that
    the student's vectors can be searched with the teacher's. Otherwise relations are: the mean
    squared difference between the student's cosines to all texts, ``columns`` [m, d], and the
    teacher's (similarity-preserving distillation, Tung and Mori 2019, arXiv 1907.09682, on cosines;
    of the family of relational distillation, Park et al. 2019, arXiv 1904.05068). Retrieval depends
    on cosines alone, and a projection to the teacher's length would be parameters to train, to
    keep in checkpoints, and to throw away.
    """
    with torch.autocast(rows.device.type, enabled=False):
        rows, columns = rows.float(), columns.float()
        if rows.shape[1] == expected_rows.shape[1]:
            return 1 - (rows * expected_rows).sum(dim=1)
        difference = rows @ columns.T - expected_rows @ expected_columns.T
        return difference.square().mean(dim=1)
