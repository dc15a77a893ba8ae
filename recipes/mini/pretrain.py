"""Stage 6: pretraining, with retrieval and copying mixed in from the first step.

    python recipes/mini/pretrain.py PACK [PACK ...] --state STATE --results RESULTS --minutes 9

Needs Python with torch, transformers, numpy and safetensors, and nothing else of this project than
this folder. The same command goes on from the last checkpoint in STATE. The learning rate warms up
and stays; ``--finish`` lets it fall to nothing over this slice, so that a run can be ended with any
slice. At the end RESULTS has the weights in bfloat16 and the log, in files of at most 15 MiB.

Where STATE was lost, ``--weights`` starts anew from RESULTS of an earlier slice.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import architecture
import checkpoint
import torch
from batches import Batches
from initialise import CIRCUITS, initial
from muon import Muon
from network import Learner, Weights, measured_peak, work
from packed import read_codec, read_meta, read_part, read_parts
from pieces import Vocabulary
from rows import Shape
from torch.utils.data import DataLoader
from transformers import AutoTokenizer

_SLICE_END = 20  # seconds that are kept for writing the last checkpoint and the results
_STATE = ("step", "exp_avg", "exp_avg_sq", "momentum_buffer")  # of AdamW and of Muon


class Run:
    """A run: network, optimisers, and how far it got."""

    def __init__(self, network: Any, learner: Learner, args: argparse.Namespace) -> None:
        self.network, self.learner, self.args = network, learner, args
        self.step = self.tokens = 0
        self.seconds = 0.0
        self.warm_from = 0  # the step from which the learning rate warms up
        self.optimizers = _optimizers(network, args.rate, args.start == "circuits")

    def train_step(self, batch: Any, left: float = 1.0) -> dict[str, torch.Tensor]:
        """One step; ``left`` is the share of the slice that is left where it is the last one."""
        rate = self.args.rate * schedule(self.step - self.warm_from, self.args.warmup, left)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * group["part"]
        self.network.zero_grad(set_to_none=True)
        total, report = self.learner.losses(batch)
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        self.step += 1
        self.tokens += int((batch.pieces > 0).sum())
        return report | {"gradient": norm.detach()}

    def save(self, folder: Path) -> None:
        """A checkpoint from which the run goes on as if it had not stopped; two are kept."""
        tensors = {f"network.{name}": t for name, t in self.network.named_parameters()}
        for name, parameter in self.network.named_parameters():
            for optimizer in self.optimizers:
                for key, value in optimizer.state.get(parameter, {}).items():
                    tensors[f"{key}.{name}"] = value
        checkpoint.write(folder / f"step-{self.step:07d}", tensors, self.progress())
        for old in sorted(folder.glob("step-*"))[:-2]:
            shutil.rmtree(old)

    def load(self, folder: Path) -> None:
        """Goes on from what :meth:`save` wrote."""
        tensors, manifest = checkpoint.read(folder)
        names = {parameter: name for name, parameter in self.network.named_parameters()}
        for parameter, name in names.items():
            parameter.data.copy_(tensors[f"network.{name}"])
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    state = {
                        key: tensors[f"{key}.{names[parameter]}"].to(parameter.device)
                        for key in _STATE
                        if f"{key}.{names[parameter]}" in tensors
                    }
                    if state:
                        optimizer.state[parameter] = state
        for name in ("step", "tokens", "seconds", "warm_from"):
            setattr(self, name, manifest[name])

    def restart(self, folder: Path) -> None:
        """Goes on from the weights of an earlier slice, with a new warm-up."""
        weights, manifest = checkpoint.read(folder)
        self.network.load_state_dict(weights, strict=False)
        for name in ("step", "tokens", "seconds"):
            setattr(self, name, manifest[name])
        self.warm_from = self.step

    def progress(self) -> dict[str, Any]:
        """What a manifest tells."""
        return {
            "size": self.args.size,
            "step": self.step,
            "tokens": self.tokens,
            "seconds": self.seconds,
            "warm_from": self.warm_from,
            "config": self.network.config.to_dict(),
        }


def _optimizers(network: Any, rate: float, circuits: bool) -> tuple[torch.optim.Optimizer, ...]:
    """Muon for the layers' matrices, AdamW for the rest.

    Layers with written circuits take a tenth of a step: whole ones overrun them within a hundred,
    and a small budget doesn't bring them back.
    """
    slow = network.model.layers[: CIRCUITS if circuits else 0]
    fast = [*network.model.layers[len(slow) :], network.model.norm]
    matrices, vectors = [], [{"params": [network.model.embed_tokens.weight], "part": 0.25}]
    for modules, part in ((slow, 0.1), (fast, 1.0)):
        every = [parameter for module in modules for parameter in module.parameters()]
        matrices.append({"params": [p for p in every if p.ndim > 1], "part": part})
        vectors.append({"params": [p for p in every if p.ndim == 1], "part": part})
    return (
        Muon(matrices, rate),
        torch.optim.AdamW(vectors, rate, betas=(0.9, 0.95), weight_decay=0.0, fused=True),
    )


def schedule(step: int, warmup: int, left: float = 1.0) -> float:
    """The share of the peak learning rate: warm-up, then constant, then (WSD) down to nothing.

    The fall is 1 - sqrt of the share that is done (Hägele et al. 2024).
    """
    return min(1.0, (step + 1) / warmup) * (1 - math.sqrt(1 - max(0.0, min(1.0, left))))


def build(args: argparse.Namespace, device: torch.device) -> tuple[Run, Batches]:
    """The run at its start, and its data."""
    folder, meta = read_meta(args.packs)
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    codec = read_codec(folder)
    vocabulary = Vocabulary(tokenizer)
    shape = Shape(args.rows, args.length, repeated=args.repeated)
    batches = Batches(read_parts(args.packs), vocabulary, shape, args.seed)
    config = architecture.config(args.size, meta["vocabulary"])
    table = None
    if args.start != "random":
        table = torch.from_numpy(read_part(folder / "teacher.xz")["tokens"]).float()
    network = initial(config, table, vocabulary.marker, args.start == "circuits", args.seed)
    network = network.to(device).train()
    return Run(network, Learner(network, codec, device, Weights()), args), batches


def train(run: Run, batches: Batches, peak: float) -> None:
    """Steps until the slice is over."""
    args, started = run.args, time.monotonic()
    before, saved = run.seconds, started
    budget = args.minutes * 60 - (_SLICE_END if args.minutes > 2 else 0)
    recent: dict[str, list[torch.Tensor]] = defaultdict(list)
    marked, marked_tokens, attended = started, run.tokens, 0.0
    first = run.step
    loader = DataLoader(
        batches,  # type: ignore[arg-type]
        batch_size=None,
        sampler=range(run.step, args.steps),
        num_workers=args.workers,
        prefetch_factor=8 if args.workers else None,
    )
    for batch in loader:
        elapsed = time.monotonic() - started
        if elapsed > budget:
            break
        done = max(elapsed / budget, (run.step - first) / max(1, args.steps - first))
        for name, value in run.train_step(batch, 1 - done if args.finish else 1.0).items():
            recent[name].append(value)
        attended += batch.attended
        run.seconds = before + time.monotonic() - started
        if run.step % args.log_every == 0 or run.step == args.steps:
            line = {"step": run.step, "tokens": run.tokens, "seconds": round(run.seconds, 1)}
            means = {name: float(torch.stack(values).nanmean()) for name, values in recent.items()}
            line |= {name: round(mean, 4) for name, mean in means.items() if mean == mean}  # no nan
            now = time.monotonic()
            speed = (run.tokens - marked_tokens) / (now - marked)
            mean = attended / len(recent["next"])
            line |= {"tokens/s": round(speed)}
            line |= {"of peak": round(speed * work(run.network.config, mean) / peak, 4)}
            _log(args.state, line)
            recent.clear()
            marked, marked_tokens, attended = now, run.tokens, 0.0
        if time.monotonic() - saved > args.save_minutes * 60:
            run.save(args.state)
            saved = time.monotonic()


def _log(state: Path, line: dict[str, Any]) -> None:
    print("  ".join(f"{name} {value}" for name, value in line.items()), flush=True)
    state.mkdir(parents=True, exist_ok=True)
    with (state / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("packs", type=Path, nargs="+", help="folders of packed parts")
    parser.add_argument("--state", type=Path, required=True, help="checkpoints and the log")
    parser.add_argument("--results", type=Path, required=True, help="weights in small files")
    parser.add_argument("--size", choices=sorted(architecture.SIZES), default="base")
    parser.add_argument("--start", choices=("random", "taught", "circuits"), default="taught")
    parser.add_argument("--weights", type=Path, help="RESULTS/weights of an earlier slice")
    parser.add_argument("--minutes", type=float, default=math.inf, help="of this slice")
    parser.add_argument("--steps", type=int, default=1_000_000, help="of the whole run")
    parser.add_argument("--finish", action="store_true", help="let the learning rate fall")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--length", type=int, default=architecture.CONTEXT)
    parser.add_argument("--repeated", type=float, default=0.02, help="share of mere copying")
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--warmup", type=int, default=200, help="steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=0, help="processes that make batches")
    parser.add_argument("--log-every", type=int, default=20, help="steps")
    parser.add_argument("--save-minutes", type=float, default=3)
    parser.add_argument("--peak", type=float, help="FLOP/s of the machine; measured by default")
    return parser.parse_args()


def main() -> None:
    args = parse()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_float32_matmul_precision("high" if device.type == "cuda" else "highest")
    torch.set_flush_denormal(True)
    started = time.monotonic()
    run, batches = build(args, device)
    found = checkpoint.newest(args.state)
    if found:
        run.load(found)
    elif args.weights:
        run.restart(args.weights)
    size = sum(p.numel() for p in run.network.parameters())
    peak = args.peak or measured_peak(device)
    print(
        f"{args.size}: {size / 1e6:.1f} M parameters, {len(batches):,} documents, step {run.step}, "
        f"{device.type}, peak {peak / 1e12:.2f} TFLOP/s",
        flush=True,
    )
    run.learner.choose([batches[run.step + n] for n in range(4 if device.type == "cuda" else 1)])
    print(f"ready after {time.monotonic() - started:.0f} s", flush=True)
    args.minutes -= (time.monotonic() - started) / 60
    train(run, batches, peak)
    run.save(args.state)
    checkpoint.write(args.results / "weights", checkpoint.half(run.network), run.progress())
    if (args.state / "log.jsonl").exists():
        shutil.copy(args.state / "log.jsonl", args.results / "log.jsonl")


if __name__ == "__main__":
    main()
