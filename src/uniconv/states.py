"""Last-layer states of token sequences, with every common beginning read once."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from uniconv.tree import Tokens, Tree, batches, grow, separate, tensors, visible

log = logging.getLogger(__name__)

_TRUNK = [3 + (7 * n) % 11 for n in range(16)]

TREE_TOKENS = 2048
"""The most tokens of a tree with branches: its attention mask grows with their square."""


@dataclass(frozen=True, slots=True)
class States:
    """States of some of a list of sequences.

    ``hidden`` is [t, d]; ``rows`` tell which sequences they are, ``paths`` (int64) the states of
    each in the order of its tokens.
    """

    hidden: Tensor
    rows: list[int]
    paths: list[Tensor]


class Reader:
    """Runs a causal LM over sequences: as trees where the LM allows it, one by one otherwise."""

    def __init__(self, lm: Any) -> None:
        self.lm = lm
        self._config = lm.config.get_text_config()

    def read(self, sequences: Sequence[Tokens], budget: int) -> Iterator[States]:
        """The states of all sequences, in passes of at most ``budget`` tokens with padding."""
        for trees in batches(self.trees(sequences, budget), budget):
            yield self._pass(trees)

    def read_all(self, sequences: Sequence[Tokens], budget: int) -> States:
        """The states of all sequences together, in the order given; at least one sequence."""
        rows: list[int] = []
        paths: list[Tensor] = []
        parts, read = [], 0
        for states in self.read(sequences, budget):
            rows += states.rows
            paths += [path + read for path in states.paths]
            parts.append(states.hidden)
            read += len(states.hidden)
        order = sorted(range(len(rows)), key=rows.__getitem__)
        return States(torch.cat(parts), sorted(rows), [paths[place] for place in order])

    @cached_property
    def has_plain_head(self) -> bool:
        """Whether logits are the output layer of the last states and nothing more."""
        ids = torch.tensor([_TRUNK], device=self.lm.device)
        with torch.no_grad(), _evaluating(self.lm):
            logits = self.lm(input_ids=ids, use_cache=False).logits
            hidden = self.lm.base_model(input_ids=ids, use_cache=False).last_hidden_state
            return _near(self.lm.get_output_embeddings()(hidden), logits)

    @cached_property
    def reads_trees(self) -> bool:
        """Whether a tree's states are those of its sequences, found by trying it once."""
        sequences = [_TRUNK, [*_TRUNK[:12], 5, 6, 4], [*_TRUNK[:12], 9], [*_TRUNK, 8, 3]]
        try:
            with torch.no_grad(), _evaluating(self.lm):
                found = self._pass(grow(sequences, budget=100, least_shared=1))
                same = all(
                    _near(found.hidden[path], self._pass(separate([sequences[row]])).hidden)
                    for row, path in zip(found.rows, found.paths, strict=True)
                )
        except (TypeError, ValueError, RuntimeError):  # whatever a foreign model refuses with
            same = False
        if not same:
            log.warning(
                "this backbone can't read several continuations of a conversation in one pass "
                "(it ignores position ids or attention masks); it reads them one by one"
            )
        return same

    def trees(self, sequences: Sequence[Tokens], budget: int) -> list[Tree]:
        """The trees in which the LM reads the sequences, each of at most ``budget`` tokens."""
        window = getattr(self._config, "sliding_window", None)
        fits = window is None or max(map(len, sequences), default=0) <= window
        if fits and self.reads_trees:
            return grow(sequences, min(budget, TREE_TOKENS))
        return separate(sequences)

    def _pass(self, trees: Sequence[Tree]) -> States:
        device = self.lm.device
        ids, positions, ends = (tensor.to(device) for tensor in tensors(trees))
        options: dict[str, Any] = {}
        # Without branches plain causal attention serves: it never looks at padding on the right.
        if not trees[0].is_chain:
            options = {"position_ids": positions, "attention_mask": self._mask(ends)}
        hidden = self.lm.base_model(input_ids=ids, use_cache=False, **options).last_hidden_state
        rows, paths = [], []
        for number, tree in enumerate(trees):
            rows += tree.rows
            start = number * ids.shape[1]
            paths += [torch.tensor(path, device=device) + start for path in tree.paths]
        return States(hidden.flatten(0, 1), rows, paths)

    def _mask(self, ends: Tensor) -> Tensor:
        mask = visible(ends)
        if self._config._attn_implementation == "sdpa":
            return mask
        # Eager attention adds its mask to the scores.
        dtype = self.lm.dtype
        return torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, torch.finfo(dtype).min)


def _near(found: Tensor, expected: Tensor) -> bool:
    """Between bfloat16's rounding and the difference that a wrong mask makes."""
    difference = (found.float() - expected.float()).abs().max()
    return bool(difference <= 0.1 * expected.float().abs().max())


@contextmanager
def _evaluating(lm: Any) -> Iterator[None]:
    """Without dropout."""
    was_training = lm.training
    lm.eval()
    try:
        yield
    finally:
        lm.train(was_training)


def padded(paths: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Paths as rows, int64 [n, length], and which entries are theirs, bool [n, length]."""
    lengths = torch.tensor([len(path) for path in paths], device=paths[0].device)
    rows = pad_sequence(list(paths), batch_first=True)
    return rows, torch.arange(rows.shape[1], device=rows.device) < lengths[:, None]
