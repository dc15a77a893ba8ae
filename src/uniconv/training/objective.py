"""The joint objective as a module: a batch in, the sums of its loss parts out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from uniconv.config import Objectives
from uniconv.errors import ConfigError
from uniconv.model import UniConv
from uniconv.training.batch import PARTS, Batch, Contrast, Writing
from uniconv.training.distillation import Candidates, Distiller
from uniconv.training.distributed import gather
from uniconv.training.forwards import Forward, Outputs, choose
from uniconv.training.losses import (
    contrastive,
    first_occurrences,
    no_negatives,
    prefixes,
    reciprocal_ranks,
    similarities,
    squared_distances,
    uniformity,
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
        way: Callable[[UniConv, int], Forward] = choose,
        distiller: Distiller | None = None,
    ) -> None:
        super().__init__()
        self._model = model
        self.run = way(model, forward_tokens)
        self._bf16 = bf16
        self._distiller = distiller
        self.use(weights)

    def use(self, weights: Objectives) -> None:
        """Takes other weights and another temperature from now on; in all processes alike.

        Raises:
            ConfigError: a Matryoshka length is not below that of the model's embeddings.
        """
        longest = max(weights.matryoshka, default=0)
        if longest >= self._model.dimension:
            raise ConfigError(
                f"objectives.matryoshka: {longest} is not below {self._model.dimension}, the "
                "length of the model's embeddings, which are always learned whole as well"
            )
        self.objectives = weights
        self.weights = dict(zip(PARTS, weights.weights, strict=True)) | weights.taught

    def precision(self) -> torch.autocast:
        """The context in which the LM computes."""
        return torch.autocast(self._model.device.type, torch.bfloat16, enabled=self._bf16)

    def forward(self, batch: Batch, scale: Sequence[float]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, for one ``backward``, and the sums of :meth:`sums` without graphs.

        ``scale`` is that of :meth:`combine`.
        """
        parts = self._parts(batch)

        def loss(outputs: Outputs) -> tuple[Tensor, dict[str, Tensor]]:
            sums = self._sums(parts, outputs)
            return self.combine(sums, scale), sums

        return self.run.learn(self._sequences(parts), loss, self.precision)

    def sums(self, batch: Batch) -> dict[str, Tensor]:
        """Sums over this process's queries or tokens, float32 scalars.

        Keys are PARTS of weight above 0, what is learned from a teacher as ``{part}_{what}``, and,
        without gradients, ``{part}_mrr`` and ``{part}_accuracy`` of the contrastive ones (of
        retrieval also by Matryoshka length, ``retrieval_mrr_64``), with
        ``{part}_alignment`` and ``{part}_uniformity`` where they compare embeddings: all as sums
        over queries. Documents of all processes are candidates.
        """
        parts = self._parts(batch)
        return self._sums(parts, self._read(self._sequences(parts)))

    def losses(self, parts: Mapping[str, Writing]) -> Mapping[str, Tensor]:
        """The sums of other responses than a batch's, whatever the weights are."""
        return self._read(parts).losses

    def _parts(self, batch: Batch) -> dict[str, Contrast | Writing]:
        parts = {name: getattr(batch, name) for name in PARTS if self.weights[name]}
        if self._distiller is not None:
            with self.precision():
                parts |= self._distiller.parts(batch, self.objectives)
        return parts

    def _sequences(self, parts: Mapping[str, Contrast | Writing]) -> dict[str, Contrast | Writing]:
        """What the LM reads: CII by likelihoods reads every query with every response."""
        scored = {"cii"} if self.objectives.cii == "likelihoods" else set()
        return {
            name: part.pairs() if name in scored and isinstance(part, Contrast) else part
            for name, part in parts.items()
        }

    def _read(self, parts: Mapping[str, Contrast | Writing]) -> Outputs:
        with self.precision():
            outputs: Outputs = self.run(parts)
        return outputs

    def _sums(self, parts: Mapping[str, Contrast | Writing], outputs: Outputs) -> dict[str, Tensor]:
        sums: dict[str, Tensor] = {}
        for name, part in parts.items():
            if not isinstance(part, Contrast):
                sums[name] = outputs.losses[name]
            elif name in outputs.scores:
                sums |= self._choose(name, part, outputs.scores[name])
            else:
                sums |= self._contrast(name, part, *outputs.embeddings[name])
        return sums

    def _contrast(
        self, name: str, part: Contrast, queries: Tensor, documents: Tensor
    ) -> dict[str, Tensor]:
        labels, own, keys = part.tensors(self._model.device)
        documents, offset = gather(documents)
        keys, _ = gather(keys)
        first = first_occurrences(keys)
        labels = first[labels + offset]
        excluded = no_negatives(labels, own, keys)
        temperature = self.objectives.temperature
        logits = similarities(queries, documents, excluded, temperature)
        sums = self._found(name, logits, labels)
        for length in self.objectives.matryoshka if name == "retrieval" else ():
            pair = prefixes(queries, length), prefixes(documents, length)
            found = self._found(name, similarities(*pair, excluded, temperature), labels)
            sums[name] = sums[name] + found.pop(name)
            sums |= {f"{measure}_{length}": value for measure, value in found.items()}
        if name == "retrieval" and self._distiller is not None:
            candidates = Candidates(documents, keys, offset)
            sums |= self._distiller.contrast(part, queries, candidates, self.objectives)
        queries, documents = queries.detach(), documents.detach()
        distinct = first == torch.arange(len(first), device=first.device)
        spread = uniformity(gather(queries)[0], documents[distinct])
        return sums | {
            f"{name}_alignment": squared_distances(queries, documents[labels]).sum(),
            f"{name}_uniformity": spread * len(queries),
        }

    def _choose(self, name: str, part: Contrast, scores: Tensor) -> dict[str, Tensor]:
        """Each query tells its own response by likelihood from all of this process's batch."""
        logits = scores.view(len(part.queries), -1 if part.queries else 1)
        labels, _, _ = part.tensors(self._model.device)
        return self._found(name, logits / self.objectives.cii_temperature, labels)

    @staticmethod
    def _found(name: str, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        ranks = reciprocal_ranks(logits.detach(), labels)
        return {
            name: contrastive(logits, labels),
            f"{name}_mrr": ranks.sum(),
            f"{name}_accuracy": (ranks == 1).float().sum(),
        }

    def combine(self, sums: dict[str, Tensor], scale: Sequence[float]) -> Tensor:
        """The loss: parts by weight, each times its scale (1 / what its sum is over).

        ``scale`` is in order of PARTS; what is learned from a teacher has that of its part.
        """
        factors = dict(zip(PARTS, scale, strict=True))
        parts = [
            weight * factors[name.partition("_")[0]] * sums[name]
            for name, weight in self.weights.items()
            if weight
        ]
        return torch.stack(parts).sum()
