"""Trains the variants of a study with every seed and measures them; goes on where it stopped.

Each run has a folder ``VARIANT/seed-N`` with ``train``, ``retrieval`` and ``response``, and
``run.json`` once it is measured.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from uniconv.config import Judging, TrainConfig, Trainings
from uniconv.data.lines import read_object
from uniconv.evaluation.response import evaluate_responses
from uniconv.evaluation.response_settings import ResponseEvaluation
from uniconv.evaluation.retrieval import evaluate_retrieval
from uniconv.evaluation.retrieval_settings import RetrievalEvaluation
from uniconv.evaluation.saved import SavedResult, read_results
from uniconv.files import write_json
from uniconv.model import UniConv
from uniconv.retrieval.building import build_index
from uniconv.studies.material import Material
from uniconv.training import train

RETRIEVAL = ("ndcg@3", "mrr", "recall@10", "recall@100")
RESPONSE = ("f1", "rouge_l", "k_precision")
NEVER = -1e9
"""A threshold below which nothing falls: that a model declines is not what studies compare."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A separate retriever and generator, in place of one model."""

    retriever: TrainConfig
    generator: TrainConfig


@dataclass(frozen=True, slots=True)
class Run:
    """A variant that was trained with a seed and measured; ``means`` are by measure."""

    variant: str
    seed: int
    folder: Path
    means: Mapping[str, float]

    def saved(self) -> dict[str, SavedResult]:
        """Its results, of retrieval and of responses with each kind of passages."""
        return saved(self.folder)


def run_all(
    study: Trainings,
    variants: Mapping[str, TrainConfig | Pair],
    material: Material,
    console: Console,
) -> list[Run]:
    """All variants with all seeds, seed by seed, so that a study under way is a balanced one.

    Raises:
        ConfigError: a setting of the base is wrong, or a folder holds a run with other settings.
        UniConvError: whatever training and evaluation refuse.
    """
    runs = []
    for seed in study.seeds:
        for name, config in variants.items():
            runs.append(_run(study, name, config, seed, material, console))
    return runs


def _run(
    study: Trainings,
    name: str,
    config: TrainConfig | Pair,
    seed: int,
    material: Material,
    console: Console,
) -> Run:
    folder = study.output / name / f"seed-{seed}"
    record = folder / "run.json"
    # Training is asked of finished runs, too: it checks their settings.
    if isinstance(config, Pair):
        model = _train(config.retriever, folder / "retriever", seed)
        generator: Path | None = _train(config.generator, folder / "generator", seed)
    else:
        model, generator = _train(config, folder / "train", seed), None
    if not record.is_file():
        started = time.monotonic()
        measure(model, generator, folder, study.evaluation, material)
        seconds = round(time.monotonic() - started, 1)
        means = means_of(folder)
        write_json(
            record, {"variant": name, "seed": seed, "measured_in_seconds": seconds, "means": means}
        )
        if not study.keep_indexes:
            shutil.rmtree(folder / "index")
    run = Run(name, seed, folder, read_object(record).record("means").fields)
    shown = ", ".join(f"{measure} {run.means[measure]:.3f}" for measure in run.means)
    console.print(f"{name}, seed {seed}: {shown}", highlight=False)
    return run


def _train(config: TrainConfig, output: Path, seed: int) -> Path:
    """Trains with a seed, or finds it trained; gives the model."""
    return train(
        replace(config, output=output, optimisation=replace(config.optimisation, seed=seed))
    )


def measure(
    retriever: Path,
    generator: Path | None,
    folder: Path,
    judging: Judging,
    material: Material,
) -> None:
    """Indexes the corpora with the retriever, and writes ``retrieval`` and ``response``.

    Without a ``generator`` the retriever answers, too.
    """
    console = Console(quiet=True)  # every run's tables would bury the study's
    model = UniConv.from_pretrained(retriever)
    build_index(material.corpora, folder / "index", model)
    evaluate_retrieval(retrieval_settings(judging, material, folder), model=model, console=console)
    settings = response_settings(judging, material, folder)
    if generator is None:
        evaluate_responses(settings, model=model, console=console)
    else:
        evaluate_responses(replace(settings, generator=str(generator)), console=console)


def retrieval_settings(judging: Judging, material: Material, folder: Path) -> RetrievalEvaluation:
    """The evaluation of retrieval with the index in ``folder``."""
    return RetrievalEvaluation(
        conversations=material.conversations,
        out=folder / "retrieval",
        index=folder / "index",
        seed=judging.seed,
    )


def response_settings(judging: Judging, material: Material, folder: Path) -> ResponseEvaluation:
    """The evaluation of responses with the index in ``folder``."""
    return ResponseEvaluation(
        conversations=material.conversations,
        out=folder / "response",
        passages=judging.passages,
        index=folder / "index",
        retriever="dense",
        threshold=NEVER,
        read=judging.read,
        references=judging.references,
        scoring=judging.scoring,
        judged=judging.judged,
        max_new_tokens=judging.max_new_tokens,
        seed=judging.seed,
    )


def saved(folder: Path) -> dict[str, SavedResult]:
    """The results in a run's folder: ``retrieval``, ``response/retrieved``, …"""
    results = {"retrieval": read_results([folder / "retrieval"])[0]}
    for part in read_results([folder / "response"]):
        results[f"response/{part.folder.name}"] = part
    return results


def means_of(folder: Path) -> dict[str, float]:
    """Means over turns of a run's measures; those of responses with a kind of passages in brackets,
    where that isn't ``retrieved``."""
    means: dict[str, float] = {}
    for place, result in saved(folder).items():
        kind = place.partition("/")[2]
        for name in RESPONSE if kind else RETRIEVAL:
            values = [row[name] for row in result.values.values() if name in row]
            if values:
                label = name if kind in ("", "retrieved") else f"{name} ({kind})"
                means[label] = float(np.mean(values))
    return means


def over_seeds(name: str, results: Sequence[SavedResult]) -> SavedResult:
    """One result with every turn's values averaged over the seeds' results."""
    first = results[0]
    values: dict[str, dict[str, float]] = {}
    for query, row in first.values.items():
        rows = [result.values[query] for result in results]
        values[query] = {
            measure: float(np.mean([one[measure] for one in rows]))
            for measure in row
            if all(measure in one for one in rows)
        }
    return replace(first, name=name, values=values)


def plain_runs(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Runs as ``result.json`` has them."""
    return [
        {"variant": run.variant, "seed": run.seed, "folder": str(run.folder), "means": run.means}
        for run in runs
    ]
