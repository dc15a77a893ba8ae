"""What a training run would learn from, told without loading a model."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from uniconv.config import Objectives, Source, TrainConfig, all_objectives, check_config
from uniconv.training.batch import PARTS
from uniconv.training.examples import Example, Examples, read_examples, supervises
from uniconv.training.sampling import Stream
from uniconv.training.stages import Course, RunStage


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """A source's part of the mixture.

    ``turns`` of ``conversations`` are used, ``visits`` of them in an epoch. ``serves`` counts the
    turns that supervise a part of the objective, ``supervision`` says by what for retrieval and
    generation. ``negatives`` are hard negatives per turn with positives. ``example`` is a turn, as
    pairs of what it is and the text.
    """

    name: str
    conversations: int
    turns: int
    visits: int
    serves: dict[str, int]
    supervision: dict[str, str]
    negatives: float
    example: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class StagePlan:
    """A stage of ``steps`` steps over ``turns`` turns of some sources, ``visits`` in an epoch.

    ``initial`` and ``objectives`` are its weights before its first step and at its last.
    """

    name: str
    sources: tuple[int, ...]
    turns: int
    visits: int
    steps: int
    initial: Objectives
    objectives: Objectives
    learning_rate: float
    schedule: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The mixture: its sources, the turns of an epoch and of the dev sources, stages and steps.

    ``steps`` are those of one process; more processes take fewer.
    """

    sources: tuple[SourcePlan, ...]
    stages: tuple[StagePlan, ...]
    epoch_length: int
    dev: int
    steps: int


def plan(config: TrainConfig) -> Plan:
    """Reads all data as a run would and says what it comes to.

    Raises:
        ConfigError: a setting is wrong or a file is missing.
        DataError: a line of the data is malformed, or names a passage that isn't there.
    """
    check_config(config)
    seed = config.optimisation.seed
    weights = all_objectives(config)
    examples = read_examples(config.data.train, weights, seed=seed)
    course = Course(config, examples, processes=1)
    stream = Stream(examples, seed, config.data.mixing_temperature)
    sources = [
        _source_plan(examples, number, visits, weights)
        for number, visits in enumerate(stream.visits)
    ]
    stages = tuple(map(_stage_plan, course.stages))
    most = config.reporting.evaluate_turns
    dev = read_examples(config.data.dev, weights, seed=seed, limit=most)
    return Plan(tuple(sources), stages, stream.epoch_length, len(dev), course.steps)


def _stage_plan(stage: RunStage) -> StagePlan:
    settings = stage.settings
    return StagePlan(
        name=stage.name,
        sources=settings.sources,
        turns=stage.turns,
        visits=stage.stream.epoch_length,
        steps=stage.steps,
        initial=settings.initial,
        objectives=settings.objectives,
        learning_rate=settings.optimisation.learning_rate,
        schedule=settings.optimisation.schedule,
    )


def _source_plan(examples: Examples, number: int, visits: int, weights: Objectives) -> SourcePlan:
    source = examples.sources[number]
    own = [one for one in examples.examples if one.source == number]
    serves = Counter[str](dict.fromkeys(PARTS, 0))
    for one in own:
        serves.update(supervises(source, one.turn, weights))
    negatives = [len(one.turn.negatives) for one in own if one.turn.positives]
    best = max(own, key=lambda one: sum(supervises(source, one.turn, weights).values()))
    return SourcePlan(
        name=_name(source),
        conversations=len({id(one.conversation) for one in own}),
        turns=len(own),
        visits=visits,
        serves=dict(serves),
        supervision={"retrieval": source.retrieval, "generation": source.generation},
        negatives=sum(negatives) / max(len(negatives), 1),
        example=tuple(_example(examples, best, weights)),
    )


def _name(source: Source) -> str:
    if source.set is not None:
        return f"{source.set} ({', '.join(source.split)})"
    return ", ".join(map(str, source.conversations))


def _example(examples: Examples, example: Example, weights: Objectives) -> list[tuple[str, str]]:
    """A turn: its id and question, and what it teaches to retrieve and to write."""
    source, turn = examples.sources[example.source], example.turn
    passages = examples.passages[example.source]
    texts = {"responses": turn.response or ""}
    if turn.positives:
        passage = passages.get(turn.positives[0])
        texts["passages"] = f"{passage.title} | {passage.text}" if passage else ""
    serves = supervises(source, turn, weights)
    told = [(example.conversation.query_id(example.number), turn.query)]
    if serves["retrieval"]:
        told.append((f"retrieves, of {source.retrieval}", texts[source.retrieval]))
    if serves["generation"]:
        told.append((f"writes, of {source.generation}", texts[source.generation]))
    return told
