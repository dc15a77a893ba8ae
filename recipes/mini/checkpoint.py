"""Checkpoints in parts of at most 15 MiB, and a finished run as a UniConv model.

    python recipes/mini/checkpoint.py PARTS OUT/pretrained --tokenizer OUT/tokenizer

joins the weights that ``pretrain.py`` wrote in parts to a model folder that UniConv loads.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

PART = 15 << 20


def write(folder: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Tensors as parts of safetensors, and ``manifest.json`` with ``about``; atomic."""
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    data = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    names = []
    for number, start in enumerate(range(0, len(data), PART)):
        names.append(f"part-{number:03d}.bin")
        (temporary / names[-1]).write_bytes(data[start : start + PART])
    manifest = {**about, "parts": names, "sha256": hashlib.sha256(data).hexdigest()}
    (temporary / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    temporary.replace(folder)


def read(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What :func:`write` wrote.

    Raises:
        ValueError: a part is missing or damaged.
    """
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    missing = [name for name in manifest["parts"] if not (folder / name).exists()]
    if missing:
        raise ValueError(f"{folder}: {', '.join(missing)} missing; copy all parts into one folder")
    data = b"".join((folder / name).read_bytes() for name in manifest["parts"])
    if hashlib.sha256(data).hexdigest() != manifest["sha256"]:
        raise ValueError(f"{folder}: the parts don't have the checksum of manifest.json")
    return load(data), manifest


def newest(folder: Path) -> Path | None:
    """The last complete checkpoint below ``folder``."""
    found = sorted(folder.glob("step-*/manifest.json"))
    return found[-1].parent if found else None


def half(network: torch.nn.Module) -> dict[str, Tensor]:
    """The weights in bfloat16; tied ones once."""
    state = network.state_dict()
    return {name: t.to(torch.bfloat16) for name, t in state.items() if name != "lm_head.weight"}


def join(parts: Path, target: Path, tokenizer: Path) -> None:
    """Weights in parts as a model that UniConv loads."""
    from tokenizer import FRAME
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from uniconv.model import Settings, UniConv
    from uniconv.templates import Limits, Template

    weights, manifest = read(parts)
    network = LlamaForCausalLM(LlamaConfig(**manifest.pop("config")))
    missing, unknown = network.load_state_dict(weights, strict=False)
    if set(missing) - {"lm_head.weight"} or unknown:
        raise ValueError(f"{parts}: these are not the weights of its configuration")
    words = AutoTokenizer.from_pretrained(tokenizer)
    template = Template(words, FRAME, Limits(conversation=1024, passage=384, response=256))
    training = {name: manifest[name] for name in ("size", "step", "tokens", "seconds")}
    model = UniConv(network, words, template, Settings(temperature=0.05))
    model.save_pretrained(target, dtype=torch.bfloat16, training=training)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--tokenizer", type=Path, required=True)
    args = parser.parse_args()
    join(args.parts, args.model, args.tokenizer)


if __name__ == "__main__":
    main()
