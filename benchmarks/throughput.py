"""How fast training, encoding, reading and writing are, and which limit of the machine binds.

    python benchmarks/throughput.py --size embedded --clock cpu --out embedded.json
    python benchmarks/throughput.py --size mistral-7b --minutes 8 --out h200.json   # on a GPU
    python benchmarks/throughput.py --size mistral-7b --card h200    # only the arithmetic

``step`` is forward, backward and AdamW of all four objectives with LoRA by the project's own
training code: plainly, with activation checkpointing, and with GradCache. ``encode``: passages of
128 and 384 tokens. ``prefill`` and ``decode``: so many conversations at once in the engine.

A stage is held against the least time that its FLOPs and bytes take (benchmarks/work.py) at the
rates that matrix products and memory reach on the same machine, and against what the same calls
take where layers are 32 wide: the time of Python and of launching kernels. The largest of the three
is the limit that binds. On a GPU one more run tells in which kinds of kernels the time goes.

Results are written after every stage. A step that doesn't fit into the memory is tried with half as
many turns; stages for which no time is left say so. Times are medians, after a first run that isn't
counted.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from machine import (
    Clock,
    Limits,
    cards,
    forget_peak,
    kernel_seconds,
    measure_limits,
    name_of,
    peak_bytes,
)
from material import SIZES, build, narrow, random_model
from stages import LOADS, STAGES, Load, Stage
from uniconv import templates
from uniconv.config import ModelConfig
from uniconv.files import provenance, write_json
from uniconv.model import UniConv
from uniconv.training.network import unfreeze
from work import Work

Row = dict[str, Any]
POSITIONS = 8192


@dataclass(frozen=True, slots=True)
class Bench:
    """The machine, and how long there is."""

    device: torch.device
    clock: Clock
    limits: Limits
    repeats: int
    deadline: float

    @property
    def over(self) -> bool:
        return monotonic() > self.deadline

    def typical(
        self, stage: Stage, model: UniConv, load: Load, *, profiled: bool = False
    ) -> tuple[float, Row]:
        """The median time of a stage's call, and what else was seen of it."""
        with stage.run(model, load) as call:
            first = self.clock.seconds(call)
            forget_peak(self.device)
            times = [self.clock.seconds(call)]
            while len(times) < self.repeats and not self.over:
                times.append(self.clock.seconds(call))
            seen = {"first": first, "times": times, "peak_bytes": peak_bytes(self.device)}
            if profiled:
                seen["kernels"] = kernel_seconds(call, self.device)
            return median(times), seen

    def measure(self, stage: Stage, model: UniConv, thin: UniConv, load: Load) -> Row:
        """A row of the results."""
        if self.over:
            return {"stage": stage.name, "problem": "not measured: no time was left"}
        try:
            seconds, seen = self.typical(stage, model, load, profiled=True)
        except torch.OutOfMemoryError:
            seconds = 0.0
        if not seconds:  # outside of the handler, which holds what was allocated
            self._free()
            if stage.trains and load.turns > 1:
                return self.measure(stage, model, thin, replace(load, turns=load.turns // 2))
            return {"stage": stage.name, "problem": "not measured: out of memory"}
        overhead, _ = self.typical(stage, thin, load)
        self._free()
        row = compared(stage.name, stage.work(model, load), self.limits, seconds, overhead)
        return row | seen | {"load": asdict(load)}

    def _free(self) -> None:
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def compared(name: str, work: Work, limits: Limits, seconds: float, overhead: float) -> Row:
    """A stage's rate and its shares of what the machine can do."""
    least = work.least_seconds(limits) | {"overhead": overhead}
    binding = max(least, key=lambda kind: least[kind])
    return {
        "stage": name,
        **asdict(work),
        "seconds": seconds,
        "rate": work.units / seconds,
        "tokens_per_second": work.tokens / seconds,
        "least_seconds": least,
        "share_of_compute": least["compute"] / seconds,
        "share_of_bandwidth": least["bandwidth"] / seconds,
        "limit": binding,
        "share_of_limit": least[binding] / seconds,
    }


def computed(stage: Stage, model: UniConv, load: Load, limits: Limits) -> Row:
    """The row of a machine that reaches its limits."""
    work = stage.work(model, load)
    least = max(work.least_seconds(limits).values())
    return compared(stage.name, work, limits, least, 0.0) | {"load": asdict(load)}


def models(size: str, device: str) -> tuple[UniConv, UniConv]:
    """The model, and one of as many layers that are next to nothing."""
    limits = templates.Limits(conversation=POSITIONS - 2048)
    model = build(size, limits, device=device, positions=POSITIONS)
    thin = random_model(narrow(model.lm.config), model, limits, str(model.device))
    for one in (model, thin):
        one.template.stop = frozenset()  # answers of the same length, whatever is said
    return model, thin


def table(rows: Sequence[Row], title: str) -> Table:
    """The rows for people."""
    names = ("stage", "rate", "tokens/s", "TFLOP/s", "of compute", "of bandwidth", "limit", "of it")
    found = Table(*names, "peak GiB", title=title)
    for row in rows:
        if "problem" in row:
            found.add_row(row["stage"], row["problem"])
            continue
        peak = row.get("peak_bytes")
        found.add_row(
            row["stage"] + (f" ({row['load']['turns']} turns)" if "step" in row["stage"] else ""),
            f"{_short(row['rate'])} {row['unit']}/s",
            _short(row["tokens_per_second"]),
            f"{row['flops'] / row['seconds'] / 1e12:.3g}",
            f"{row['share_of_compute']:.0%}",
            f"{row['share_of_bandwidth']:.0%}",
            row["limit"],
            f"{row['share_of_limit']:.0%}",
            f"{peak / 2**30:.2f}" if peak else "-",
        )
    return found


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def arguments_of(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="embedded")
    parser.add_argument("--card", choices=cards(), help="compute what its data sheet allows")
    parser.add_argument("--stages", nargs="+", metavar="STAGE", help="beginnings of names; all")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--way", choices=("flex", "segments"), help="of attention; the best")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=1e6, help="start no run after these")
    parser.add_argument("--out", type=Path, help="JSON")
    for one in fields(Load):
        parser.add_argument(f"--{one.name.replace('_', '-')}", type=int)
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> None:
    start = monotonic()
    arguments = arguments_of(given)
    load = LOADS[arguments.size]
    asked = {one.name: getattr(arguments, one.name) for one in fields(Load)}
    load = replace(load, **{name: value for name, value in asked.items() if value is not None})
    chosen = [s for s in STAGES if s.name.startswith(tuple(arguments.stages or [""]))]
    model, thin = models(arguments.size, "meta" if arguments.card else "")
    if way := "segments" if arguments.card else arguments.way:
        model.reader.way = thin.reader.way = way
    if arguments.card:
        limits, device_name = cards()[arguments.card], f"{arguments.card}, by its data sheet"
        row_of: Callable[[Stage], Row] = lambda one: computed(one, model, load, limits)  # noqa: E731
    else:
        clock = Clock(model.device, arguments.clock)
        limits = measure_limits(model.device, model.lm.dtype, clock)
        device_name = name_of(model.device)
        deadline = start + 60 * arguments.minutes
        bench = Bench(model.device, clock, limits, arguments.repeats, deadline)
        row_of = lambda one: bench.measure(one, model, thin, load)  # noqa: E731
    about = {"device": device_name, "size": arguments.size, "clock": arguments.clock}
    about |= {"dtype": str(model.lm.dtype), "way": model.reader.way, "limits": limits._asdict()}
    rows: list[Row] = []
    for number, one in enumerate(chosen):
        if one.trains and not any(before.trains for before in chosen[:number]):
            for each in (model, thin):
                unfreeze(each, ModelConfig(""))
        rows.append(row_of(one))
        if arguments.out:
            write_json(arguments.out, {"provenance": provenance(**about), "stages": rows})
    rate, bandwidth = limits.flops / 1e12, limits.bandwidth / 1e9
    title = f"{arguments.size} on {device_name}: {rate:.3g} TFLOP/s, {_short(bandwidth)} GB/s"
    Console(width=130).print(table(rows, title))


if __name__ == "__main__":
    main()
