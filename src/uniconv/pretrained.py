"""Where models are found and how they are loaded: full models, adapters, the embedded one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, PeftModel
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
from transformers.utils import logging

from uniconv.errors import ModelError
from uniconv.files import write_json

EMBEDDED = "embedded"
"""The name of the small model that comes with UniConv."""

_SETTINGS_FILE = "uniconv.json"
_FORMAT = 1


def default_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def resolve(source: str | Path) -> str | Path:
    """Where a model is: ``"embedded"`` becomes its folder, anything else stays what it is."""
    if source != EMBEDDED:
        return source
    # In an installed package it is beside this file, in a clone of the project under models.
    here = Path(__file__).parent
    folders = (here / "embedded", here.parents[1] / "models" / "mini")
    for folder in folders:
        if folder.is_dir():
            return folder
    raise ModelError(
        f"the embedded model is missing ({folders[1]}); name another model, or clone the project "
        "with its models folder"
    )


def read_settings(source: str | Path) -> dict[str, Any]:
    """What ``uniconv.json`` says; nothing where there is none."""
    path = Path(source) / _SETTINGS_FILE
    if not path.is_file():
        return {}
    try:
        saved = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ModelError(f"{path}: not valid JSON ({error}); save the model again") from error
    if not isinstance(saved, dict) or saved.get("format") != _FORMAT:
        raise ModelError(
            f"{path}: expected format {_FORMAT}; the model was saved by another version of uniconv"
        )
    return saved


def write_settings(folder: str | Path, value: dict[str, Any]) -> None:
    """Writes ``uniconv.json``."""
    write_json(Path(folder) / _SETTINGS_FILE, {"format": _FORMAT, **value})


def load_network(
    source: str | Path,
    device: str | None,
    dtype: torch.dtype | None,
    trust_remote_code: bool,
    four_bits: bool = False,
) -> tuple[Any, Any]:
    """A causal LM (or its PEFT wrapper) in evaluation mode, and its tokenizer.

    Without ``device`` the first GPU is used, else the CPU; without ``dtype`` bfloat16 on CUDA and
    float32 elsewhere. With ``four_bits`` the LM's linear layers are NF4 with double quantisation
    (QLoRA, Dettmers et al. 2023) and compute in ``dtype``.

    Raises:
        ModelError: there is no such model, it isn't a causal LM, or bitsandbytes is missing.
    """
    device = device or default_device()
    dtype = dtype or (torch.bfloat16 if device.startswith("cuda") else torch.float32)
    options: dict[str, Any] = {"dtype": dtype, "trust_remote_code": trust_remote_code}
    if four_bits:
        options |= {"quantization_config": _four_bits(dtype), "device_map": {"": device}}
    logging.disable_progress_bar()  # of loading weights; downloads still show theirs
    try:
        with _loading(source):
            adapter = _adapter_config(source)
            base = source if adapter is None else adapter.base_model_name_or_path
            network = AutoModelForCausalLM.from_pretrained(base, **options)
            tokenizer = _tokenizer(source, adapter, trust_remote_code)
            if adapter is not None:
                network = PeftModel.from_pretrained(network, source)
    finally:
        logging.enable_progress_bar()
    if device == "cpu":
        _allow_faster_matmul()
    return (network if four_bits else network.to(device)).eval(), tokenizer


def _four_bits(dtype: torch.dtype) -> BitsAndBytesConfig:
    if find_spec("bitsandbytes") is None:
        raise ModelError("4 bits need the extra qlora (pip install 'uniconv[qlora]')")
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def load_skeleton(source: str | Path, trust_remote_code: bool) -> tuple[Any, Any]:
    """A causal LM without weights or adapter, on the meta device, and its tokenizer: in a second.

    Raises:
        ModelError: there is no such model, or it isn't a causal LM.
    """
    with _loading(source):
        adapter = _adapter_config(source)
        base = source if adapter is None else adapter.base_model_name_or_path
        shape = AutoConfig.from_pretrained(base, trust_remote_code=trust_remote_code)
        with torch.device("meta"):
            network = AutoModelForCausalLM.from_config(shape, trust_remote_code=trust_remote_code)
        return network, _tokenizer(source, adapter, trust_remote_code)


def stored_dtype(source: str | Path) -> torch.dtype:
    """In which a model's weights are stored; for an adapter, those of its base model.

    Raises:
        ModelError: there is no such model.
    """
    with _loading(source):
        adapter = _adapter_config(source)
        base = source if adapter is None else adapter.base_model_name_or_path
        return AutoConfig.from_pretrained(base).dtype or torch.float32


@contextmanager
def _loading(source: str | Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(
            f"{source}: no causal language model could be loaded ({reason}); give a folder or hub "
            "id of a Hugging Face causal LM, a PEFT adapter, or a UniConv checkpoint"
        ) from error


def load_tokenizer(source: str | Path, trust_remote_code: bool = False) -> Any:
    """The tokenizer of a model, without its weights.

    Raises:
        ModelError: there is none.
    """
    source = resolve(source)
    try:
        return _tokenizer(source, _adapter_config(source), trust_remote_code)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(
            f"{source}: no tokenizer could be loaded ({reason}); give a folder or hub id of a "
            'model, or "embedded"'
        ) from error


def _tokenizer(source: str | Path, adapter: Any | None, trust_remote_code: bool) -> Any:
    """Its own or, for an adapter that has none, that of its base model."""
    if adapter is not None and not (Path(source) / "tokenizer_config.json").exists():
        source = adapter.base_model_name_or_path
    return AutoTokenizer.from_pretrained(source, trust_remote_code=trust_remote_code)


def _adapter_config(source: str | Path) -> Any | None:
    """The PEFT configuration of ``source``, None where it is a model of its own."""
    if Path(source).is_dir():
        if not (Path(source) / "adapter_config.json").is_file():
            return None
        return PeftConfig.from_pretrained(source)
    try:
        return PeftConfig.from_pretrained(source)
    except (OSError, ValueError):
        return None


def computes_in_bfloat16(device: torch.device) -> bool:
    """Whether the hardware has instructions for products of bfloat16."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    if device.type == "cpu":
        # Not in all versions of PyTorch.
        find: Callable[[], dict[str, Any]] = getattr(torch.cpu, "get_capabilities", dict)
        return any(find().get(name) for name in ("avx512_bf16", "amx_bf16"))
    return False


def _allow_faster_matmul() -> None:
    """Lets PyTorch pick faster float32 kernels where this CPU's keep float32's accuracy.

    That is oneDNN in place of MKL, which is slow on other CPUs than Intel's: there it gains 1.6 to
    1.85 times at no loss, or rounds to bfloat16. On Intel's it gains nothing, and keeps a kernel
    for each of 1,024 shapes, a gigabyte or more.
    """
    if _is_intel():
        return
    before = torch.get_float32_matmul_precision()
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 256, 256, generator=generator)
    exact = a.double() @ b.double()
    torch.set_float32_matmul_precision("medium")
    error = float(((a @ b).double() - exact).abs().max() / exact.abs().max())
    if error > 1e-5:
        torch.set_float32_matmul_precision(before)


def _is_intel() -> bool:
    cpuinfo = Path("/proc/cpuinfo")  # of Linux alone
    return cpuinfo.is_file() and "GenuineIntel" in cpuinfo.read_text(errors="replace")
