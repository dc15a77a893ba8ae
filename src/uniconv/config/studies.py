"""What a study is told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar, get_args

from uniconv.config.ranges import number, range_problems
from uniconv.config.strict import override, raise_problems, read_yaml, structure
from uniconv.config.training import TrainConfig, load_config

T = TypeVar("T", bound="AblationConfig | AlphaConfig | ConsistencyConfig | OverheadConfig")

VariantName = Literal["joint", "retrieval", "generation", "no-cii", "no-ddm", "two-stage"]
"""What an ablation trains: see :mod:`uniconv.studies.variants`."""


@dataclass(frozen=True, slots=True)
class OverfitConfig:
    """What to learn, and how hard to try."""

    model: str
    """A folder or hub id of a causal LM, or a UniConv checkpoint."""
    conversations: Path | None = None
    """none: conversations as JSONL; without them a built-in turn is learned."""
    corpora: tuple[Path, ...] = ()
    """(): the passages to rank, files ``corpus.jsonl``."""
    query_id: str | None = None
    """none: the turn, as ``conversation_turn``; the first with a positive and a response."""
    distractors: int = 100
    """100: the most passages to rank the turn's own among."""
    method: Literal["lora", "full"] = "lora"
    """lora: what is trained; full for small models."""
    learning_rate: float = 1e-3
    """1e-3: high, since nothing is to be kept."""
    steps: int = 200
    """200: steps after which to give up."""
    seed: int = 0
    """0: of the adapter's start and the choice of distractors."""


@dataclass(frozen=True, slots=True)
class Judging:
    """On what every model of a study is measured, and how."""

    conversations: Path
    """Conversations (JSONL); every turn with positives is retrieved for."""
    corpora: tuple[Path, ...]
    """Files ``corpus.jsonl`` that hold the positives."""
    references: Path | None = None
    """none: all reference responses by query id, for sets with several."""
    scoring: Literal["squad", "coqa", "quac"] = "squad"
    """squad: whose F1; coqa for TopiOCQA, quac for OR-QuAC."""
    turns: int | None = number(None, least=1)
    """none: about so many turns with positives, those of whole conversations drawn by ``seed``."""
    judged: bool = True
    """true: only turns with positives are answered, so that F1 and NDCG are of the same turns."""
    distractors: int | None = number(None, least=0)
    """none: the whole corpora. A number: the turns' positives and so many other passages, drawn by
    ``seed``, which is easier; figures are comparable within the study only."""
    passages: tuple[Literal["retrieved", "relevant", "none"], ...] = ("retrieved",)
    """retrieved: what is read for a response; relevant and none beside it show the generator by
    itself."""
    read: int = number(3, least=1)
    """3: retrieved passages that are read for a response."""
    max_new_tokens: int = number(64, least=1)
    """64: the longest response; those of the usual sets are shorter."""
    seed: int = number(0, least=0)
    """0: of what is drawn, and of bootstrap intervals."""


@dataclass(frozen=True, slots=True)
class Trainings:
    """What the studies that train share: one base, variants of it, and how they are measured."""

    output: Path
    """The folder of the study: one folder for each variant, report.md, result.json, figures."""
    train: Path
    """A training configuration, the base of all variants. Its ``output`` is not used."""
    evaluation: Judging
    """On what the models are measured."""
    set: tuple[str, ...] = ()
    """(): settings that override the base's, such as model.path=mistralai/Mistral-7B-v0.3."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """(0, 1, 2): every variant is trained once with each as optimisation.seed; intervals are over
    them."""
    keep_indexes: bool = False
    """false: a run's index is removed once the run is measured; indexes are large."""

    def base(self) -> TrainConfig:
        """The base configuration, with the study's overrides."""
        return load_config(self.train, self.set)


@dataclass(frozen=True, slots=True)
class AblationConfig(Trainings):
    """What each part of the joint objective is worth."""

    variants: tuple[VariantName, ...] = get_args(VariantName)
    """all six: joint; retrieval or generation alone; without context identification (no-cii);
    without data discrepancy mitigation (no-ddm); context identification in a second stage."""


@dataclass(frozen=True, slots=True)
class AlphaConfig(Trainings):
    """What the weight of context identification trades."""

    alphas: tuple[float, ...] = (0.0, 0.25, 0.5, 1.0, 2.0)
    """(0, 0.25, 0.5, 1, 2): values of objectives.alpha around 1, the default."""


@dataclass(frozen=True, slots=True)
class ConsistencyConfig(Trainings):
    """Whether one model makes more of ambiguous passages than a retriever and a generator."""

    seeds: tuple[int, ...] = (0,)
    """(0,): three models are trained with each; turns' values are means over seeds."""
    share: float = number(1 / 3, above=0, most=0.5)
    """1/3: the part of the turns that counts as ambiguous, and as clear."""


@dataclass(frozen=True, slots=True)
class OverheadConfig:
    """What one unified model costs beside a retriever and a generator."""

    output: Path
    """The folder of the study."""
    model: str
    """The unified model, which made the index."""
    index: Path
    """The index that is searched."""
    conversations: Path
    """Conversations (JSONL); every turn is asked."""
    retriever: str | None = None
    """none: the model that retrieves for the pair; none means ``model``, so that only the number of
    models differs."""
    retriever_index: Path | None = None
    """none: the index that ``retriever`` made; none means ``index``."""
    generator: str | None = None
    """none: the model that answers for the pair; none means ``model``."""
    turns: int = number(40, least=1)
    """40: the most turns, the first ones."""
    rounds: int = number(3, least=1)
    """3: how often everything is measured; a turn's ratios are medians over rounds."""
    read: int = number(3, least=1)
    """3: passages that are read for an answer."""
    max_new_tokens: int = number(32, least=1)
    """32: the longest answer; both sides write, only reading differs."""


def load_study(path: Path | str, kind: type[T], overrides: Sequence[str] = ()) -> T:
    """Reads a study's YAML file, strictly, with overrides as of ``load_config``.

    Raises:
        ConfigError: it can't be read, a key is unknown, missing or wrong, or a file is missing.
    """
    path = Path(path)
    config = structure(override(read_yaml(path), overrides), kind, str(path))
    raise_problems(str(path), [*range_problems(config), *_problems(config)])
    return config


def _problems(
    config: AblationConfig | AlphaConfig | ConsistencyConfig | OverheadConfig,
) -> Iterator[str]:
    files: dict[str, Path | None]
    if isinstance(config, OverheadConfig):
        files = {"conversations": config.conversations}
    else:
        files = {
            "train": config.train,
            "evaluation.conversations": config.evaluation.conversations,
            "evaluation.references": config.evaluation.references,
        }
        for place, corpus in enumerate(config.evaluation.corpora):
            files[f"evaluation.corpora[{place}]"] = corpus
        if not config.evaluation.corpora:
            yield "evaluation.corpora: expected at least one file"
        if "retrieved" not in config.evaluation.passages:
            yield "evaluation.passages: expected 'retrieved' among them, which reports are about"
        yield from _repeated("seeds", config.seeds)
        if isinstance(config, AblationConfig):
            yield from _repeated("variants", config.variants)
        elif isinstance(config, AlphaConfig):
            yield from _repeated("alphas", config.alphas)
            if min(config.alphas, default=0) < 0:
                yield "alphas: expected numbers of at least 0"
    for key, file in files.items():
        if file is not None and not file.is_file():
            yield f"{key}: there is no file {file} (from {Path.cwd()})"


def _repeated(key: str, values: Sequence[object]) -> Iterator[str]:
    if not values:
        yield f"{key}: expected at least one"
    elif len(set(values)) < len(values):
        yield f"{key}: one is given twice"
