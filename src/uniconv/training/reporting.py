"""What a run tells people while it goes, and the means of what is measured in between."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from uniconv.training.failures import Failure
from uniconv.training.stages import Moment


class Window:
    """Sums since the last line of the log, and what they come to."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._counts: dict[str, float] = {}
        self._started = time.perf_counter()

    def add(self, name: str, value: float, count: float = 1) -> None:
        """Adds ``value``, a sum over ``count`` things."""
        self._sums[name] = self._sums.get(name, 0.0) + value
        self._counts[name] = self._counts.get(name, 0.0) + count

    def means(self) -> dict[str, float]:
        """The mean of everything that was added; without what had no things."""
        return {name: self._sums[name] / count for name, count in self._counts.items() if count}

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time that is not training's."""
        stopped = time.perf_counter()
        yield
        self._started += time.perf_counter() - stopped

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._started

    def total(self, name: str) -> float:
        return self._sums.get(name, 0.0)


class Reporter:
    """A progress bar in a terminal, lines elsewhere; silent in all processes but the first."""

    def __init__(self, steps: int, done: int, shown: bool) -> None:
        self._console = Console(stderr=True, quiet=not shown)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[state]}"),
            console=self._console,
            refresh_per_second=2,
            disable=not shown or not self._console.is_terminal,
        )
        self._task = self._progress.add_task("training", total=steps, completed=done, state="")
        self._steps = steps

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def enter(self, stage: str) -> None:
        """Steps are of this stage from now on."""
        self._progress.update(self._task, description=stage)

    def step(self) -> None:
        """One more step is done."""
        self._progress.advance(self._task)

    def measured(self, moment: Moment, what: str, values: Mapping[str, float]) -> None:
        """Shows measurements: those of training in the bar, if there is one."""
        state = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        if self._progress.disable or what != "train":
            self.say(f"step {moment.step}/{self._steps} {what}: {state}")
        else:
            self._progress.update(self._task, state=state)

    def warned(self, moment: Moment, failure: Failure) -> None:
        """A warning that stays."""
        self.say(f"step {moment.step}/{self._steps} WARNING, {failure.name}: {failure.text}")

    def close(self) -> None:
        """Nothing is kept back."""

    def say(self, text: str) -> None:
        """A line that stays."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)
