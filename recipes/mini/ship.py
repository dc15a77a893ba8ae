"""Stage 11: the trained model in bfloat16, with its card, as the folder that the project ships.

    python recipes/mini/ship.py MODEL models/mini

The card (README.md) of the target folder is kept. The model answers with quotations: one of its
size can't put an answer into words (docs/lab-log.md).
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import torch

from uniconv.model import UniConv


def main(source: Path, target: Path) -> None:
    """Replaces the model in ``target`` by that in ``source``."""
    card = target / "README.md"
    text = card.read_text("utf-8") if card.exists() else None
    model = UniConv.from_pretrained(source, device="cpu")
    model.settings = replace(model.settings, quote=True)
    record = dict(model.training or {})
    record["command"] = ["uniconv", *record["command"][1:]]  # without where the program lies
    model.save_pretrained(target, dtype=torch.bfloat16, training=record)
    if text is not None:
        card.write_text(text, "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
