"""What a training run is told: one set of dataclasses for YAML, the command line and Python.

Relative paths are taken from the working directory, in YAML as on the command line.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from uniconv.config.distillation import Distillation, distillation_problems
from uniconv.config.mining import Refresh
from uniconv.config.objectives import Objectives, matryoshka_problems
from uniconv.config.ranges import number, range_problems
from uniconv.config.sources import Source, mixture_problems
from uniconv.config.stages import Stage, all_objectives, refresh_problems, stage_problems
from uniconv.config.strict import (
    override,
    raise_problems,
    read_yaml,
    structure,
    unstructure,
)


@dataclass(frozen=True, slots=True)
class Adapter:
    """LoRA (Hu et al. 2021). Defaults are those of ChatRetriever."""

    rank: int = number(32, least=1)
    """32: the rank of the updates; enough to learn embedding without hurting generation."""
    alpha: float = number(64.0, above=0)
    """64: updates are scaled by alpha / rank."""
    dropout: float = number(0.1, least=0, most=0.99)
    """0.1: dropout on the adapter's input; conversational training sets are small."""
    modules: tuple[str, ...] = ()
    """(): names of the layers to adapt. Empty means q, v, o, gate, up and down projections where
    the architecture names its layers so, and every linear layer otherwise."""


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The backbone and how much of it is trained."""

    path: str
    """A folder or hub id: a causal LM, or a UniConv checkpoint to train on."""
    method: Literal["lora", "full"] = "lora"
    """lora: keeps a chat model's abilities and fits one GPU; full suits small models."""
    adapter: Adapter = field(default_factory=Adapter)
    """Used where method is lora and the model has no adapter yet."""
    quantise: Literal["none", "4bit"] = "none"
    """none: frozen weights are as in the model's files or in bfloat16. 4bit: NF4 (QLoRA, Dettmers
    et al. 2023, arXiv 2305.14314), a quarter of the memory at some loss of speed and accuracy."""
    frozen_layers: int = number(0, least=0)
    """0: the first so many layers keep their weights and get no adapter's; early layers carry over
    to a new task best, and a step costs less."""
    frozen_embeddings: bool = False
    """false: with method full, true keeps the input embeddings too, and an output layer that shares
    their weights; without it no step is cheaper for frozen layers."""
    template: Literal["auto", "chat", "plain"] = "auto"
    """auto: the backbone's own chat format where it is prefix-stable."""
    pooling: Literal["last", "mean", "weighted_mean"] = "last"
    """last: the state at the marker, as in the paper."""
    conversation_tokens: int = number(1024, least=16)
    """1024: the longest conversation (ChatRetriever's session length); oldest turns are lost."""
    passage_tokens: int = number(384, least=16)
    """384: the longest passage (ChatRetriever)."""
    response_tokens: int = number(256, least=2)
    """256: the longest response; those of the usual data sets are far shorter."""
    merge: bool = False
    """false: write the adapter alone. true: fold it into the backbone's weights at the end."""
    trust_remote_code: bool = False
    """false: code that comes with a hub model is not run."""


@dataclass(frozen=True, slots=True)
class DataConfig:
    """What is read, and how negatives are found."""

    train: tuple[Source, ...]
    """Training sources; an epoch shuffles them together."""
    dev: tuple[Source, ...] = ()
    """(): sources for evaluation during training."""
    mixing_temperature: float = number(1.0, least=1)
    """1: sources make up an epoch as their sizes (turns times weight) say. T above 1 makes shares
    proportional to size ** (1 / T), which favours small ones (Arivazhagan et al. 2019); an epoch
    stays as long."""
    order: Literal["conversations", "turns"] = "conversations"
    """conversations: turns of one conversation follow each other, so that a batch reads it once.
    turns: every turn by chance, which shares next to nothing."""
    hard_negatives: int = number(4, least=0)
    """4: negatives sampled for a query from its turn's own (ChatRetriever)."""
    refresh: Refresh = field(default_factory=Refresh)
    """Negatives that are mined anew during training, beside or in place of those of turns."""
    random_negatives: bool = False
    """false: a turn with fewer negatives has fewer. true: fill up with passages of the corpora."""
    grounded_passages: int = number(5, least=1)
    """5: passages in a grounded prompt, one relevant and the others distracting; about what is
    shown at inference."""
    fewest_passages: int | None = number(None, least=1)
    """none: every grounded prompt has ``grounded_passages``. A number: from so many to
    ``grounded_passages``, drawn for each prompt."""
    relevant_first: float = number(0.0, least=0, most=1)
    """0: the relevant passage of a grounded prompt stands anywhere. 0.5, for instance: in half of
    the prompts it stands first, where retrieval puts it most often, else anywhere."""
    sentence_negatives: int = number(0, least=0)
    """0: context identification tells a response from those of other turns, as in the paper. Above
    0: its query has the passages of the grounded prompt, what it has to tell is the sentence of
    the relevant one that is nearest to the response in words, and up to so many of the other
    sentences are its hard negatives."""
    unanswerable: float = number(0.0, least=0, most=1)
    """0: grounded prompts hold what answers them. 0.2, for instance: in that part of them the
    relevant passages are left out, and the response says that nothing was found."""

    def negatives_of(self, source: Source) -> int:
        """How many hard negatives are sampled for a query of a source."""
        return self.hard_negatives if source.hard_negatives is None else source.hard_negatives

    def shows_others(self, objectives: Objectives) -> bool:
        """Whether some part of the objective reads distracting passages with a relevant one."""
        weights = objectives.read
        return bool(weights.gamma or (weights.alpha and self.sentence_negatives))


@dataclass(frozen=True, slots=True)
class Optimisation:
    """AdamW and its schedule. A step sees batch_size * accumulation * processes turns."""

    batch_size: int = number(32, least=1)
    """32: turns in a forward pass of one process, some three conversations. In-batch negatives come
    from it and from the same pass of the other processes, never from other passes of a step."""
    accumulation: int = number(1, least=1)
    """1: forward passes to a step."""
    epochs: float = number(1.0, above=0)
    """1: passes over the sources; larger sets rarely need more."""
    steps: int | None = number(None, least=1)
    """none: the number of steps, in place of epochs."""
    learning_rate: float = number(1e-4, above=0)
    """1e-4: for LoRA (ChatRetriever); full fine-tuning of large models wants less."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """cosine: how the learning rate falls to 0 after the warm-up."""
    warmup: float = number(0.05, least=0, most=1)
    """0.05: the part of all steps in which the learning rate rises from 0."""
    weight_decay: float = number(0.01, least=0)
    """0.01: PyTorch's default; on matrices only."""
    max_gradient_norm: float = number(1.0, above=0)
    """1: gradients of a larger norm are scaled down; contrastive batches have outliers."""
    ema: float | None = number(None, above=0, most=0.99999)
    """none: the last step's weights are evaluated and saved. 0.999, for instance: an average of the
    trained weights over about 1,000 steps is, which varies less between steps."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """auto: bfloat16 autocast where the hardware computes in it, else float32."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """ddp: every process holds the whole model. fsdp: processes share its weights, gradients and
    optimizer state (FSDP2), for models that don't fit on one GPU; slower."""
    gradient_checkpointing: bool = False
    """false: true saves memory and costs about a third more time."""
    gradient_cache: bool = False
    """false: the graphs of a whole batch are in memory. true: those of ``forward_tokens`` tokens,
    so that ``batch_size`` can be as large as time allows; queries and passages are read once more
    (GradCache)."""
    forward_tokens: int = number(16_384, least=1)
    """16384: sequences of similar length pass through the LM together, at most so many tokens
    with their padding. It changes speed and memory, not the loss."""
    seed: int = number(0, least=0)
    """0: sampling, order, dropout and the adapter's start follow from it."""


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """What is kept of a run under way."""

    every_steps: int = number(500, least=1)
    """500: steps between checkpoints; Ctrl-C and SIGTERM write one too."""
    keep: int = number(2, least=1)
    """2: the newest checkpoints that are kept."""
    best: Literal[
        "loss", "retrieval", "retrieval_mrr", "retrieval_accuracy", "generation", "grounded"
    ] = "loss"
    """loss: the measure on data.dev by which the best model so far is kept, in the folder
    ``best``: the parts of the loss by their weights, one part, or in-batch retrieval."""
    resume: Literal["auto", "never"] = "auto"
    """auto: go on from the newest checkpoint in the output folder. never: refuse a folder that
    holds a run."""


@dataclass(frozen=True, slots=True)
class Reporting:
    """How often the run is looked at."""

    log_every: int = number(10, least=1)
    """10: steps between lines of metrics.jsonl."""
    evaluate_every: int = number(500, least=1)
    """500: steps between evaluations on data.dev; there is one at the end as well."""
    diagnose_every: int = number(200, least=0)
    """200: steps between diagnoses (gradients of the objectives compared, held-out responses with
    and without their passages), which keeps them under 3 % of the time. 0: none, nor warnings of
    what they would show."""
    loggers: tuple[Literal["terminal", "jsonl", "tensorboard", "trackio", "wandb"], ...] = (
        "terminal",
        "jsonl",
    )
    """terminal, jsonl: where measurements go. The others need the extra of their name."""
    evaluate_turns: int | None = number(None, least=1)
    """none: the most turns of data.dev that are used; none means all."""


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Joint training of conversational retrieval and response generation."""

    output: Path
    """The run's folder: config.yaml, metrics.jsonl, checkpoints, and the trained model."""
    model: ModelConfig
    data: DataConfig
    objectives: Objectives = field(default_factory=Objectives)
    optimisation: Optimisation = field(default_factory=Optimisation)
    stages: tuple[Stage, ...] = ()
    """(): parts of the run with objectives and schedules of their own; empty means one."""
    distillation: Distillation | None = None
    """none: a teacher, where something is to be learned from one (``uniconv distil``)."""
    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    reporting: Reporting = field(default_factory=Reporting)


def load_config(path: Path | str, overrides: Sequence[str] = ()) -> TrainConfig:
    """Reads a YAML file, strictly.

    ``overrides`` such as ``optimisation.steps=100`` or ``data.train[0].weight=2`` take the place
    of what the file says; their values are YAML.

    Raises:
        ConfigError: it can't be read, or a key is unknown, missing, repeated, of the wrong type or
            out of range; every problem is listed with its dotted key.
    """
    path = Path(path)
    return config_from(override(read_yaml(path), overrides), str(path))


def config_from(value: Any, where: str = "configuration") -> TrainConfig:
    """A configuration from plain mappings and lists; ``where`` begins the text of errors."""
    config = structure(value, TrainConfig, where)
    raise_problems(where, list(range_problems(config)))
    return config


def plain(config: TrainConfig) -> dict[str, Any]:
    """The configuration as mappings, lists, strings and numbers, for YAML and JSON."""
    return unstructure(config)


def check_config(config: TrainConfig, where: str = "configuration") -> None:
    """Checks all that can be checked before a model is loaded: ranges, combinations and files.

    Raises:
        ConfigError: with every problem found.
    """
    raise_problems(where, [*range_problems(config), *_combination_problems(config)])


def _combination_problems(config: TrainConfig) -> Iterator[str]:
    if config.output.exists() and not config.output.is_dir():
        yield f"output: {config.output} is a file; name a folder"
    yield from matryoshka_problems(config.objectives)
    if config.model.quantise != "none":
        yield from _quantisation_problems(config.model)
        if config.optimisation.parallel == "fsdp":
            yield "model.quantise: weights of 4 bits can't be split; set optimisation.parallel ddp"
    for name in config.reporting.loggers:
        if name not in ("terminal", "jsonl") and find_spec(name) is None:
            yield f"reporting.loggers: {name} needs its extra (pip install 'uniconv[{name}]')"
    if not config.data.train:
        yield "data.train: expected at least one source"
    else:
        problems = list(stage_problems(config))
        yield from problems
        if not problems:
            yield from refresh_problems(config)
            yield from distillation_problems(config.distillation, all_objectives(config))
            yield from _best_problems(config)
    if config.data.mixing_temperature != 1 and any(source.share for source in config.data.train):
        yield "data.mixing_temperature: sources have shares, which leave nothing to it"
    yield from mixture_problems(config.data.train, config.data.dev)


def _best_problems(config: TrainConfig) -> Iterator[str]:
    weights = all_objectives(config)
    measured = {
        "loss": 1.0,
        "retrieval": weights.retrieval,
        "generation": weights.generation,
        "grounded": weights.gamma,
    }
    if config.data.dev and not measured[config.checkpoints.best.partition("_")[0]]:
        yield f"checkpoints.best: {config.checkpoints.best} isn't measured, as its weight is 0"


def _quantisation_problems(model: ModelConfig) -> Iterator[str]:
    if find_spec("bitsandbytes") is None:
        yield "model.quantise: 4bit needs the extra qlora (pip install 'uniconv[qlora]')"
    if model.method == "full":
        yield "model.quantise: weights of 4 bits can't be trained; set model.method to lora"
    if model.merge:
        yield (
            "model.merge: an adapter can't be folded into weights of 4 bits; leave it out, and "
            "fold it afterwards: UniConv.from_pretrained(MODEL).save_pretrained(FOLDER, merge=True)"
        )
