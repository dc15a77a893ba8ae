"""Where a run's measurements go: terminal, metrics.jsonl, TensorBoard, trackio, wandb.

A resumed run goes on with the records that it had: what lies after its checkpoint is dropped, or,
where a service can't forget, not sent again. It would be the same, since a resumed run is exact.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from secrets import token_hex
from typing import Any, Protocol

from uniconv.config import TrainConfig, plain
from uniconv.files import atomic, write_json, writing
from uniconv.training.failures import Failure
from uniconv.training.stages import Moment


class Logger(Protocol):
    """Takes what is measured in a run; ``what`` is train, dev or diagnosis."""

    def measured(self, moment: Moment, what: str, values: Mapping[str, float]) -> None:
        """Measurements at a moment."""

    def warned(self, moment: Moment, failure: Failure) -> None:
        """A known failure has set in."""

    def close(self) -> None:
        """Nothing more comes; everything is to be written."""


class Loggers:
    """All loggers of a run; none in processes other than the first.

    ``step`` is that of the checkpoint from which the run goes on, 0 if it begins.
    """

    def __init__(self, config: TrainConfig, terminal: Logger, step: int, main: bool) -> None:
        makers: dict[str, Callable[[], Logger]] = {
            "terminal": lambda: terminal,
            "jsonl": lambda: JsonLines(config.output / "metrics.jsonl", step),
            "tensorboard": lambda: TensorBoard(config.output / "tensorboard", step),
            "trackio": lambda: Tracker("trackio", config, step),
            "wandb": lambda: Tracker("wandb", config, step),
        }
        wanted = dict.fromkeys(config.reporting.loggers) if main else ()
        self._loggers = [makers[name]() for name in wanted]

    def record(
        self, moment: Moment, what: str, values: Mapping[str, float], failures: Sequence[Failure]
    ) -> None:
        """Gives all of them measurements, and the failures that these show."""
        for logger in self._loggers:
            if values:
                logger.measured(moment, what, values)
            for failure in failures:
                logger.warned(moment, failure)

    def close(self) -> None:
        """Nothing more comes."""
        for logger in self._loggers:
            logger.close()


class JsonLines:
    """A JSONL file, a record a line: its moment with ``what: {name: number}`` or
    ``warning: {name, text}``. Numbers that are not finite are null."""

    def __init__(self, path: Path, step: int) -> None:
        self._path = path
        goes_on = step and path.is_file()
        lines = path.read_text("utf-8").splitlines(keepends=True) if goes_on else []
        with atomic(path) as temporary:
            temporary.write_text("".join(line for line in lines if _until(line, step)), "utf-8")

    def measured(self, moment: Moment, what: str, values: Mapping[str, float]) -> None:
        finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
        self._write({**asdict(moment), what: finite})

    def warned(self, moment: Moment, failure: Failure) -> None:
        self._write({**asdict(moment), "warning": asdict(failure)})

    def close(self) -> None:
        """Every record is on disk already."""

    def _write(self, record: Mapping[str, Any]) -> None:
        with writing(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")


def _until(line: str, step: int) -> bool:
    """A line cut short by a crash belongs to no step."""
    try:
        return line.endswith("\n") and int(json.loads(line)["step"]) <= step
    except (ValueError, KeyError, TypeError):
        return False


class TensorBoard:
    """Event files: scalars ``what/name``, and warnings as text."""

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # Readers of the files forget what earlier ones hold from purge_step on.
        purge_step = step + 1 if step else 0
        self._writer: Any = SummaryWriter(str(folder), purge_step=purge_step)

    def measured(self, moment: Moment, what: str, values: Mapping[str, float]) -> None:
        for name, value in {**values, "epoch": moment.epoch}.items():
            self._writer.add_scalar(f"{what}/{name}", value, moment.step)

    def warned(self, moment: Moment, failure: Failure) -> None:
        self._writer.add_text(f"warning/{failure.name}", failure.text, moment.step)

    def close(self) -> None:
        self._writer.close()


class Tracker:
    """A run of trackio or wandb, which are spoken to alike, in the project ``uniconv``.

    They keep what they were sent, so ``{service}.json`` in the run's folder remembers under which
    name they know the run and which step of each kind came last. Where they keep and whether they
    send is set by their own environment variables.
    """

    def __init__(self, service: str, config: TrainConfig, step: int) -> None:
        self._module: Any = import_module(service)
        self._path = config.output / f"{service}.json"
        if not step or not self._path.is_file():
            name = f"{config.output.name}-{token_hex(4)}"
            write_json(self._path, {"name": name, "sent": {}})
        self._known: dict[str, Any] = json.loads(self._path.read_text("utf-8"))
        name = self._known["name"]
        options: dict[str, Any] = {"name": name, "config": plain(config), "resume": "allow"}
        if service == "wandb":
            options |= {"id": name, "dir": str(config.output)}
        self._run = self._module.init(project="uniconv", **options)

    def measured(self, moment: Moment, what: str, values: Mapping[str, float]) -> None:
        named = {
            f"{what}/{name}": value for name, value in {**values, "epoch": moment.epoch}.items()
        }
        if self._is_new(what, moment.step):
            self._run.log(named, step=moment.step)

    def warned(self, moment: Moment, failure: Failure) -> None:
        if self._is_new(f"warning/{failure.name}", moment.step):
            self._run.alert(title=failure.name, text=f"step {moment.step}: {failure.text}")

    def close(self) -> None:
        self._run.finish()

    def _is_new(self, what: str, step: int) -> bool:
        sent = self._known["sent"]
        if step <= sent.get(what, -1):
            return False
        sent[what] = step
        write_json(self._path, self._known)
        return True
