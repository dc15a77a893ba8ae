"""Last-layer states of token sequences, with every common beginning read once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from uniconv import attention, tree
from uniconv.errors import ModelError
from uniconv.tree import Layout, Tokens, Tree

log = logging.getLogger(__name__)

_TRUNK = [3 + (7 * n) % 11 for n in range(16)]

MASK_TOKENS = 2048
"""The most tokens of a tree that is read with a mask, which grows with their square."""

_BLOCK = 128
"""``flex_attention`` works in blocks of so many tokens, and is compiled for a length."""


@dataclass(frozen=True, slots=True)
class States:
    """States of some of a list of sequences.

    ``hidden`` is [t, d]; ``rows`` tell which sequences they are, ``paths`` (int64) the states of
    each in the order of its tokens.
    """

    hidden: Tensor
    rows: list[int]
    paths: list[Tensor]


Way = Literal["flex", "segments", "masks", "separate"]
"""How trees are read: packed, with the attention of :mod:`uniconv.attention` in one kernel or piece
by piece; padded, with a mask of all pairs; or not at all, every sequence on its own."""


class Reader:
    """Runs a causal LM over sequences: as trees where the LM allows it, one by one otherwise."""

    def __init__(self, lm: Any) -> None:
        self.lm = lm
        self._config = lm.config.get_text_config()
        if self._config._attn_implementation == "sdpa":
            lm.set_attn_implementation(attention.NAME)  # sdpa as before, and trees

    def read(self, sequences: Sequence[Tokens], budget: int) -> Iterator[States]:
        """The states of all sequences, in passes of at most ``budget`` tokens with padding."""
        way = self._way_of(sequences)
        for trees in self._passes(sequences, budget, way):
            yield self._pass(trees, way)

    def read_all(
        self,
        sequences: Sequence[Tokens],
        budget: int,
        rounds: Callable[[int], int] = lambda passes: passes,
        walls: Sequence[int] = (),
    ) -> States:
        """The states of all sequences together, in the order given; at least one sequence.

        ``walls``, where they are given, are by sequence: what follows the token at this place sees
        none before it; 0 is no wall.

        ``rounds`` is told how many passes that takes and says how many to make: processes that
        share the LM's weights make equally many. What is read in the others is in no path.
        """
        rows: list[int] = []
        paths: list[Tensor] = []
        parts, read = [], 0
        way = self._way_of(sequences)
        passes = list(self._passes(sequences, budget, way, walls))
        more = rounds(len(passes)) - len(passes)  # agreed on before any process begins
        for trees in passes:
            states = self._pass(trees, way)
            rows += states.rows
            paths += [path + read for path in states.paths]
            parts.append(states.hidden)
            read += len(states.hidden)
        for _ in range(more):
            parts.append(self._pass(tree.separate([sequences[0][:1]]), "separate").hidden)
        order = sorted(range(len(rows)), key=rows.__getitem__)
        return States(torch.cat(parts), sorted(rows), [paths[place] for place in order])

    def passes(
        self, sequences: Sequence[Tokens], budget: int, walls: Sequence[int] = ()
    ) -> Iterator[list[Tree]]:
        """The trees of each pass in which the sequences would be read."""
        return self._passes(sequences, budget, self._way_of(sequences), walls)

    @cached_property
    def has_plain_head(self) -> bool:
        """Whether logits are the output layer of the last states and nothing more."""
        ids = torch.tensor([_TRUNK], device=self.lm.device)
        with torch.no_grad(), _evaluating(self.lm):
            logits = self.lm(input_ids=ids, use_cache=False).logits
            hidden = self.lm.base_model(input_ids=ids, use_cache=False).last_hidden_state
            return _near(self.lm.get_output_embeddings()(hidden), logits)

    @property
    def reads_trees(self) -> bool:
        """Whether what sequences have in common at their beginning is read once."""
        return self.way != "separate"

    @cached_property
    def way(self) -> Way:
        """The first way in which a tree's states are those of its sequences, found by trying."""
        tries: list[Way] = ["masks"]
        if self._config._attn_implementation == attention.NAME:
            tries.insert(0, "segments")
            if self.lm.device.type == "cuda" and not getattr(self._config, "attention_dropout", 0):
                tries.insert(0, "flex")
        for way in tries:
            if self._reads(way):
                return way
        log.warning(
            "this backbone can't read several continuations of a conversation in one pass "
            "(it ignores position ids or attention masks); it reads them one by one"
        )
        return "separate"

    def _reads(self, way: Way) -> bool:
        sequences = [_TRUNK, [*_TRUNK[:12], 5, 6, 4], [*_TRUNK[:12], 9], [*_TRUNK, 8, 3]]
        try:
            with torch.no_grad(), _evaluating(self.lm):
                found = self._pass(tree.grow(sequences, budget=100, least_shared=1), way)
                return all(
                    _near(
                        found.hidden[path],
                        self._pass(tree.separate([sequences[row]]), "separate").hidden,
                    )
                    for row, path in zip(found.rows, found.paths, strict=True)
                )
        except (TypeError, ValueError, RuntimeError):  # whatever a foreign model refuses with
            return False

    def _way_of(self, sequences: Sequence[Tokens]) -> Way:
        """Sequences longer than a sliding window need the LM's own mask."""
        window = getattr(self._config, "sliding_window", None)
        if window is not None and max(map(len, sequences), default=0) > window:
            return "separate"
        return self.way

    def _passes(
        self, sequences: Sequence[Tokens], budget: int, way: Way, walls: Sequence[int] = ()
    ) -> Iterator[list[Tree]]:
        if way == "separate":
            if any(walls):
                raise ModelError(
                    "the session mask needs a backbone that takes attention masks, and sequences "
                    "no longer than its sliding window; set objectives.session_mask to false"
                )
            return tree.batches(tree.separate(sequences), budget)
        if way == "masks":
            trees = tree.grow(sequences, min(budget, MASK_TOKENS), walls=walls)
            return tree.batches(trees, budget)
        return tree.packs(tree.grow(sequences, budget, walls=walls), budget)

    def _pass(self, trees: Sequence[Tree], way: Way) -> States:
        device = self.lm.device
        packs = way in ("flex", "segments")
        multiple = _BLOCK if way == "flex" else 1
        layout = (tree.packed(trees, multiple) if packs else tree.padded(trees)).to(device)
        options = self._attention(trees, way, layout)
        hidden = self.lm.base_model(
            input_ids=layout.ids, use_cache=False, **options
        ).last_hidden_state
        rows: list[int] = []
        nodes: list[int] = []
        lengths: list[int] = []
        start = 0
        for one in trees:
            rows += one.rows
            for path in one.paths:
                nodes += [start + node for node in path]
                lengths.append(len(path))
            start += len(one) if packs else layout.ids.shape[1]
        # One copy to the GPU: each of them would wait for all that it has to do.
        paths = torch.split(torch.tensor(nodes, device=device), lengths)
        return States(hidden.flatten(0, 1), rows, list(paths))

    def _attention(self, trees: Sequence[Tree], way: Way, layout: Layout) -> dict[str, Any]:
        """What tells the LM who sees whom."""
        if way in ("masks", "separate"):
            if trees[0].is_chain:  # causal attention never looks at padding on the right
                return {}
            return {"position_ids": layout.positions, "attention_mask": self.mask(layout.visible())}
        device = layout.ids.device
        return {
            "position_ids": layout.positions,
            "pattern": (
                attention.blocks(layout) if way == "flex" else attention.segments(trees, device)
            ),
            # A mask of four dimensions keeps transformers from making one of all pairs.
            "attention_mask": torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device),
        }

    def mask(self, visible: Tensor) -> Tensor:
        """What the LM takes as a mask of all pairs, from bool [n, 1, queries, keys]."""
        if self._config._attn_implementation in ("sdpa", attention.NAME):
            return visible
        # Eager attention adds its mask to the scores.
        dtype = self.lm.dtype
        hidden = torch.finfo(dtype).min
        return torch.zeros_like(visible, dtype=dtype).masked_fill(~visible, hidden)


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
