"""A run's folder: its settings, its checkpoints, and what makes it safe to go on.

    config.yaml  metrics.jsonl  model/  checkpoints/step-00000500/{model/, optimizer.pt, state.json}

A checkpoint is written under another name and renamed when it is whole. Learning rate, sampling
and dropout are functions of the step, so weights, optimizer and step are the whole state.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from uniconv.config import TrainConfig, located, plain
from uniconv.errors import ConfigError
from uniconv.files import atomic, atomic_folder, flush, provenance, sha256, write_json
from uniconv.model import UniConv
from uniconv.training.averaging import save_averages

_NAME = re.compile(r"step-(\d{8})")

_FREE = (
    "output",
    "checkpoints",
    "reporting",
    "model.merge",
    "data.dev",
    "distillation.folder",
    "optimisation.batch_size",  # what it is with all processes is checked with the checkpoint
    "optimisation.parallel",
    "optimisation.gradient_cache",
    "optimisation.forward_tokens",
    "optimisation.gradient_checkpointing",
)
"""Settings that may change while a run is under way."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A whole checkpoint after ``step`` steps."""

    folder: Path
    step: int

    @property
    def model(self) -> Path:
        return self.folder / "model"

    def state(self) -> dict[str, Any]:
        """What was recorded beside the step: see :func:`save_checkpoint`."""
        state: dict[str, Any] = json.loads((self.folder / "state.json").read_text("utf-8"))
        return state

    def check(self, about: Mapping[str, Any]) -> None:
        """Raises ConfigError where batches or training data are not what they were."""
        state = self.state()
        for name, meaning in (("turns", "turns in a pass"), ("examples", "training data")):
            if state.get(name) != about[name]:
                raise ConfigError(
                    f"{self.folder}: was written with other {meaning} "
                    f"({state.get(name)}, now {about[name]}), so the run can't go on exactly; "
                    "restore them or name another output folder"
                )

    def optimizer(self) -> dict[str, Any]:
        """The optimizer's state, read without executing anything in the file."""
        path = self.folder / "optimizer.pt"
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return state


def checkpoints(output: Path) -> list[Checkpoint]:
    """Whole checkpoints of a run, oldest first."""
    found = [
        Checkpoint(folder, int(match[1]))
        for folder in (output / "checkpoints").glob("step-*")
        if (match := _NAME.fullmatch(folder.name)) and (folder / "state.json").is_file()
    ]
    return sorted(found, key=lambda checkpoint: checkpoint.step)


def save_checkpoint(
    output: Path,
    step: int,
    model: UniConv,
    optimizer: Mapping[str, Any],
    keep: int,
    about: Mapping[str, Any],
    average: Mapping[str, Tensor],
    weights: Mapping[str, Tensor] | None = None,
) -> Checkpoint:
    """Writes a checkpoint, whole or not at all, then removes all but the newest ``keep``.

    ``optimizer`` is the optimizer's state and ``average`` the averaged weights; ``weights`` are
    those of a model that is split over processes, as in :meth:`UniConv.save_pretrained`.
    """
    target = output / "checkpoints" / f"step-{step:08d}"
    with atomic_folder(target) as temporary:
        model.save_pretrained(temporary / "model", weights=weights)
        with (temporary / "optimizer.pt").open("wb") as file:  # by name, a full disk has no name
            torch.save(optimizer, file)
        save_averages(average, temporary)
        write_json(temporary / "state.json", {"step": step, **about})
        flush(temporary)
    for old in checkpoints(output)[:-keep]:
        shutil.rmtree(old.folder)
    for leftover in target.parent.glob(".step-*"):  # of a process that was killed while writing
        shutil.rmtree(leftover, ignore_errors=True)
    return Checkpoint(target, step)


def open_run(config: TrainConfig) -> Checkpoint | None:
    """The checkpoint to go on from, after checking that this run may use its output folder.

    Raises:
        ConfigError: the folder can't be made, or holds a run with other settings, or any run with
            resume: never.
    """
    output, found = config.output, checkpoints(config.output)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"output: {output} can't be made ({error.strerror}); name another folder"
        ) from error
    snapshot = output / "config.yaml"
    if found or finished(config) is not None:
        if config.checkpoints.resume == "never":
            raise ConfigError(
                f"output: {output} already holds a run; name another folder, or set "
                "checkpoints.resume to auto to go on with it"
            )
        differences = _differences(snapshot, config)
        if differences:
            listing = "\n".join(f"  {line}" for line in differences)
            raise ConfigError(
                f"output: {output} holds a run with other settings; name another folder or restore "
                f"them\n{listing}"
            )
    return found[-1] if found else None


def write_snapshot(config: TrainConfig) -> None:
    """Keeps the configuration in the run's folder."""
    with atomic(config.output / "config.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(plain(config), sort_keys=False), "utf-8")


def run_provenance(config: TrainConfig, steps: int, about: Mapping[str, Any]) -> dict[str, Any]:
    """What produced a model: the configuration, and the data by their checksums."""
    files = {
        str(path): sha256(path)
        for source in map(located, config.data.train)
        for path in (*source.conversations, *source.corpora)
    }
    return provenance(config=plain(config), steps=steps, data=files, **about)


def finished(config: TrainConfig) -> Path | None:
    """The trained model of a run that came to its end."""
    folder = config.output / "model"
    return folder if (folder / "uniconv.json").is_file() else None


def _differences(snapshot: Path, config: TrainConfig) -> list[str]:
    try:
        before = dict(_flat(yaml.safe_load(snapshot.read_text("utf-8"))))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(
            f"{snapshot}: can't be read, so it is unknown how the run's checkpoints were made; "
            "name another output folder"
        ) from error
    now = dict(_flat(plain(config)))
    return [
        f"{key}: was {before.get(key, 'not set')}, now {now.get(key, 'not set')}"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key) and not _free(key)
    ]


def _free(key: str) -> bool:
    return any(key == free or key.startswith((f"{free}.", f"{free}[")) for free in _FREE)


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(inner, f"{prefix}.{name}".lstrip("."))
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _flat(inner, f"{prefix}[{number}]")
    else:
        yield prefix, value
