"""Contrastive batches bounded by time, not by memory (GradCache, Gao et al. 2021).

A contrastive loss needs the embeddings of the whole batch, but not their graphs. So the batch is
run in passes without a graph; the loss of all embeddings gives the gradient of each; then every
pass is run again with its graph and takes its share of the gradient. Memory holds the graph of one
pass, at the price of one more forward pass. Gradients are those of the plain step, because dropout
draws the same numbers in both runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from uniconv.model import UniConv
from uniconv.training.collate import Contrast, Scoring, Tokens, Writing
from uniconv.training.forwards import Forward, Outputs, choose, walls_of
from uniconv.training.sharding import is_sharded

Parts = dict[str, Contrast | Writing]


class Cached(Forward):
    """Runs another way through the LM pass by pass, twice."""

    def __init__(
        self,
        model: UniConv,
        forward_tokens: int,
        way: Callable[[UniConv, int], Forward] = choose,
    ) -> None:
        super().__init__(model, forward_tokens)
        self.run = way(model, forward_tokens)

    @property
    def innermost(self) -> Forward:
        return self.run.innermost

    def forward(self, parts: Mapping[str, Contrast | Writing]) -> Outputs:
        """As the other way's; every loss and embedding reaches the parameters by a second run."""
        passes = list(self._passes(parts))
        missing = max(1, self._rounds(len(passes))) - len(passes)
        passes += [_selected(parts, [])] * missing
        trained = [one for one in self._model.network.parameters() if one.requires_grad]
        sharded = is_sharded(self._model.network)
        flat = _TwoRuns.apply(self._flat, [one for one, _ in passes], sharded, *trained)  # type: ignore[no-untyped-call]
        return self._together(parts, passes, iter(flat))

    def _flat(self, parts: Parts) -> tuple[Tensor, ...]:
        """The outputs of a pass in order of its parts: queries, documents; or scores; or a loss."""
        outputs = self.run(parts)
        single = {**outputs.losses, **outputs.scores}
        return tuple(
            tensor
            for name, part in parts.items()
            for tensor in (
                outputs.embeddings[name] if isinstance(part, Contrast) else [single[name]]
            )
        )

    def _passes(
        self, parts: Mapping[str, Contrast | Writing]
    ) -> Iterator[tuple[Parts, dict[str, tuple[list[int], list[int]]]]]:
        """Parts of at most ``forward_tokens`` tokens, and which rows of a contrast they hold."""
        origins: list[tuple[str, str, int]] = []
        sequences: list[Tokens] = []
        walls: list[int] = []
        for name, part in parts.items():
            lists = (
                {"queries": part.queries, "documents": part.documents}
                if isinstance(part, Contrast)
                else {"prompts": [p + r for p, r in zip(part.prompts, part.responses, strict=True)]}
            )
            for kind, tokens in lists.items():
                origins += [(name, kind, row) for row in range(len(tokens))]
                sequences += tokens
            walls += walls_of(part)
        for trees in self._model.reader.passes(sequences, self._budget, walls):
            held = sorted(row for tree in trees for row in tree.rows)
            yield _selected(parts, [origins[row] for row in held])

    def _together(
        self,
        parts: Mapping[str, Contrast | Writing],
        passes: Sequence[tuple[Parts, Mapping[str, tuple[list[int], list[int]]]]],
        flat: Iterator[Tensor],
    ) -> Outputs:
        """The outputs of all passes, in the order of the whole batch."""
        found: dict[str, tuple[list[Tensor], list[Tensor]]] = {name: ([], []) for name in parts}
        rows: dict[str, tuple[list[int], list[int]]] = {name: ([], []) for name in parts}
        for part_of_pass, held in passes:
            for name, part in part_of_pass.items():
                for side in (0, 1) if isinstance(part, Contrast) else (0,):
                    found[name][side].append(next(flat))
                    if name in held:
                        rows[name][side].extend(held[name][side])
        return Outputs(
            {
                name: (
                    _ordered(found[name][0], rows[name][0]),
                    _ordered(found[name][1], rows[name][1]),
                )
                for name, part in parts.items()
                if isinstance(part, Contrast)
            },
            {
                name: torch.stack(found[name][0]).sum()
                for name, part in parts.items()
                if isinstance(part, Writing) and not isinstance(part, Scoring)
            },
            {
                name: _ordered(found[name][0], rows[name][0])
                for name, part in parts.items()
                if isinstance(part, Scoring)
            },
        )


def _selected(
    parts: Mapping[str, Contrast | Writing], chosen: Sequence[tuple[str, str, int]]
) -> tuple[Parts, dict[str, tuple[list[int], list[int]]]]:
    """The chosen sequences of all parts; every part is there, if only empty."""
    selected: Parts = {}
    held: dict[str, tuple[list[int], list[int]]] = {}
    for name, part in parts.items():
        rows = {kind: [r for n, k, r in chosen if (n, k) == (name, kind)] for kind in _KINDS}
        if isinstance(part, Contrast):
            held[name] = rows["queries"], rows["documents"]
            queries = [part.queries[row] for row in rows["queries"]]
            selected[name] = Contrast(queries, [part.documents[row] for row in rows["documents"]])
        else:
            prompts = [part.prompts[row] for row in rows["prompts"]]
            responses = [part.responses[row] for row in rows["prompts"]]
            soft = None if part.soft is None else part.soft.select(rows["prompts"])
            held[name] = rows["prompts"], []
            walls = [part.walls[row] for row in rows["prompts"]] if part.walls else []
            selected[name] = type(part)(prompts, responses, soft, walls)
    return selected, held


_KINDS = ("queries", "documents", "prompts")


def _ordered(parts: Sequence[Tensor], rows: Sequence[int]) -> Tensor:
    whole = torch.cat(list(parts))
    return whole[torch.tensor(rows, dtype=torch.long).argsort().to(whole.device)]


class _TwoRuns(torch.autograd.Function):
    """Outputs of all passes without a graph; backward runs each pass again, with one."""

    @staticmethod
    def forward(
        ctx: Any,
        run: Callable[[Parts], tuple[Tensor, ...]],
        passes: Sequence[Parts],
        sharded: bool,
        *parameters: Tensor,
    ) -> tuple[Tensor, ...]:
        ctx.run, ctx.passes, ctx.sharded = run, passes, sharded
        ctx.parameters, ctx.random = parameters, []
        ctx.kind = parameters[0].device.type
        ctx.autocast = torch.is_autocast_enabled(ctx.kind), torch.get_autocast_dtype(ctx.kind)
        outputs: list[Tensor] = []
        for one in passes:
            ctx.random.append(_random_state(parameters[0].device))
            outputs += run(one)
        ctx.counts = len(outputs) // len(passes)
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        gradients: list[Tensor | None] = [None] * len(ctx.parameters)
        enabled, dtype = ctx.autocast
        for number, one in enumerate(ctx.passes):
            given = upstream[number * ctx.counts : (number + 1) * ctx.counts]
            with (
                _drawing(ctx.random[number], ctx.parameters[0].device),
                torch.enable_grad(),
                torch.autocast(ctx.kind, dtype, enabled=enabled),
            ):
                outputs = ctx.run(one)
            if ctx.sharded:  # gradients go to gathered weights, which FSDP scatters from there
                torch.autograd.backward(outputs, given)
                continue
            found = torch.autograd.grad(outputs, ctx.parameters, given, allow_unused=True)
            for place, gradient in enumerate(found):
                before = gradients[place]
                if gradient is not None:
                    gradients[place] = gradient if before is None else before + gradient
        return (None, None, None, *gradients)


def _random_state(device: torch.device) -> tuple[Tensor, Tensor | None]:
    own = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    return torch.get_rng_state(), own


@contextmanager
def _drawing(state: tuple[Tensor, Tensor | None], device: torch.device) -> Iterator[None]:
    """Draws the same random numbers as after the state was taken, and none from outside."""
    cpu, own = state
    with torch.random.fork_rng(devices=[device] if own is not None else []):
        torch.set_rng_state(cpu)
        if own is not None:
            torch.cuda.set_rng_state(own, device)
        yield
