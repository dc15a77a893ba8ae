"""The joint objective as a module: a batch in, the sums of its loss parts out.

This is the reference: every format is a sequence of its own with its own forward pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from uniconv.config import Objectives
from uniconv.model import UniConv
from uniconv.training.collate import PARTS, Batch, Contrast, Tokens, Writing
from uniconv.training.distributed import gather
from uniconv.training.losses import (
    IGNORED,
    contrastive,
    first_occurrences,
    no_negatives,
    reciprocal_ranks,
    response_cross_entropy,
    similarities,
)


class Objective(nn.Module):
    """``L = L_R + L_G + alpha * L_CII + gamma * L_GG`` of a model, by parts.

    It is what DistributedDataParallel wraps: everything that reaches a parameter happens in one
    call of ``forward``. Every process computes every part of weight above 0, even one that has no
    example of it, so that all processes meet in the same collective operations.
    """

    def __init__(
        self,
        model: UniConv,
        weights: Objectives,
        *,
        forward_tokens: int = 16_384,
        bf16: bool = False,
    ) -> None:
        super().__init__()
        self.network: Any = model.network  # registers the parameters
        self._model = model
        self._temperature = weights.temperature
        self._forward_tokens = forward_tokens
        self._bf16 = bf16
        values = (weights.retrieval, weights.generation, weights.alpha, weights.gamma)
        self.weights = dict(zip(PARTS, values, strict=True))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Sums over this process's queries or tokens, float32 scalars.

        Keys are PARTS of weight above 0 and, without gradients, ``{part}_mrr`` and
        ``{part}_accuracy`` of the contrastive ones. Documents of all processes are candidates.
        """
        sums: dict[str, Tensor] = {}
        with torch.autocast(self._model.device.type, torch.bfloat16, enabled=self._bf16):
            for part, weight in self.weights.items():
                if weight:
                    sums |= self._sums(part, getattr(batch, part))
        return sums

    def _sums(self, part: str, content: Contrast | Writing) -> dict[str, Tensor]:
        if isinstance(content, Writing):
            return {part: self._write(content)}
        logits, labels = self._logits(content)
        ranks = reciprocal_ranks(logits.detach(), labels)
        return {
            part: contrastive(logits, labels),
            f"{part}_mrr": ranks.sum(),
            f"{part}_accuracy": (ranks == 1).float().sum(),
        }

    def combine(self, sums: dict[str, Tensor], scale: Sequence[float]) -> Tensor:
        """The loss: parts by weight, each times its scale (1 / what its sum is over)."""
        parts = [
            weight * factor * sums[part]
            for (part, weight), factor in zip(self.weights.items(), scale, strict=True)
            if weight
        ]
        return torch.stack(parts).sum()

    def _logits(self, part: Contrast) -> tuple[Tensor, Tensor]:
        labels, own, keys = part.tensors(self._model.device)
        queries = self.embed(part.queries)
        documents, offset = gather(self.embed(part.documents))
        keys, _ = gather(keys)
        labels = first_occurrences(keys)[labels + offset]
        excluded = no_negatives(labels, own, keys)
        return similarities(queries, documents, excluded, self._temperature), labels

    def embed(self, sequences: Sequence[Tokens]) -> Tensor:
        """L2-normalised embeddings, float32 [n, d]; a graph to the parameters even for n = 0."""
        if not sequences:
            return self._model.embed([[self._model.template.marker]])[:0]
        return self._model.embed(sequences, batch_tokens=self._forward_tokens)

    def _write(self, part: Writing) -> Tensor:
        if not part.prompts:
            marker = [self._model.template.marker]
            return self._write(Writing([marker], [marker])) * 0
        lengths = [len(p) + len(r) for p, r in zip(part.prompts, part.responses, strict=True)]
        losses = []
        for rows in length_groups(lengths, self._forward_tokens):
            prompts = [part.prompts[row] for row in rows]
            responses = [part.responses[row] for row in rows]
            losses.append(response_cross_entropy(*self._response_logits(prompts, responses)))
        return torch.stack(losses).sum()

    def _response_logits(
        self, prompts: Sequence[Tokens], responses: Sequence[Tokens]
    ) -> tuple[Tensor, Tensor]:
        """Logits [n, r, vocabulary] and targets [n, r] for responses of up to r tokens.

        Padding is on the left, so that responses end together and the LM computes the logits of
        the last r positions alone. A response's last token is predicted but never read.
        """
        inputs = [p + r[:-1] for p, r in zip(prompts, responses, strict=True)]
        length, last = max(map(len, inputs)), max(map(len, responses))
        ids = torch.zeros(len(inputs), length, dtype=torch.long)
        mask = torch.zeros_like(ids)
        targets = torch.full((len(inputs), last), IGNORED)
        for row, (tokens, response) in enumerate(zip(inputs, responses, strict=True)):
            ids[row, length - len(tokens) :] = torch.tensor(tokens)
            mask[row, length - len(tokens) :] = 1
            targets[row, last - len(response) :] = torch.tensor(response)
        device = self._model.device
        logits: Tensor = self._model.lm(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            position_ids=(mask.cumsum(1) - 1).clamp(min=0).to(device),
            use_cache=False,
            logits_to_keep=last,
        ).logits
        return logits, targets.to(device)


def length_groups(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Rows in groups of similar length, longest first.

    A group with its padding takes at most ``budget`` tokens, and its longest row is at most twice
    as long as its shortest.
    """
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    while order:
        longest = lengths[order[0]]
        size = 1
        while (
            size < len(order)
            and (size + 1) * longest <= budget
            and 2 * lengths[order[size]] >= longest
        ):
            size += 1
        yield order[:size]
        order = order[size:]
