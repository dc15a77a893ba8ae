"""Stages of a run: one after another, each with objectives, sources and a schedule of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from uniconv.config.mining import Refresh
from uniconv.config.objectives import WEIGHTS, ObjectiveChanges, Objectives, WeightChanges
from uniconv.config.ranges import number
from uniconv.config.sources import Source

if TYPE_CHECKING:
    from uniconv.config.training import Optimisation, TrainConfig

ONLY = "training"
"""The name of the one stage of a run that names none."""

_NAME = re.compile(r"[\w][\w.-]*")


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of a run. What it doesn't say is as in ``objectives`` and ``optimisation``."""

    name: str
    """What metrics and folders call it."""
    steps: int | None = number(None, least=1)
    """none: its length in steps, in place of epochs."""
    epochs: float | None = number(None, above=0)
    """none: passes over its sources; without steps or epochs it is as long as optimisation says."""
    objectives: ObjectiveChanges = field(default_factory=ObjectiveChanges)
    """Weights and temperature of the stage, or, where ``initial`` gives others, at its end."""
    initial: WeightChanges = field(default_factory=WeightChanges)
    """Values before the stage's first step, from where they go linearly to those of its
    ``objectives``, which its last step has; alpha from 0 spares an untrained embedding."""
    learning_rate: float | None = number(None, above=0)
    """none: its highest learning rate; warm-up and decay span each stage anew."""
    schedule: Literal["cosine", "linear", "constant"] | None = None
    """none: how its learning rate falls after the warm-up."""
    warmup: float | None = number(None, least=0, most=1)
    """none: the part of its steps in which the learning rate rises from 0."""
    sources: tuple[int | str, ...] = ()
    """(): those of data.train that it uses, by place (from 0) or name; empty means all."""
    refresh: bool = False
    """false: true mines hard negatives anew from the model at the stage's beginning, as
    data.refresh says."""
    keep: bool = False
    """false: true writes the model as it is after the stage to output/stages/NAME."""


@dataclass(frozen=True, slots=True)
class StageSettings:
    """A stage with everything said: ``initial`` and ``objectives`` are its weights before its first
    step and at its last, ``optimisation`` holds its length and schedule, ``sources`` the places of
    its sources."""

    name: str
    initial: Objectives
    objectives: Objectives
    optimisation: Optimisation
    sources: tuple[int, ...]
    refresh: bool = False
    keep: bool = False

    @property
    def used(self) -> Objectives:
        """Objectives whose weight is above 0 where the stage's is at any of its steps."""
        return most([self.initial, self.objectives])


def most(objectives: list[Objectives]) -> Objectives:
    """The last objectives, with the greatest weights of all."""
    greatest = {name: max(getattr(one, name) for one in objectives) for name in WEIGHTS}
    return replace(objectives[-1], **greatest)


def stage_settings(config: TrainConfig) -> list[StageSettings]:
    """The stages of a run in their order; a run that names none has one.

    Raises:
        ValueError: a stage names a source that isn't there; ``check_config`` tells it first.
    """
    stages = config.stages or (Stage(ONLY),)
    return [_settings(config, stage) for stage in stages]


def all_objectives(config: TrainConfig) -> Objectives:
    """The last stage's objectives, with a weight above 0 for every part that some stage has."""
    return most([stage.used for stage in stage_settings(config)])


def _settings(config: TrainConfig, stage: Stage) -> StageSettings:
    last = stage.objectives.applied(config.objectives)
    given = {name: getattr(stage, name) for name in ("learning_rate", "schedule", "warmup")}
    given = {name: value for name, value in given.items() if value is not None}
    if stage.steps is not None or stage.epochs is not None:
        given["steps"] = stage.steps
        given["epochs"] = stage.epochs or config.optimisation.epochs
    places = [_place(config.data.train, one) for one in stage.sources]
    return StageSettings(
        name=stage.name,
        initial=stage.initial.applied(last),
        objectives=last,
        optimisation=replace(config.optimisation, **given),
        sources=tuple(sorted({*places})) or tuple(range(len(config.data.train))),
        refresh=stage.refresh,
        keep=stage.keep,
    )


def _place(sources: tuple[Source, ...], wanted: int | str) -> int:
    names = [source.called for source in sources]
    if isinstance(wanted, int):
        if not 0 <= wanted < len(sources):
            raise ValueError(f"there is no data.train[{wanted}]; they count from 0")
        return wanted
    if names.count(wanted) != 1:
        how = "several sources have" if wanted in names else "no source of data.train has"
        raise ValueError(
            f"{how} the name '{wanted}' (the names are {', '.join(names)}); give a source a name, "
            "or its place"
        )
    return names.index(wanted)


def stage_problems(config: TrainConfig) -> Iterator[str]:
    """What is wrong with the stages of a configuration, or with the only one."""
    names = [stage.name for stage in config.stages]
    found: list[StageSettings] = []
    for place, stage in enumerate(config.stages or (Stage(ONLY),)):
        key = f"stages[{place}]." if config.stages else ""
        if not _NAME.fullmatch(stage.name):
            yield f"{key}name: expected letters, digits, '.', '_' and '-', not '{stage.name}'"
        if names.count(stage.name) > 1:
            yield f"{key}name: several stages are called '{stage.name}'"
        if stage.steps is not None and stage.epochs is not None:
            yield f"{key}steps: the stage has epochs too; give one of them"
        try:
            found.append(_settings(config, stage))
        except ValueError as error:
            yield f"{key}sources: {error}"
            continue
        yield from _part_problems(config, found[-1], key)
    unused = {*range(len(config.data.train))}.difference(*(one.sources for one in found))
    if len(found) == max(len(names), 1):
        yield from (f"data.train[{place}]: no stage uses it" for place in sorted(unused))


def _part_problems(config: TrainConfig, stage: StageSettings, key: str) -> Iterator[str]:
    retrieval, generation, alpha, gamma = stage.used.read.weights
    if not any(stage.used.read.weights):
        yield f"{key}objectives: all weights are 0, so nothing would be learned"
        return
    if alpha and stage.used.cii == "likelihoods" and config.data.sentence_negatives:
        yield (
            f"{key}objectives.cii: likelihoods would read every query with every sentence; set "
            "data.sentence_negatives to 0, or cii to embeddings"
        )
    if not any(
        (retrieval and source.retrieval != "none")
        or (generation and source.generation != "none")
        or (alpha and source.cii)
        or (gamma and source.grounded)
        for source in (config.data.train[place] for place in stage.sources)
    ):
        yield f"{key}objectives: every part with a weight is switched off in the sources"


def refresh_problems(config: TrainConfig) -> Iterator[str]:
    """What is wrong with the mining of negatives during training."""
    refresh, sources = config.data.refresh, config.data.train
    if refresh.every_steps is None and not any(stage.refresh for stage in config.stages):
        if refresh != Refresh():
            yield "data.refresh.every_steps: is not set, nor refresh in a stage: nothing is mined"
        return
    objectives = all_objectives(config)
    if not any(map(config.data.negatives_of, sources)) and not objectives.gamma:
        yield "data.refresh: data.hard_negatives is 0, so that no negatives would be drawn"
    if config.optimisation.parallel == "fsdp":
        yield "data.refresh: no process has a whole model to mine with; set parallel to ddp"
    if objectives.scores or objectives.embeddings:
        yield (
            "data.refresh: the teacher embeds once what turns name, so that it has no scores of "
            "passages mined later; leave objectives.scores and embeddings 0, or mine before "
            "training"
        )
    if not any(source.retrieval == "passages" or source.grounded for source in sources):
        yield "data.refresh: no source of data.train is supervised by passages"
