"""Two ways through the LM for a batch: everything shared in trees, or every sequence on its own.

Both give the same sums and gradients, dropout aside. ``Separate`` is obviously right and serves
any backbone; ``Shared`` is several times faster, since what sequences have in common at their
beginning is read once: the three formats of a turn, and all turns of a conversation that are in
the batch.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from uniconv.model import UniConv
from uniconv.states import States, padded
from uniconv.training.batch import Contrast, Scoring, Writing
from uniconv.training.distributed import most
from uniconv.training.divergences import token_divergence
from uniconv.training.losses import (
    IGNORED,
    head_cross_entropy,
    head_log_likelihoods,
    response_cross_entropy,
    response_log_likelihoods,
)
from uniconv.training.sharding import is_sharded
from uniconv.tree import Tokens


class Outputs(NamedTuple):
    """What the LM makes of a batch, by part.

    ``embeddings`` are of queries and of documents, float32 [n, d], L2-normalised; ``losses`` are
    sums over the tokens of responses, ``scores`` mean log-likelihoods of the tokens of each
    response, float32 [n]. All reach every trained parameter that a full batch would.
    """

    embeddings: Mapping[str, tuple[Tensor, Tensor]]
    losses: Mapping[str, Tensor]
    scores: Mapping[str, Tensor]


Loss = Callable[[Outputs], tuple[Tensor, dict[str, Tensor]]]
"""A loss of outputs, linear in ``losses``, and the sums it is made of by name; those of
``losses`` are among them."""

Precision = Callable[[], AbstractContextManager[object]]
"""The context in which the LM computes."""


class Forward(nn.Module):
    """A way through the LM: a module, so that FSDP gathers its weights when it is called."""

    def __init__(self, model: UniConv, forward_tokens: int) -> None:
        super().__init__()
        self.network: Any = model.network  # registers the parameters
        self._model = model
        self._budget = forward_tokens

    @abstractmethod
    def forward(self, parts: Mapping[str, Contrast | Writing]) -> Outputs:
        """The outputs of the parts; a part may be empty."""

    def learn(
        self, parts: Mapping[str, Contrast | Writing], loss: Loss, precision: Precision
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of the outputs, for one ``backward``, and the sums without graphs."""
        with precision():
            outputs: Outputs = self(parts)
        value, sums = loss(outputs)
        return value, {name: one.detach() for name, one in sums.items()}

    @property
    def innermost(self) -> Forward:
        """The way that goes through the LM itself."""
        return self

    def _rounds(self, passes: int) -> int:
        """How many passes through the LM to make where ``passes`` are needed."""
        return most(passes) if is_sharded(self.network) else passes


def choose(model: UniConv, forward_tokens: int) -> Forward:
    """``Shared`` where the backbone allows it, ``Separate`` otherwise."""
    way = Shared if model.reader.reads_trees and model.reader.has_plain_head else Separate
    return way(model, forward_tokens)


def walls_of(part: Contrast | Writing) -> list[int]:
    """The walls of a part's sequences, 0 for none."""
    if isinstance(part, Contrast):
        return [0] * (len(part.queries) + len(part.documents))
    return part.walls or [0] * len(part.prompts)


class Shared(Forward):
    """One pass over the trees of all sequences of a batch."""

    def forward(self, parts: Mapping[str, Contrast | Writing]) -> Outputs:
        sequences: list[Tokens] = []
        walls: list[int] = []
        for part in parts.values():
            walls += walls_of(part)
            if isinstance(part, Contrast):
                sequences += [*part.queries, *part.documents]
            else:  # a response's last token is predicted but never read
                pairs = zip(part.prompts, part.responses, strict=True)
                sequences += [prompt + response[:-1] for prompt, response in pairs]
        sequences = sequences or [[self._model.template.marker]]
        reader = self._model.reader
        states = reader.read_all(sequences, self._budget, self._rounds, walls)
        rest = iter(states.paths)
        embeddings, losses, scores = {}, {}, {}
        for name, part in parts.items():
            if isinstance(part, Contrast):
                embeddings[name] = (
                    self._embed(states, [next(rest) for _ in part.queries]),
                    self._embed(states, [next(rest) for _ in part.documents]),
                )
            elif isinstance(part, Scoring):
                scores[name] = self._score(states, part, rest)
            else:
                losses[name] = self._write(states, part, rest)
        return Outputs(embeddings, losses, scores)

    def _embed(self, states: States, paths: Sequence[Tensor]) -> Tensor:
        if not paths:
            return self._model.pool(states.hidden, states.paths[:1])[:0].clone()
        return self._model.pool(states.hidden, paths)

    def _write(self, states: States, part: Writing, paths: Iterator[Tensor]) -> Tensor:
        head: nn.Module = self._model.lm.get_output_embeddings()
        if not part.prompts:
            logits: Tensor = head(states.hidden[:1])
            return logits.sum() * 0
        predicting, targets = self._predictions(states, part, paths)
        if part.soft is not None:
            return token_divergence(head, predicting, part.soft)
        return head_cross_entropy(head, predicting, targets)

    def _score(self, states: States, part: Writing, paths: Iterator[Tensor]) -> Tensor:
        head: nn.Module = self._model.lm.get_output_embeddings()
        if not part.prompts:
            logits: Tensor = head(states.hidden[:1])
            return logits.sum(1).float()[:0].clone()
        tokens = head_log_likelihoods(head, *self._predictions(states, part, paths))
        of_each = torch.split(tokens, [len(response) for response in part.responses])
        return torch.stack([one.mean() for one in of_each])

    def _predictions(
        self, states: States, part: Writing, paths: Iterator[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """The states that predict the tokens of responses, [n, d], and these tokens, int64 [n]."""
        # The state of a token predicts the next one, from the last of the prompt on.
        predicting = torch.cat([next(paths)[len(prompt) - 1 :] for prompt in part.prompts])
        targets = torch.tensor([token for response in part.responses for token in response])
        return states.hidden[predicting], targets.to(predicting.device)


class Separate(Forward):
    """A sequence of its own for every format of every turn, padded in batches."""

    def forward(self, parts: Mapping[str, Contrast | Writing]) -> Outputs:
        contrasts = {name: part for name, part in parts.items() if isinstance(part, Contrast)}
        writings = {name: part for name, part in parts.items() if isinstance(part, Writing)}
        scored = {name: writings.pop(name) for name, p in parts.items() if isinstance(p, Scoring)}
        return Outputs(
            {
                name: (self._embed(part.queries), self._embed(part.documents))
                for name, part in contrasts.items()
            },
            {name: self._write(part) for name, part in writings.items()},
            {name: self._score(part) for name, part in scored.items()},
        )

    def _groups(self, lengths: Sequence[int]) -> list[list[int]]:
        """Rows that are read together; none where there is nothing, or only elsewhere, to read."""
        groups = list(length_groups(lengths, self._budget))
        return groups + [[]] * (max(1, self._rounds(len(groups))) - len(groups))

    def _embed(self, sequences: Sequence[Tokens]) -> Tensor:
        """L2-normalised embeddings, float32 [n, d]; a graph to the parameters even for n = 0."""
        groups = self._groups([len(one) for one in sequences])
        parts = [self._embed_group([sequences[row] for row in rows]) for rows in groups]
        order = torch.tensor([row for rows in groups for row in rows], dtype=torch.long)
        return torch.cat(parts)[order.argsort().to(parts[0].device)]

    def _embed_group(self, sequences: Sequence[Tokens]) -> Tensor:
        if not sequences:
            return self._embed_group([[self._model.template.marker]])[:0]
        ids, mask = padded([torch.tensor(one) for one in sequences])
        device = self._model.device
        # No attention mask: padding is on the right, where causal attention never looks.
        base = self._model.lm.base_model
        hidden = base(input_ids=ids.to(device), use_cache=False).last_hidden_state
        nodes = torch.arange(mask.numel(), device=device).view_as(mask)
        lengths = mask.sum(1).tolist()
        paths = [row[:length] for row, length in zip(nodes, lengths, strict=True)]
        return self._model.pool(hidden.flatten(0, 1), paths)

    def _write(self, part: Writing) -> Tensor:
        losses = []
        for rows, (logits, targets) in self._logits(part):
            if not rows:
                losses.append(logits.float().sum() * 0)
            elif part.soft is None:
                losses.append(response_cross_entropy(logits, targets))
            else:
                known, soft = logits[targets != IGNORED], part.soft.select(rows)
                losses.append(token_divergence(nn.Identity(), known, soft))
        return torch.stack(losses).sum()

    def _score(self, part: Writing) -> Tensor:
        parts, order = [], []
        for rows, logits in self._logits(part):
            parts.append(response_log_likelihoods(*logits)[: len(rows)])
            order += rows
        return torch.cat(parts)[torch.tensor(order, dtype=torch.long).argsort().to(parts[0].device)]

    def _logits(self, part: Writing) -> Iterator[tuple[list[int], tuple[Tensor, Tensor]]]:
        """Rows of similar length, with their logits and targets; the marker's without rows."""
        marker = [self._model.template.marker]
        lengths = [len(p) + len(r) for p, r in zip(part.prompts, part.responses, strict=True)]
        for rows in self._groups(lengths):
            prompts = [part.prompts[row] for row in rows] or [marker]
            responses = [part.responses[row] for row in rows] or [marker]
            walls = [part.walls[row] for row in rows] if part.walls else []
            yield rows, self._response_logits(prompts, responses, walls)

    def _response_logits(
        self, prompts: Sequence[Tokens], responses: Sequence[Tokens], walls: Sequence[int]
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
        seen = self._model.reader.mask(_behind(mask, walls)) if any(walls) else mask
        logits: Tensor = self._model.lm(
            input_ids=ids.to(device),
            attention_mask=seen.to(device),
            position_ids=(mask.cumsum(1) - 1).clamp(min=0).to(device),
            use_cache=False,
            logits_to_keep=last,
        ).logits
        return logits, targets.to(device)


def _behind(mask: Tensor, walls: Sequence[int]) -> Tensor:
    """Who sees whom in rows padded on the left, bool [n, 1, l, l] from int64 [n, l]."""
    length = mask.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    visible = causal & mask[:, None, :].bool()
    for row, wall in enumerate(walls):
        if wall:
            wall += length - int(mask[row].sum())
            visible[row, wall + 1 :, :wall] = False
    return (visible | torch.eye(length, dtype=torch.bool))[:, None]  # padding sees itself


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
