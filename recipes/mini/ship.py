"""Stage 11: the trained model in bfloat16, with its card, as the folder that the project ships.

    python recipes/mini/ship.py MODEL models/mini [--before MODEL --share 0.4]

The card (README.md) of the target folder is kept. The model answers with quotations: one of its
size can't put an answer into words (docs/lab-log.md). With ``--before``, weights are the average of
the model's and, by ``--share``, of the one that its last round began from (WiSE-FT, Wortsman et al.
2022, arXiv 2109.01903): what the round unlearned comes back, and little of the rest is lost.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from uniconv.model import UniConv


@torch.no_grad()
def average(model: UniConv, before: UniConv, share: float) -> None:
    """Moves the model's weights towards those of ``before``: by 0 not at all, by 1 all the way."""
    for own, other in zip(model.lm.parameters(), before.lm.parameters(), strict=True):
        own.lerp_(other.to(own.dtype), share)


def ship(source: Path, target: Path, before: Path | None = None, share: float = 0.4) -> None:
    """Replaces the model in ``target`` by that in ``source``."""
    card = target / "README.md"
    text = card.read_text("utf-8") if card.exists() else None
    model = UniConv.from_pretrained(source, device="cpu")
    model.settings = replace(model.settings, quote=True)
    record = dict(model.training or {})
    record["command"] = ["uniconv", *record["command"][1:]]  # without where the program lies
    if before is not None:
        average(model, UniConv.from_pretrained(before, device="cpu"), share)
        record["averaged"] = {"before": before.as_posix(), "share": share}
    model.save_pretrained(target, dtype=torch.bfloat16, training=record)
    if text is not None:
        card.write_text(text, "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--before", type=Path, help="the model that the last round began from")
    parser.add_argument("--share", type=float, default=0.4, help="what its weights count")
    arguments = parser.parse_args()
    ship(arguments.model, arguments.target, arguments.before, arguments.share)


if __name__ == "__main__":
    main()
