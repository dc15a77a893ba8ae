"""The stages of a run over its data: what a step learns from, with which weights and how fast.

A stage is what a run of its own would be that begins with the model of the stage before: it starts
an epoch of its own sources, its learning rate warms up and falls anew, and AdamW's moments begin at
zero, since those of other objectives are of other sizes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from uniconv.config import Objectives, StageSettings, TrainConfig, between, stage_settings
from uniconv.errors import ConfigError
from uniconv.training.examples import Examples, supervises
from uniconv.training.optimisation import learning_rate
from uniconv.training.sampling import Stream, places, total_steps


@dataclass(frozen=True, slots=True)
class RunStage:
    """A stage from step ``first`` of the run on, for ``steps`` steps; ``step`` below is the run's.

    ``turns`` are those of its sources that serve it.
    """

    settings: StageSettings
    stream: Stream
    turns: int
    first: int
    steps: int

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def end(self) -> int:
        """The first step after it."""
        return self.first + self.steps

    def learning_rate(self, step: int) -> float:
        """Of a step."""
        return learning_rate(self.settings.optimisation, step - self.first, self.steps)

    def objectives(self, step: int) -> Objectives:
        """Weights and temperature of a step; those that rise are never at their start."""
        part = (step - self.first + 1) / self.steps
        return between(self.settings.initial, self.settings.objectives, part)

    def picks(
        self, step: int, process: int, processes: int
    ) -> Iterator[list[tuple[int, random.Random]]]:
        """The examples of each forward pass of a step in one process."""
        settings = self.settings.optimisation
        for number in range(settings.accumulation):
            here = places(settings, step - self.first, number, process, processes)
            yield [self.stream[place] for place in here]

    def epoch(self, step: int, processes: int) -> float:
        """How often the stage has passed over its sources after so many steps of the run."""
        settings = self.settings.optimisation
        turns = (step - self.first) * settings.accumulation * settings.batch_size * processes
        return turns / self.stream.epoch_length


@dataclass(frozen=True, slots=True)
class Moment:
    """Where a run is: after so many of its steps, and so many epochs of this stage."""

    step: int
    stage: str
    epoch: float


class Course:
    """All stages of a run, one after another."""

    def __init__(self, config: TrainConfig, examples: Examples, processes: int) -> None:
        """Raises ConfigError where no turn of a stage's sources serves it."""
        self.stages: list[RunStage] = []
        self.steps = 0
        self._processes = processes
        for number, settings in enumerate(stage_settings(config)):
            positions = _positions(examples, settings)
            if not any(positions):
                raise ConfigError(
                    f"stages[{number}] ({settings.name}): no turn of its sources has what its "
                    "objectives learn from: a response for generation, positives for retrieval, "
                    "both for context identification and grounded generation"
                )
            seed = config.optimisation.seed
            # The first is sampled as a run without stages is.
            seed_of_stage = f"{seed}/stage/{number}" if number else seed
            temperature = config.data.mixing_temperature
            together = config.data.order == "conversations"
            stream = Stream(examples, seed_of_stage, temperature, positions, together=together)
            steps = total_steps(settings.optimisation, stream.epoch_length, processes)
            turns = sum(map(len, positions))
            self.stages.append(RunStage(settings, stream, turns, self.steps, steps))
            self.steps += steps

    @property
    def warmup(self) -> int:
        """The steps in which the learning rate rises for the first time."""
        first = self.stages[0]
        return round(first.settings.optimisation.warmup * first.steps)

    def at(self, step: int) -> RunStage:
        """The stage of a step, from 0; of the step after the last one the last stage."""
        return next((stage for stage in self.stages if step < stage.end), self.stages[-1])

    def moment(self, step: int) -> Moment:
        """Where the run is after so many steps."""
        stage = self.at(max(step - 1, 0))
        return Moment(step, stage.name, round(stage.epoch(step, self._processes), 4))

    def ended(self, step: int) -> RunStage | None:
        """The stage that is done after so many steps and not before."""
        return next((stage for stage in self.stages if step == stage.end), None)


def _positions(examples: Examples, settings: StageSettings) -> list[list[int]]:
    """The positions of each source's examples that serve a stage."""
    weights = settings.used
    return [
        [
            position
            for position in positions
            if number in settings.sources
            and any(
                supervises(
                    examples.sources[number], examples.examples[position].turn, weights
                ).values()
            )
        ]
        for number, positions in enumerate(examples.by_source())
    ]
