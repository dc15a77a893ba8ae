"""A model for other programs: merged weights, or a folder that sentence-transformers loads."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

import torch

from uniconv.errors import ConfigError, UniConvError
from uniconv.export.merged import export_merged, fold_adapter
from uniconv.export.sentence_transformers import check_installed, export_sentence_transformers
from uniconv.model import UniConv
from uniconv.pretrained import resolve, stored_dtype

Target = Literal["merged", "sentence-transformers"]
Precision = Literal["stored", "float32", "bfloat16", "float16"]


def export(source: str, out: Path, to: Target = "merged", dtype: Precision = "stored") -> None:
    """Writes the model ``source`` for other programs to the new folder ``out``.

    Adapters are folded in at float32 and the weights then rounded to ``dtype``: ``stored`` is the
    one in which the model's, or an adapter's backbone's, are kept.

    Raises:
        UniConvError: ``out`` exists, or a setting is unknown.
        ModelError: there is no such model, or ``to`` can't express it.
    """
    for name, value, known in (("to", to, Target), ("dtype", dtype, Precision)):
        if value not in get_args(known):
            raise ConfigError(f"{name} '{value}' is unknown; choose {' or '.join(get_args(known))}")
    if out.exists():
        raise UniConvError(f"{out}: exists already; name a new folder")
    if to == "sentence-transformers":
        check_installed()
    rounded = stored_dtype(resolve(source)) if dtype == "stored" else getattr(torch, dtype)
    model = UniConv.from_pretrained(source, device="cpu", dtype=torch.float32)
    merged = fold_adapter(model, rounded)
    if to == "merged":
        export_merged(merged, out)
    else:
        export_sentence_transformers(merged, out)
