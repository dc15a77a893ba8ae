"""A run's folder: its settings, its checkpoints, and what makes it safe to go on.

    config.yaml  metrics.jsonl  model/  checkpoints/step-00000500/{*.safetensors, state.json}

A checkpoint is written under another name, by all processes, and renamed when it is whole. Learning
rate, sampling and dropout are functions of the step, so that step and tensors are the whole state.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from uniconv.config import TrainConfig, located, plain
from uniconv.errors import ConfigError
from uniconv.files import atomic, flush, sha256, write_json, writing
from uniconv.training.distributed import agree, rank, together
from uniconv.training.state import RunState

_NAME = re.compile(r"step-(\d{8})")

_FREE = (
    "output",
    "checkpoints",
    "reporting",
    "model.merge",
    "data.dev",
    "distillation.folder",
    "optimisation.batch_size",  # see Checkpoint.shared_by
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

    def state(self) -> dict[str, Any]:
        """What was recorded beside the step: see :func:`save_checkpoint`."""
        state: dict[str, Any] = json.loads((self.folder / "state.json").read_text("utf-8"))
        return state

    def shared_by(self, config: TrainConfig, world: int) -> TrainConfig:
        """The configuration by which so many processes take the turns that a pass takes.

        Raises:
            ConfigError: they can't, or ``batch_size`` was changed to what does not.
        """
        state, asked = self.state(), config.optimisation.batch_size
        turns: int = state["turns"]
        if asked * world == turns:
            return config
        if asked == state["batch_size"] and turns % world == 0:
            return replace(
                config, optimisation=replace(config.optimisation, batch_size=turns // world)
            )
        remedy = (
            f"set optimisation.batch_size to {turns // world}"
            if turns % world == 0
            else f"take a number of processes that divides {turns}"
        )
        raise ConfigError(
            f"{self.folder}: was written with {turns} turns in a pass (optimisation.batch_size "
            f"times processes), now {asked} times {world}, so the run can't go on exactly; {remedy}"
        )

    def check(self, digest: str) -> None:
        """Raises ConfigError where the training data are not what they were."""
        before = self.state()["examples"]
        if before != digest:
            raise ConfigError(
                f"{self.folder}: was written with other training data ({before}, now {digest}), so "
                "the run can't go on exactly; restore them or name another output folder"
            )


def checkpoints(output: Path) -> list[Checkpoint]:
    """Whole checkpoints of a run, oldest first."""
    found = [
        Checkpoint(folder, int(match[1]))
        for folder in (output / "checkpoints").glob("step-*")
        if (match := _NAME.fullmatch(folder.name)) and (folder / "state.json").is_file()
    ]
    return sorted(found, key=lambda checkpoint: checkpoint.step)


def save_checkpoint(
    output: Path, step: int, state: RunState, keep: int, about: Mapping[str, Any]
) -> Checkpoint:
    """Writes a checkpoint, whole or not at all, then removes all but the newest ``keep``.

    All processes call it together; ``about`` is kept beside the step.
    """
    target = output / "checkpoints" / f"step-{step:08d}"
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        with together() as first, writing(target):
            if first:
                for leftover in target.parent.glob(".step-*"):  # of a process that was killed
                    shutil.rmtree(leftover, ignore_errors=True)
                temporary.mkdir(parents=True)
        with together(), writing(target):
            state.write(temporary)
        with together() as first, writing(target):
            if first:
                write_json(temporary / "state.json", {"step": step, **about})
                flush(temporary)
                shutil.rmtree(target, ignore_errors=True)
                temporary.rename(target)
                for old in checkpoints(output)[:-keep]:
                    shutil.rmtree(old.folder)
    finally:
        if rank() == 0:
            shutil.rmtree(temporary, ignore_errors=True)
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


def check_agreed(checkpoint: Checkpoint | None, output: Path) -> None:
    """Raises ConfigError where processes would go on from different checkpoints."""
    if not agree(0 if checkpoint is None else checkpoint.step):
        raise ConfigError(
            f"output: {output} holds other checkpoints for other processes; name a folder that all "
            "nodes share"
        )


def write_snapshot(config: TrainConfig) -> None:
    """Keeps the configuration in the run's folder."""
    with atomic(config.output / "config.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(plain(config), sort_keys=False), "utf-8")


def data_checksums(config: TrainConfig) -> dict[str, str]:
    """The files that a run reads, and their checksums; of large corpora they take their time."""
    return {
        str(path): sha256(path)
        for source in map(located, config.data.train)
        for path in (*source.conversations, *source.corpora)
    }


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
