"""From download to the finished table, a step after another; run again, it goes on where it was.

    python recipes/paper/reproduce.py --accept-licence
    python recipes/paper/reproduce.py --passages 100000 --set model.path=Qwen/Qwen3-0.6B

get      the data sets, from their official sources or a folder   OUT/downloads/SET
convert  to the interchange formats                               OUT/data/SET
corpora  reduced, with --passages                                 OUT/corpora/SET.jsonl
mine     hard negatives for training                              OUT/data/SET/train-mined.jsonl
train    every model that a row needs, once                       OUT/models/VARIANT
measure  every row on every set                                   OUT/results/ROW/SET
table    the measured figures beside the published ones           OUT/table.md, OUT/table.json
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from paper_table import Published, markdown
from rich.console import Console

from uniconv.config import (
    Judging,
    MiningConfig,
    TrainConfig,
    VariantName,
    config_from,
    load_config,
    located,
    plain,
)
from uniconv.config.sources import Source
from uniconv.config.strict import read_yaml, structure, unstructure
from uniconv.data.catalogue import convert
from uniconv.data.getting import get
from uniconv.data.lines import read_object, write_lines
from uniconv.errors import UniConvError
from uniconv.files import provenance, write_json
from uniconv.retrieval.mining import mine
from uniconv.studies.material import Material, prepare, reduce_corpus
from uniconv.studies.runs import means_of, measure
from uniconv.studies.variants import variant
from uniconv.training import train

HERE = Path(__file__).parent
Named = TypeVar("Named", "Row", "TestSet")
STEPS = ("get", "convert", "corpora", "mine", "train", "measure", "table")


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table: one ``model``, or a ``retriever`` and a ``generator``."""

    name: str
    model: VariantName | None = None
    retriever: VariantName | None = None
    generator: VariantName | None = None

    @property
    def variants(self) -> tuple[VariantName, ...]:
        """What is trained for it: what retrieves first."""
        return tuple(one for one in (self.model, self.retriever, self.generator) if one)


@dataclass(frozen=True, slots=True)
class TestSet:
    """A data set, the split that is reported, whose F1, and whether training mines for it."""

    name: str
    split: str
    scoring: Literal["squad", "coqa", "quac"] = "squad"
    mine: bool = False


@dataclass(frozen=True, slots=True)
class Origin:
    """Where published figures were found, by a short name."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Paper:
    """The contents of rows.yaml."""

    rows: tuple[Row, ...]
    sets: tuple[TestSet, ...]
    published: tuple[Published, ...]
    sources: tuple[Origin, ...]


@dataclass(frozen=True, slots=True)
class Job:
    """What the driver was told."""

    out: Path
    paper: Paper
    measured: tuple[TestSet, ...]
    base: TrainConfig
    source: Path | None
    accepted: bool
    passages: int | None
    turns: int | None
    max_new_tokens: int
    keep_indexes: bool

    def data(self, name: str) -> Path:
        """The folder of a converted set."""
        return self.out / "data" / name

    def corpus(self, name: str) -> Path:
        """The passages of a set that are searched."""
        if self.passages is not None:
            return self.out / "corpora" / f"{name}.jsonl"
        (path,) = located(Source(set=self.data(name))).corpora
        return path


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the steps that are asked for, all of them by default."""
    job, steps = _read_arguments(arguments)
    console = Console()
    for step in steps:
        console.rule(step, align="left")
        globals()[f"step_{step}"](job, console)


def step_get(job: Job, console: Console) -> None:
    """Fetches the native files of every set."""
    for one in job.paper.sets:
        console.print(one.name)
        source = None if job.source is None else job.source / one.name
        get(one.name, job.out / "downloads" / one.name, source=source, accepted=job.accepted)


def step_convert(job: Job, console: Console) -> None:
    """Makes interchange folders; one that is whole has its dataset.json and is kept."""
    for one in job.paper.sets:
        if not (job.data(one.name) / "dataset.json").is_file():
            console.print(one.name)
            convert(one.name, job.out / "downloads" / one.name, job.data(one.name))


def step_corpora(job: Job, console: Console) -> None:
    """Reduces corpora to the positives of training and test and so many other passages."""
    for one in job.paper.sets if job.passages is not None else ():
        whole, out = located(Source(set=job.data(one.name))).corpora, job.corpus(one.name)
        if not out.is_file():
            files = [job.data(one.name) / f"{name}.jsonl" for name in (one.split, "train")]
            named = [file for file in files if file.is_file()]
            count = reduce_corpus(named, whole, out, distractors=job.passages or 0, seed=0)
            console.print(f"{one.name}: {count:,} passages", highlight=False)


def step_mine(job: Job, console: Console) -> None:
    """Mines hard negatives with BM25 where a set asks for it."""
    for one in job.paper.sets:
        out = job.data(one.name) / "train-mined.jsonl"
        if one.mine and not out.with_suffix(".mining.json").is_file():
            train_split = job.data(one.name) / "train.jsonl"
            console.print(mine(MiningConfig(train_split, out, corpus=job.corpus(one.name))))


def step_train(job: Job, console: Console) -> None:
    """Trains every variant that a row needs; finished ones are left as they are."""
    for name in dict.fromkeys(one for row in job.paper.rows for one in row.variants):
        console.print(f"{name}: {_train(job, name)}", highlight=False)


def step_measure(job: Job, console: Console) -> None:
    """Measures every row on every set."""
    for row in job.paper.rows:
        models = [_train(job, name) for name in row.variants]
        for one in job.measured:
            folder = job.out / "results" / row.name.replace(" ", "-") / one.name
            if (folder / "means.json").is_file():
                continue
            judging, material = _material(job, one)
            measure(models[0], models[1] if len(models) > 1 else None, folder, judging, material)
            means = means_of(folder)
            write_json(folder / "means.json", means)
            if not job.keep_indexes:
                shutil.rmtree(folder / "index")
            console.print(f"{row.name}, {one.name}: {means}", highlight=False)


def step_table(job: Job, console: Console) -> None:
    """Writes the table of what is measured so far, beside what is published."""
    measured = {
        (row.name, one.name): read_object(path).fields
        for row in job.paper.rows
        for one in job.measured
        if (path := job.out / "results" / row.name.replace(" ", "-") / one.name / "means.json")
        and path.is_file()
    }
    rows, sets = [row.name for row in job.paper.rows], [one.name for one in job.measured]
    origins = {one.name: one.text for one in job.paper.sources}
    text = markdown(rows, sets, measured, job.paper.published, origins, job.base, job.passages)
    write_lines(job.out / "table.md", [text])
    cells: list[dict[str, Any]] = [
        {"row": row, "set": name, "means": means} for (row, name), means in measured.items()
    ]
    about = {"base": plain(job.base), "passages": job.passages, "turns": job.turns}
    paper = unstructure(job.paper)
    write_json(job.out / "table.json", provenance(measured=cells, paper=paper, **about))
    console.print(text, markup=False, highlight=False)


def _train(job: Job, name: VariantName) -> Path:
    return train(replace(variant(name, job.base), output=job.out / "models" / name))


def _material(job: Job, one: TestSet) -> tuple[Judging, Material]:
    references = job.data(one.name) / f"{one.split}.references.jsonl"
    judging = Judging(
        conversations=job.data(one.name) / f"{one.split}.jsonl",
        corpora=(job.corpus(one.name),),
        references=references if references.is_file() else None,
        scoring=one.scoring,
        turns=job.turns,
        judged=False,
        max_new_tokens=job.max_new_tokens,
    )
    return judging, prepare(judging, job.out / "evaluation" / one.name)


def _read_arguments(arguments: Sequence[str] | None) -> tuple[Job, list[str]]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/paper"))
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS))
    parser.add_argument("--rows", nargs="+", help="only these rows, by name")
    parser.add_argument("--sets", nargs="+", help="measure on these sets only, by name")
    parser.add_argument("--from", dest="source", type=Path, help="a folder with a folder per set")
    parser.add_argument("--accept-licence", action="store_true", help="of TopiOCQA")
    parser.add_argument("--passages", type=int, help="reduce corpora to so many other passages")
    parser.add_argument("--turns", type=int, help="measure on about so many turns of a set")
    parser.add_argument("--max-new-tokens", type=int, default=128)
    parser.add_argument("--keep-indexes", action="store_true")
    parser.add_argument("--set", nargs="+", default=[], help="override settings of base.yaml")
    told = parser.parse_args(arguments)
    paper = structure(read_yaml(HERE / "rows.yaml"), Paper, str(HERE / "rows.yaml"))
    paper = replace(paper, rows=_chosen("row", paper.rows, told.rows))
    base = _moved(load_config(HERE / "base.yaml", told.set), told.out)
    measured = _chosen("set", paper.sets, told.sets)
    job = Job(
        told.out,
        paper,
        measured,
        base,
        told.source,
        told.accept_licence,
        told.passages,
        told.turns,
        told.max_new_tokens,
        told.keep_indexes,
    )
    return job, [step for step in STEPS if step in told.steps]


def _chosen(kind: str, all_: tuple[Named, ...], names: Sequence[str] | None) -> tuple[Named, ...]:
    """Those with one of the names; all of them where no name is given."""
    unknown = next((name for name in names or () if name not in {one.name for one in all_}), None)
    if unknown is not None:
        known = ", ".join(one.name for one in all_)
        raise UniConvError(f"rows.yaml has no {kind} of {unknown}; it has {known}")
    return tuple(one for one in all_ if names is None or one.name in names)


def _moved(base: TrainConfig, out: Path) -> TrainConfig:
    """The base with its sets in ``out/data``."""
    sources = [
        replace(one, set=out / "data" / one.set.name) if one.set else one for one in base.data.train
    ]
    moved = replace(base, data=replace(base.data, train=tuple(sources)))
    return config_from(plain(moved), str(HERE / "base.yaml"))


if __name__ == "__main__":
    main()
