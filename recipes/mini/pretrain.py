"""Stage 5: pretraining, retrieval and grounded copying mixed from the first step.

    python recipes/mini/pretrain.py OUT [--steps N] [--minutes M]

Each step adds InfoNCE and distillation over a batch of pairs to next-token loss over a batch of
sequences. A checkpoint is written every few minutes; the same command goes on from it. The
schedule follows ``--steps``; ``--minutes`` only ends this run early. Writes ``OUT/pretrained``.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mixture import Mixture, Pairs, Sequences, pad
from teacher import read_shards
from torch import Tensor
from torch.nn.functional import cosine_similarity, cross_entropy, normalize

from uniconv.files import atomic
from uniconv.model import UniConv

_TEMPERATURE = 0.05


class Run:
    """A pretraining run: model, optimiser, step and tokens seen."""

    def __init__(self, model: UniConv, mixture: Mixture, args: argparse.Namespace) -> None:
        self.model, self.mixture, self.args = model, mixture, args
        self.step = self.tokens = 0
        self.seconds = 0.0
        self.network = model.network.train()
        embeddings = self.network.model.embed_tokens.weight
        rest = [p for p in self.network.parameters() if p is not embeddings]
        matrices = [p for p in rest if p.ndim > 1]
        gains = [p for p in rest if p.ndim == 1]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": matrices, "peak": args.rate, "weight_decay": 0.02},
                {"params": gains, "peak": args.rate, "weight_decay": 0.0},
                {"params": [embeddings], "peak": args.rate / 2, "weight_decay": 0.0},
            ],
            lr=args.rate,
            betas=(0.9, 0.98),
            fused=True,
        )

    def train_step(self) -> dict[str, float]:
        """One step; returns its losses."""
        args = self.args
        practice = 0.3 if self.step < args.steps * 0.25 else 0.05
        pairs = self.mixture.pairs(self.step, args.pairs)
        sequences = self.mixture.sequences(self.step, args.sequences, practice)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * schedule(self.step, args.steps)
        self.optimizer.zero_grad(set_to_none=True)
        losses, embedding_loss = pair_losses(self.network, pairs)
        embedding_loss.backward()
        losses |= (next_token := next_token_loss(self.network, sequences))[0]
        next_token[1].backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        self.tokens += sum(map(len, pairs.queries)) + sum(map(len, pairs.passages))
        self.tokens += int(sequences.ids.count_nonzero())
        return losses

    def save(self, path: Path) -> None:
        """Writes everything that going on needs, atomically."""
        state = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "progress": {"step": self.step, "tokens": self.tokens, "seconds": self.seconds},
        }
        with atomic(path) as temporary:
            torch.save(state, temporary)

    def load(self, path: Path) -> None:
        """Goes on from what :meth:`save` wrote."""
        state = torch.load(path, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        for name, value in state["progress"].items():
            setattr(self, name, value)


def schedule(step: int, steps: int) -> float:
    """The share of the peak learning rate: warm-up, plateau, then down to a twentieth."""
    decay = min(1.0, (steps - step) / (0.5 * steps))
    return min(1.0, (step + 1) / 80) * max(0.05, decay)


def pair_losses(network: Any, pairs: Pairs) -> tuple[dict[str, float], Tensor]:
    """InfoNCE in both directions and the distance to the teacher's embeddings."""
    queries = embed(network, pairs.queries)
    passages = embed(network, pairs.passages)
    scores = queries @ passages.T / _TEMPERATURE
    groups = np.array(pairs.groups)
    same = torch.from_numpy(groups[:, None] == groups[None])
    scores = scores.masked_fill(same & ~torch.eye(len(same), dtype=torch.bool), -torch.inf)
    right = torch.arange(len(scores))
    contrast = (cross_entropy(scores, right) + cross_entropy(scores.T, right)) / 2
    embeddings = torch.cat([queries, passages])
    targets = torch.cat([pairs.query_targets, pairs.passage_targets])
    taught = targets.any(1)
    distance = 1 - cosine_similarity(embeddings[taught], targets[taught]).mean()
    accuracy = (scores.argmax(1) == right).float().mean()
    report = {"contrast": contrast.item(), "accuracy": accuracy.item()}
    if not taught.any():
        return report, contrast
    return report | {"distance": distance.item()}, contrast + 5 * distance


def embed(network: Any, sequences: list[list[int]]) -> Tensor:
    """Embeddings [n, d]; padding is on the right, where causal attention never looks."""
    order = sorted(range(len(sequences)), key=lambda row: len(sequences[row]))
    parts = []
    for rows in (order[: len(order) // 2], order[len(order) // 2 :]):
        batch = [sequences[row] for row in rows]
        hidden = network.model(input_ids=pad(batch), use_cache=False).last_hidden_state
        last = torch.tensor([len(sequence) - 1 for sequence in batch])
        parts.append(hidden[torch.arange(len(last)), last])
    return normalize(torch.cat(parts)[torch.tensor(order).argsort()], dim=-1)


def next_token_loss(network: Any, batch: Sequences) -> tuple[dict[str, float], Tensor]:
    """Cross-entropy of the labelled tokens; logits are computed for these only."""
    hidden = network.model(input_ids=batch.ids[:, :-1], use_cache=False).last_hidden_state
    labels = batch.labels[:, 1:]
    wanted = labels != -100
    logits = network.lm_head(hidden[wanted])
    loss = cross_entropy(logits, labels[wanted])
    accuracy = (logits.argmax(-1) == labels[wanted]).float().mean()
    return {"next": loss.item(), "next_accuracy": accuracy.item()}, loss


def read_teacher(out: Path) -> dict[str, np.ndarray]:
    """The teacher's embeddings, in the student's space, of passages by id and questions by text."""
    directions = np.load(out / "basis.npy")
    table = {}
    for name in ("passages", "questions"):
        for key, embedding in read_shards(out / "teacher" / name):
            table[key] = embedding.astype(np.float32) @ directions
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--minutes", type=float, default=math.inf)
    parser.add_argument("--pairs", type=int, default=32)
    parser.add_argument("--sequences", type=int, default=10)
    parser.add_argument("--rate", type=float, default=6e-4)
    args = parser.parse_args()
    model = UniConv.from_pretrained(args.out / "init")
    torch.set_float32_matmul_precision("highest")  # bfloat16 products are slower on many CPUs
    torch.set_flush_denormal(True)
    mixture = Mixture.read(args.out, model.template, read_teacher(args.out))
    run = Run(model, mixture, args)
    checkpoint = args.out / "pretrain.pt"
    if checkpoint.exists():
        run.load(checkpoint)
    started, saved = time.monotonic(), time.monotonic()
    before, recent = run.seconds, []
    while run.step < args.steps and time.monotonic() - started < args.minutes * 60:
        recent.append(run.train_step())
        run.seconds = before + time.monotonic() - started
        if run.step % 20 == 0:
            names = recent[-1].keys()
            report = {k: float(np.mean([r[k] for r in recent if k in r])) for k in names}
            line = {"step": run.step, "tokens": run.tokens, "seconds": run.seconds, **report}
            with (args.out / "pretrain.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps(line) + "\n")
            print(" ".join(f"{k} {v:.4g}" for k, v in line.items()), flush=True)
            recent = []
        if time.monotonic() - saved > 180 or run.step == args.steps:
            run.save(checkpoint)
            saved = time.monotonic()
    run.save(checkpoint)
    training = {"steps": run.step, "tokens": run.tokens, "seconds": round(run.seconds)}
    model.save_pretrained(args.out / "pretrained", dtype=torch.bfloat16, training=training)


if __name__ == "__main__":
    main()
