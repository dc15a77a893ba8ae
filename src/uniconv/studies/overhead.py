"""What one unified model costs beside a retriever and a generator.

    uniconv study overhead config.yaml

Both sides answer the same turns from the same questions on: time to load, memory, time to the first
token and to the whole answer, tokens read. Each side of each round runs in a process of its own,
sides taking turns in going first, so that whatever else the machine does falls on both. Figures
are ratios of the pair to the unified model.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console

from uniconv.config import OverheadConfig
from uniconv.config.strict import unstructure
from uniconv.data.lines import read_object
from uniconv.errors import UniConvError
from uniconv.evaluation.figures import COLOURS, can_draw, figure, note
from uniconv.evaluation.summary import bootstrap_interval, conversations_of, markdown_table
from uniconv.files import checksums, write_json
from uniconv.pretrained import resolve
from uniconv.retrieval.index import current_version
from uniconv.studies.reports import figure_links, write_report

SIDES = ("unified", "separate")
LOADING = {"load_seconds": "time to load, s", "resident_bytes": "memory, MB"}
ANSWERING = {
    "tokens_read": "tokens read",
    "first_token_seconds": "time to the first token, s",
    "seconds": "time to the whole answer, s",
}
NAMES = LOADING | ANSWERING


@dataclass(frozen=True, slots=True)
class Ratio:
    """What the pair takes, as a multiple of what the unified model takes.

    ``unified`` and ``separate`` are medians; ``low`` and ``high`` the range over rounds, for what
    happens once a round, or a 95 % bootstrap interval over conversations.
    """

    unified: float
    separate: float
    ratio: float
    low: float
    high: float


def overhead(study: OverheadConfig, console: Console | None = None) -> dict[str, Any]:
    """Runs the study or goes on with it; gives the contents of ``result.json``.

    Raises:
        UniConvError: a process failed, or the output folder holds rounds with other settings.
    """
    console = console or Console()
    settings = _settings(study)
    _check_same(study, settings)
    rounds: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for number in range(study.rounds):
        for side in SIDES if number % 2 == 0 else reversed(SIDES):
            folder = study.output / f"round-{number}"
            with console.status(f"Round {number + 1} of {study.rounds}: {side}"):
                rounds[side].append(_cost(settings[side], folder / side))
    ratios = ratios_of(rounds)
    files = draw(ratios, study.output / "figures") if can_draw() else []
    result = {
        "config": unstructure(study),
        "inputs": checksums(conversations=study.conversations),
        "ratios": {
            name: {field: getattr(one, field) for field in Ratio.__slots__}
            for name, one in ratios.items()
        },
    }
    return write_report(study.output, _sections(study, rounds, ratios, files), result, console)


def _settings(study: OverheadConfig) -> dict[str, dict[str, Any]]:
    """What the processes of each side are told."""
    common = {
        "index": str(study.index),
        "conversations": str(study.conversations),
        "turns": study.turns,
        "read": study.read,
        "max_new_tokens": study.max_new_tokens,
    }
    model = str(resolve(study.model))
    pair = [str(resolve(one)) if one else model for one in (study.retriever, study.generator)]
    return {
        "unified": {"retriever": model, "generator": None, **common},
        "separate": {"retriever": pair[0], "generator": pair[1], **common},
    }


def _check_same(study: OverheadConfig, settings: Mapping[str, Any]) -> None:
    """Keeps what rounds depend on in ``settings.json``, or compares with what is there."""
    inputs = checksums(conversations=study.conversations)
    index = current_version(study.index)
    about = {**settings, "inputs": inputs["conversations"]["sha256"], "index version": index}
    path = study.output / "settings.json"
    if not path.exists():
        write_json(path, about)
    elif read_object(path).fields != about:
        raise UniConvError(
            f"{study.output}: holds rounds with other settings; restore them or name another "
            "output folder"
        )


def _cost(settings: Mapping[str, Any], name: Path) -> dict[str, Any]:
    """What a process of one side measured, now or before the study was stopped."""
    told, out = name.with_suffix(".settings.json"), name.with_suffix(".json")
    if not out.exists():
        write_json(told, settings)
        command = [sys.executable, "-m", "uniconv.studies.turns", str(told), str(out)]
        done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["it said nothing"]
            raise UniConvError(f"{told}: the process that answers turns failed: {lines[-1]}")
    measured: dict[str, Any] = json.loads(out.read_text("utf-8"))
    return measured


def ratios_of(rounds: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Ratio]:
    """Ratios by measure, from what each round of each side measured."""
    ratios = {name: _of_rounds(name, rounds) for name in LOADING}
    return ratios | {name: _of_turns(name, rounds) for name in ANSWERING}


def _of_rounds(name: str, rounds: Mapping[str, Sequence[Mapping[str, Any]]]) -> Ratio:
    unified, separate = ([float(one[name]) for one in rounds[side]] for side in SIDES)
    each = [b / a for a, b in zip(unified, separate, strict=True)]
    return Ratio(median(unified), median(separate), median(each), min(each), max(each))


def _of_turns(name: str, rounds: Mapping[str, Sequence[Mapping[str, Any]]]) -> Ratio:
    """The mean over turns of a turn's ratio, whose parts are medians over rounds."""
    turns = list(rounds[SIDES[0]][0]["turns"])
    unified, separate = (
        np.array([median(one["turns"][turn][name] for one in rounds[side]) for turn in turns])
        for side in SIDES
    )
    each = separate / unified
    low, high = bootstrap_interval(each[:, None], conversations_of(turns))
    return Ratio(
        float(np.median(unified)),
        float(np.median(separate)),
        float(each.mean()),
        float(low[0]),
        float(high[0]),
    )


def _sections(
    study: OverheadConfig,
    rounds: Mapping[str, Sequence[Mapping[str, Any]]],
    ratios: Mapping[str, Ratio],
    files: Sequence[Path],
) -> list[str]:
    turns = rounds["unified"][0]["turns"]
    same = all(
        one["turns"][turn]["tokens_written"] == turns[turn]["tokens_written"]
        for side in SIDES
        for one in rounds[side]
        for turn in turns
    )
    rows = []
    for name, one in ratios.items():
        scale, digits = (1e-6, 1) if name == "resident_bytes" else (1.0, 3)
        digits = 0 if name == "tokens_read" else digits
        medians = [f"{value * scale:,.{digits}f}" for value in (one.unified, one.separate)]
        ratio = f"{one.ratio:.2f} ({one.low:.2f} to {one.high:.2f})"
        rows.append([NAMES[name], *medians, ratio])
    pair = "the unified model loaded twice"
    if study.retriever or study.generator:
        pair = f"`{study.retriever or study.model}` and `{study.generator or study.model}`"
    written = "the same tokens" if same else "answers of different lengths"
    return [
        "# Overhead",
        f"Unified: `{study.model}`. Separate: {pair}. {len(turns)} turns of "
        f"`{study.conversations}`, {study.read} passages of `{study.index}` read, at most "
        f"{study.max_new_tokens} tokens written; both sides wrote {written}. "
        f"{study.rounds} rounds, each side in a process of its own.",
        markdown_table(["", "unified", "separate", "separate / unified"], rows),
        "Medians; a turn's times are medians over rounds first. Ratios of loading and memory: "
        "median and range over rounds. Other ratios: mean over turns and 95 % bootstrap interval "
        "over conversations. Memory is what loading and one answer added to the process (and to "
        "the GPU). Every turn is read from its first question on; nothing is kept between turns.",
        figure_links(files),
    ]


def draw(ratios: Mapping[str, Ratio], out: Path) -> list[Path]:
    """Every ratio as a point with its interval, and the line where both cost the same."""
    with figure(out, "overhead", height=3.2) as (drawing, files):
        axes = drawing.add_subplot()
        for place, one in enumerate(ratios.values()):
            reach = [[max(0.0, one.ratio - one.low)], [max(0.0, one.high - one.ratio)]]
            axes.errorbar(one.ratio, place, xerr=reach, color=COLOURS[0], marker="o", capsize=3)
        axes.axvline(1, color="#444444", linewidth=1)
        axes.set_yticks(range(len(ratios)), [NAMES[name].partition(",")[0] for name in ratios])
        axes.set_ylim(len(ratios) - 0.5, -0.5)
        axes.set_xlim(left=0)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("a retriever and a generator, as a multiple of one unified model")
        axes.set_title("Overhead of two models")
        note(axes, "right of 1: two models cost more")
    return files
