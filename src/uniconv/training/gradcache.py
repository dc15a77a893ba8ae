"""Contrastive batches bounded by time, not by memory (GradCache, Gao et al. 2021).

A contrastive loss needs the embeddings of the whole batch, but not their graphs. So what is
compared is read in passes without a graph; the loss gives the gradient of each embedding; then
everything is read pass by pass, each with its graph, and takes its share of the gradient. Memory
holds the graph of one pass, at the price of reading queries and documents once more. Losses of
responses are sums and need no first run. Gradients are those of the plain step: where dropout draws
random numbers, both runs read the same sequences and draw the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from uniconv.model import UniConv
from uniconv.training.batch import Contrast, Scoring, Writing
from uniconv.training.forwards import Forward, Loss, Outputs, Precision, choose, walls_of
from uniconv.training.sharding import is_sharded
from uniconv.tree import Tokens

Parts = dict[str, Contrast | Writing]
Rows = dict[str, tuple[list[int], list[int]]]


@dataclass(frozen=True, slots=True)
class Pass:
    """Some sequences of all parts, and which rows of each they are: queries, documents; prompts."""

    parts: Parts
    rows: Rows

    @property
    def compared(self) -> Parts:
        """What a loss compares with other passes' sequences; parts of responses are empty."""
        return {
            name: part if isinstance(part, Contrast | Scoring) else Writing()
            for name, part in self.parts.items()
        }


class Cached(Forward):
    """Runs another way through the LM pass by pass; to learn, twice."""

    def __init__(
        self,
        model: UniConv,
        forward_tokens: int,
        way: Callable[[UniConv, int], Forward] = choose,
    ) -> None:
        super().__init__(model, forward_tokens)
        self.run = way(model, forward_tokens)
        self._draws = False  # whether the LM was seen to draw random numbers

    @property
    def innermost(self) -> Forward:
        return self.run.innermost

    def forward(self, parts: Mapping[str, Contrast | Writing]) -> Outputs:
        passes = self._passes(parts)
        return _together(passes, [self.run(one.parts) for one in passes])

    def learn(
        self, parts: Mapping[str, Contrast | Writing], loss: Loss, precision: Precision
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """As the other way's, but all gradients are known when it returns.

        ``backward`` hands them out. Only where FSDP splits the weights do they already lie there,
        so that the result must not be scaled.
        """
        passes = self._passes(parts)
        with torch.no_grad(), precision():
            firsts = [self._first_run(one) for one in passes]
        known = _Leaves(_together(passes, [outputs for outputs, _ in firsts]))
        with torch.enable_grad():
            value, sums = loss(known.outputs)
        upstream = known.gradients(value)
        gradients = _Gradients(self._model.network)
        losses = {name: torch.zeros_like(one) for name, one in upstream.losses.items()}
        for one, (_, state) in zip(passes, firsts, strict=True):
            with state.again(), torch.enable_grad(), precision():
                outputs = self.run(one.parts)
            gradients.add(_flat(outputs), _flat(_share(upstream, one.rows)))
            for name in losses:
                losses[name] += outputs.losses[name].detach()
        value = value.detach() + sum(upstream.losses[name] * losses[name] for name in losses)
        sums = {name: losses.get(name, one.detach()) for name, one in sums.items()}
        return gradients.behind(value), sums

    def _first_run(self, one: Pass) -> tuple[Outputs, _RandomState]:
        """What is compared of a pass, and the random state to run it again from."""
        state = _RandomState(self._model.device)
        if not self._draws:
            outputs = self.run(one.compared)
            self._draws = state.moved
            if not self._draws:
                return outputs, state
            state.restore()
        return self.run(one.parts), state

    def _passes(self, parts: Mapping[str, Contrast | Writing]) -> list[Pass]:
        """Parts of at most ``forward_tokens`` tokens; with FSDP as many in every process."""
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
        passes = [
            _selected(
                parts, [origins[row] for row in sorted(r for tree in trees for r in tree.rows)]
            )
            for trees in self._model.reader.passes(sequences, self._budget, walls)
        ]
        return passes + [_selected(parts, [])] * (max(1, self._rounds(len(passes))) - len(passes))


class _Leaves:
    """Outputs from which a loss is computed to learn its gradients; 0 for losses: it is linear."""

    def __init__(self, known: Outputs) -> None:
        def leaf(tensor: Tensor) -> Tensor:
            return tensor.detach().requires_grad_()

        self.outputs = Outputs(
            {name: (leaf(q), leaf(d)) for name, (q, d) in known.embeddings.items()},
            {name: leaf(torch.zeros_like(one)) for name, one in known.losses.items()},
            {name: leaf(one) for name, one in known.scores.items()},
        )

    def gradients(self, value: Tensor) -> Outputs:
        """The gradient of ``value`` by each output, in the place of the output."""
        leaves = _flat(self.outputs)
        found = iter(torch.autograd.grad(value, leaves, materialize_grads=True))
        return Outputs(
            {name: (next(found), next(found)) for name in self.outputs.embeddings},
            {name: next(found) for name in self.outputs.losses},
            {name: next(found) for name in self.outputs.scores},
        )


class _Gradients:
    """The gradients of all trained parameters, summed over passes."""

    def __init__(self, network: torch.nn.Module) -> None:
        self._parameters = [one for one in network.parameters() if one.requires_grad]
        self._sharded = is_sharded(network)
        self._sums: list[Tensor | None] = [None] * len(self._parameters)

    def add(self, outputs: Sequence[Tensor], upstream: Sequence[Tensor]) -> None:
        """Adds what a pass contributes, and drops its graph."""
        if self._sharded:  # gradients go to gathered weights, which FSDP scatters from there
            torch.autograd.backward(outputs, upstream)
            return
        found = torch.autograd.grad(outputs, self._parameters, upstream, allow_unused=True)
        for place, gradient in enumerate(found):
            before = self._sums[place]
            if gradient is not None:
                self._sums[place] = gradient if before is None else before.add_(gradient)

    def behind(self, value: Tensor) -> Tensor:
        """The value with these gradients, for one ``backward``."""
        result: Tensor = _Known.apply(value, self._sums, *self._parameters)  # type: ignore[no-untyped-call]
        return result


class _Known(torch.autograd.Function):
    """A value whose gradients are known already."""

    @staticmethod
    def forward(
        ctx: Any, value: Tensor, gradients: list[Tensor | None], *_parameters: Tensor
    ) -> Tensor:
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        gradients, ctx.gradients = ctx.gradients, None
        return None, None, *(one if one is None else one.mul_(upstream) for one in gradients)


class _RandomState:
    """From where random numbers are drawn, on the CPU and on a GPU."""

    def __init__(self, device: torch.device) -> None:
        self._devices = [device] if device.type == "cuda" else []
        self._states = self._now()

    def _now(self) -> list[Tensor]:
        return [torch.get_rng_state(), *map(torch.cuda.get_rng_state, self._devices)]

    @property
    def moved(self) -> bool:
        """Whether any were drawn since the state was taken."""
        return not all(map(torch.equal, self._states, self._now()))

    def restore(self) -> None:
        """Draws from here again."""
        torch.set_rng_state(self._states[0])
        for device, state in zip(self._devices, self._states[1:], strict=True):
            torch.cuda.set_rng_state(state, device)

    @contextmanager
    def again(self) -> Iterator[None]:
        """Draws the same random numbers as after the state was taken, and none from outside."""
        with torch.random.fork_rng(devices=self._devices):
            self.restore()
            yield


def _flat(outputs: Outputs) -> list[Tensor]:
    pairs = [tensor for pair in outputs.embeddings.values() for tensor in pair]
    return [*pairs, *outputs.losses.values(), *outputs.scores.values()]


def _share(whole: Outputs, rows: Rows) -> Outputs:
    """What belongs to the rows of a pass."""
    return Outputs(
        {
            name: (queries[rows[name][0]], documents[rows[name][1]])
            for name, (queries, documents) in whole.embeddings.items()
        },
        whole.losses,
        {name: scores[rows[name][0]] for name, scores in whole.scores.items()},
    )


def _together(passes: Sequence[Pass], outputs: Sequence[Outputs]) -> Outputs:
    """The outputs of all passes, in the order of the whole batch."""

    def ordered(name: str, side: int, tensors: Sequence[Tensor]) -> Tensor:
        rows = torch.tensor(
            [row for one in passes for row in one.rows[name][side]], dtype=torch.long
        )
        return torch.cat(list(tensors))[rows.argsort().to(tensors[0].device)]

    first = outputs[0]
    return Outputs(
        {
            name: (
                ordered(name, 0, [one.embeddings[name][0] for one in outputs]),
                ordered(name, 1, [one.embeddings[name][1] for one in outputs]),
            )
            for name in first.embeddings
        },
        {name: torch.stack([one.losses[name] for one in outputs]).sum() for name in first.losses},
        {name: ordered(name, 0, [one.scores[name] for one in outputs]) for name in first.scores},
    )


def _selected(
    parts: Mapping[str, Contrast | Writing], chosen: Sequence[tuple[str, str, int]]
) -> Pass:
    """The chosen sequences of all parts; every part is there, if only empty."""
    selected: Parts = {}
    held: Rows = {}
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
    return Pass(selected, held)


_KINDS = ("queries", "documents", "prompts")
