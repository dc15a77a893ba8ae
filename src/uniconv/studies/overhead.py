"""What one unified model costs beside a retriever and a generator.

    uniconv study overhead config.yaml

Loading and memory are measured in a process for each side and round. Turns are answered in one
process a round that holds both sides, which take turns in going first, so that whatever else the
machine does falls on both. Figures are ratios of the pair to the unified model.
"""

from __future__ import annotations

import json
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

Measured = dict[str, Any]
SIDES = ("unified", "separate")
LOADING = {
    "load_seconds": "time to load, s",
    "weight_bytes": "weights, MB",
    "resident_bytes": "memory of the process, MB",
}
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
    loads: dict[str, list[Measured]] = {side: [] for side in SIDES}
    turns: list[Measured] = []
    for number in range(study.rounds):
        folder = study.output / f"round-{number}"
        with console.status(f"Round {number + 1} of {study.rounds}"):
            for side in SIDES if number % 2 == 0 else reversed(SIDES):
                loads[side].append(_measured(settings[side], folder / side))
            turns.append(_measured({**settings["turns"], "round": number}, folder / "turns"))
    ratios = ratios_of(loads, turns)
    files = draw(ratios, study.output / "figures") if can_draw() else []
    result = {
        "config": unstructure(study),
        "inputs": checksums(conversations=study.conversations),
        "ratios": {
            name: {field: getattr(one, field) for field in Ratio.__slots__}
            for name, one in ratios.items()
        },
    }
    return write_report(study.output, _sections(study, turns, ratios, files), result, console)


def _settings(study: OverheadConfig) -> dict[str, dict[str, Any]]:
    """What the processes are told: those that load a side, and those that answer turns."""
    asked = {
        "conversations": str(study.conversations),
        "read": study.read,
        "max_new_tokens": study.max_new_tokens,
    }
    model = str(resolve(study.model))
    pair = [str(resolve(one)) if one else model for one in (study.retriever, study.generator)]
    index, pair_index = str(study.index), str(study.retriever_index or study.index)
    return {
        "unified": {"retriever": model, "generator": None, "index": index, **asked},
        "separate": {"retriever": pair[0], "generator": pair[1], "index": pair_index, **asked},
        "turns": {
            "unified": model,
            "retriever": pair[0],
            "generator": pair[1],
            "index": index,
            "pair_index": pair_index,
            "turns": study.turns,
            **asked,
        },
    }


def _check_same(study: OverheadConfig, settings: Mapping[str, Any]) -> None:
    """Keeps what rounds depend on in ``settings.json``, or compares with what is there."""
    inputs = checksums(conversations=study.conversations)
    indexes = [study.index, study.retriever_index or study.index]
    about = {
        **settings,
        "inputs": inputs["conversations"]["sha256"],
        "index versions": [current_version(one) for one in indexes],
    }
    path = study.output / "settings.json"
    if not path.exists():
        write_json(path, about)
    elif read_object(path).fields != about:
        raise UniConvError(
            f"{study.output}: holds rounds with other settings; restore them or name another "
            "output folder"
        )


def _measured(settings: Mapping[str, Any], name: Path) -> Measured:
    """What a process measured, now or before the study was stopped."""
    told, out = name.with_suffix(".settings.json"), name.with_suffix(".json")
    if not out.exists():
        write_json(told, settings)
        command = [sys.executable, "-m", "uniconv.studies.turns", str(told), str(out)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["it said nothing"]
            raise UniConvError(f"{told}: the process that measures it failed: {lines[-1]}")
    measured: Measured = json.loads(out.read_text("utf-8"))
    return measured


def ratios_of(
    loads: Mapping[str, Sequence[Measured]], turns: Sequence[Measured]
) -> dict[str, Ratio]:
    """Ratios by measure, from what was measured in each round: ``loads`` by side, and ``turns``."""
    ratios = {name: _of_rounds(name, loads) for name in LOADING}
    return ratios | {name: _of_turns(name, turns) for name in ANSWERING}


def _of_rounds(name: str, loads: Mapping[str, Sequence[Measured]]) -> Ratio:
    unified, separate = ([float(one[name]) for one in loads[side]] for side in SIDES)
    each = [b / a for a, b in zip(unified, separate, strict=True)]
    return Ratio(median(unified), median(separate), median(each), min(each), max(each))


def _of_turns(name: str, rounds: Sequence[Measured]) -> Ratio:
    """The mean over turns of a turn's ratio, the median over rounds: sides of a round are measured
    one right after the other, so what disturbs one disturbs the other."""
    turns = list(rounds[0][SIDES[0]])
    values = {
        side: np.array([[one[side][turn][name] for one in rounds] for turn in turns])
        for side in SIDES
    }
    each = np.median(values["separate"] / values["unified"], axis=1)
    low, high = bootstrap_interval(each[:, None], conversations_of(turns))
    return Ratio(
        float(np.median(values["unified"])),
        float(np.median(values["separate"])),
        float(each.mean()),
        float(low[0]),
        float(high[0]),
    )


def _sections(
    study: OverheadConfig,
    rounds: Sequence[Measured],
    ratios: Mapping[str, Ratio],
    files: Sequence[Path],
) -> list[str]:
    turns = rounds[0]["unified"]
    same = all(
        one["unified"][turn]["tokens_written"] == one["separate"][turn]["tokens_written"]
        for one in rounds
        for turn in turns
    )
    rows = []
    for name, one in ratios.items():
        scale, digits = (1e-6, 1) if name.endswith("bytes") else (1.0, 3)
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
        f"{study.rounds} rounds.",
        markdown_table(["", "unified", "separate", "separate / unified"], rows),
        "Columns: medians. Ratios of loading and memory: median and range over rounds. Other "
        "ratios: mean over turns of a turn's median over rounds, and 95 % bootstrap interval over "
        "conversations. Memory of the process is what loading and one answer added to it (and to "
        "the GPU's memory), libraries' code and pages of the index included. Every turn is read "
        "from its first question on; nothing is kept between turns.",
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
