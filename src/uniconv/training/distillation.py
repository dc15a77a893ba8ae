"""The parts of the objective that a teacher supervises.

They are named after the part whose sequences and counts they share: ``retrieval_scores``,
``retrieval_embeddings``, ``generation_tokens`` and ``grounded_tokens``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from uniconv.config import Distillation, Objectives
from uniconv.errors import ConfigError
from uniconv.model import UniConv
from uniconv.training.batch import Batch, Contrast, Writing
from uniconv.training.distributed import gather
from uniconv.training.divergences import SoftTargets, embedding_distances, score_divergence
from uniconv.training.losses import first_occurrences, prefixes

if TYPE_CHECKING:  # needs an index's libraries, which the objective without a teacher does not
    from uniconv.training.teacher_embeddings import TeacherEmbeddings


@dataclass(frozen=True, slots=True)
class Candidates:
    """Documents of all processes: embeddings [m, d], keys [m], where this process's begin."""

    embeddings: Tensor
    keys: Tensor
    offset: int


class TokenTeacher:
    """A causal LM whose distributions over the tokens of responses are learned.

    Raises:
        ConfigError: it has another tokenizer or prompt format than the student, or computes its
            logits in an unusual way.
    """

    def __init__(self, teacher: UniConv, student: UniConv, forward_tokens: int) -> None:
        _check_alike(teacher, student)
        teacher.network.requires_grad_(False)
        self._model = teacher
        self._budget = forward_tokens
        self._columns = len(student.tokenizer)

    @torch.no_grad()
    def targets(self, part: Writing, temperature: float) -> SoftTargets:
        """The teacher's distributions over the part's responses; memory holds one pass."""
        pairs = zip(part.prompts, part.responses, strict=True)
        # A response's last token is predicted but never read.
        sequences = [prompt + response[:-1] for prompt, response in pairs]
        predicting: dict[int, Tensor] = {}
        for states in self._model.reader.read(sequences, self._budget):
            for row, path in zip(states.rows, states.paths, strict=True):
                predicting[row] = states.hidden[path[len(part.prompts[row]) - 1 :]]
        head = self._model.lm.get_output_embeddings()
        ordered = [predicting[row] for row in range(len(sequences))]
        return SoftTargets(ordered, head, self._columns, temperature)


class Distiller:
    """What is learned from a teacher: its ``embeddings`` for retrieval, itself for tokens."""

    def __init__(
        self,
        settings: Distillation,
        embeddings: TeacherEmbeddings | None,
        tokens: TokenTeacher | None,
    ) -> None:
        self._settings = settings
        self._embeddings = embeddings
        self._tokens = tokens

    def parts(self, batch: Batch, weights: Objectives) -> dict[str, Contrast | Writing]:
        """What the student has to read for the weights above 0."""
        parts: dict[str, Contrast | Writing] = {}
        if weights.scores or weights.embeddings:
            parts["retrieval"] = batch.retrieval
        for name in ("generation", "grounded"):
            if self._tokens is not None and weights.taught[f"{name}_tokens"]:
                part: Writing = getattr(batch, name)
                soft = self._tokens.targets(part, self._settings.token_temperature)
                parts[f"{name}_tokens"] = replace(part, soft=soft)
        return parts

    def contrast(
        self, part: Contrast, queries: Tensor, candidates: Candidates, weights: Objectives
    ) -> dict[str, Tensor]:
        """Sums over this process's queries, of whose step all processes see the same documents.

        A document counts once, where it occurs first, so that it doesn't matter how a batch is
        divided among processes. ``queries`` [n, d] are this process's, L2-normalised.
        """
        if self._embeddings is None or not (weights.scores or weights.embeddings):
            return {}
        first = _unique(candidates.keys)
        documents = candidates.embeddings[first]
        taught_documents = self._embeddings.passages(candidates.keys[first])
        taught = self._embeddings.conversations(torch.tensor(part.asked, dtype=torch.int64))
        taught_documents, taught = taught_documents.to(queries.device), taught.to(queries.device)
        sums: dict[str, Tensor] = {}
        if weights.scores:
            expected = taught @ taught_documents.T / self._embeddings.temperature
            pairs = [(queries, documents)] + [
                (prefixes(queries, length), prefixes(documents, length))
                for length in weights.matryoshka
            ]
            divergences = [
                score_divergence(_cosines(*pair) / weights.temperature, expected) for pair in pairs
            ]
            sums["retrieval_scores"] = torch.stack(divergences).sum()
        if weights.embeddings:
            everything, _ = gather(queries)
            taught_everything, _ = gather(taught)
            columns = torch.cat([everything, documents])
            taught_columns = torch.cat([taught_everything, taught_documents])
            here = (first >= candidates.offset) & (first < candidates.offset + len(part.documents))
            of_queries = embedding_distances(queries, columns, taught, taught_columns)
            of_documents = embedding_distances(
                documents[here], columns, taught_documents[here], taught_columns
            )
            # As if divided by the number of documents: the sum is divided by that of queries.
            share = len(everything) / max(len(documents), 1)
            sums["retrieval_embeddings"] = (of_queries.sum() + share * of_documents.sum()) / 2
        return sums


def _cosines(queries: Tensor, documents: Tensor) -> Tensor:
    with torch.autocast(queries.device.type, enabled=False):
        return queries.float() @ documents.float().T


def _unique(keys: Tensor) -> Tensor:
    """The places of documents that did not occur before, int64."""
    places = torch.arange(len(keys), device=keys.device)
    return places[first_occurrences(keys) == places]


_PROBE = "Who built the 2nd tower?\nIn 1893, Céline & José (漢字) – see [1]."


def _check_alike(teacher: UniConv, student: UniConv) -> None:
    """Refuses a teacher that would not read the student's tokens as the student does."""
    instead = (
        "learn at sequence level: set distillation.responses to closed or grounded, and "
        "objectives.tokens and grounded_tokens to 0"
    )
    pair = (teacher.tokenizer, student.tokenizer)
    vocabularies = [tokenizer.get_vocab() for tokenizer in pair]
    probes = [tokenizer(_PROBE, add_special_tokens=False)["input_ids"] for tokenizer in pair]
    if vocabularies[0] != vocabularies[1] or probes[0] != probes[1]:
        raise ConfigError(
            f"objectives.tokens: the teacher {teacher.name} has another tokenizer than the "
            f"student {student.name}, so their tokens can't be compared; {instead}"
        )
    if teacher.template.frame != student.template.frame:
        raise ConfigError(
            f"objectives.tokens: the teacher {teacher.name} has another prompt format than the "
            f"student {student.name}; set model.template to the teacher's, or {instead}"
        )
    if not teacher.reader.has_plain_head:
        raise ConfigError(
            f"objectives.tokens: the teacher {teacher.name} changes its logits after the output "
            f"layer, which is not supported; {instead}"
        )
