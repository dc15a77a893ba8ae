"""A small index and, beside it, the tiny model that made it, as a command finds them."""

from __future__ import annotations

from pathlib import Path

from tiny import tiny_uniconv
from uniconv.model import UniConv
from uniconv.retrieval.building import build_index

TEXTS = {
    "tower.md": "# Tower\n\nThe tower of the old harbour was built in 1893 by engineers.\n",
    "ice.md": "# Glacier\n\nA glacier moves slowly because ice deforms under its own weight.\n",
    "bread.md": "# Bread\n\nBread rises because yeast makes gas while the dough rests.\n",
}


def tiny_index(place: Path) -> Path:
    """The index folder; the model is loaded from ``place / "model"``, the texts are beside it."""
    tiny_uniconv().save_pretrained(place / "model")
    (place / "documents").mkdir()
    for name, text in TEXTS.items():
        (place / "documents" / name).write_text(text)
    model = UniConv.from_pretrained(place / "model", device="cpu")
    build_index([place / "documents"], place / "index", model, quiet=True)
    return place / "index"
