"""Feeds damaged files to every reader of the catalogue.

    python benchmarks/fuzz_readers.py DATA --seconds 300 --out fuzz

The seeds are small sets in the native formats (tests/data/native_sets.py) and, of the real files in
the folder DATA, the smallest parts that their readers still take. A reader may refuse an input with
a UniConvError, or read it: then all that it wrote must be readable again, and where records can be
counted in the files themselves, as many must have come out or be counted as left out. Anything else
is a failure, and so are more than ten seconds of work; its files are kept in ``--out``. A table of
inputs, refusals and failures for every reader ends the run; the exit status is 1 with failures.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests/data"))
from native_files import WIKI, Files, write
from native_sets import FORMS

from fuzz_seeds import real_seeds
from mutations import mutate
from uniconv.data.beir import read_corpus, read_qrels
from uniconv.data.catalogue import CATALOGUE, convert
from uniconv.data.conversations import read_conversations
from uniconv.errors import DataErrors, UniConvError

SECONDS = 10


class Failure(Exception):
    """A reader did what no input may make it do."""


@dataclass
class Tally:
    """What became of a reader's inputs."""

    outcomes: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)


def attempt(name: str, files: Files, scratch: Path) -> str:
    """Converts files; gives ``read`` or the beginning of the refusal.

    Raises:
        Failure: neither, or what was read can't be read again or lost records.
    """
    for folder in ("in", "out"):
        shutil.rmtree(scratch / folder, ignore_errors=True)
    write(files, scratch / "in")
    corpus = scratch / "in" / WIKI if WIKI in files else None
    try:
        about = convert(name, scratch / "in", scratch / "out", corpus)
    except UniConvError as error:
        message = str(error)
        if not message.strip() or ("\n" in message and not isinstance(error, DataErrors)):
            raise Failure(f"a refusal of no or several lines: {message!r}") from error
        return f"refused: {message.rpartition(': ')[2][:60]}"
    _read_again(scratch / "out", about)
    _lost(name, scratch / "in", about)
    return "read"


def _read_again(out: Path, about: dict[str, Any]) -> None:
    """What was written can be read, and is as much as was told."""
    try:
        for split, told in about["counts"].items():
            if isinstance(told, dict) and "conversations" in told:
                talks = list(read_conversations(out / f"{split}.jsonl"))
                found = len(talks), sum(len(one.turns) for one in talks)
                if found != (told["conversations"], told["turns"]):
                    raise Failure(f"{split}: {found} were written, but {told} are told")
        if (out / "corpus.jsonl").exists():
            passages = sum(1 for _ in read_corpus(out / "corpus.jsonl"))
            if passages != about["counts"]["passages"]:
                raise Failure(f"{passages} passages were written, {about['counts']} are told")
        for path in out.glob("*.qrels.tsv"):
            read_qrels(path)
    except UniConvError as error:
        raise Failure(f"what was written can't be read: {error}") from error


def _rows(path: Path) -> list[Any]:
    """The records of a native file: a JSON list, or a JSON value a line."""
    content = path.read_text("utf-8-sig")
    try:
        value = json.loads(content)
        return value if isinstance(value, list) else [value]
    except ValueError:
        return [json.loads(line) for line in content.split("\n") if line.strip()]


TURNS_ARE_ROWS = {
    "topiocqa": ("data/topiocqa_train.jsonl", "data/topiocqa_valid.jsonl"),
    "qrecc": ("scai-qrecc21-training-turns.json", "qrecc_test.json"),
    "orquac": ("preprocessed/train.txt", "preprocessed/dev.txt"),
}
TALKS_ARE_ROWS = {
    "ultrachat": ("train_0.jsonl",),
    "openai-messages": ("a.jsonl",),
    "qed_nq": ("qed-train.jsonlines", "qed-dev.jsonlines"),
    "clapnq": ("annotated_data/dev/clapnq_dev_answerable.jsonl",),
    "ottqa": ("released_data/dev.traced.json",),
    "hybridqa": ("released_data/dev.json",),
    "dstc10": ("task2/data/val/labels.json",),
    "dstc11": ("data/val/labels.json",),
    "faithdial": ("data/train.json", "data/test.json"),
    "coral": ("train/train_conversation.json", "test/test_conversation.json"),
    "medquad": ("medquad.jsonl",),
}
_COUNTED = ("left out, dialogues", "left out, logs", "left out, without", "left out, no passage")
_COUNTED += ("left out, answer", "rows of a question")


def _lost(name: str, source: Path, about: dict[str, Any]) -> None:
    """Records in are records out, or counted as left out, where rows are turns or conversations."""
    rows = TURNS_ARE_ROWS.get(name) or TALKS_ARE_ROWS.get(name) or ()
    paths = [source / path for path in rows if (source / path).exists()]
    if not paths:
        return
    unit = "turns" if name in TURNS_ARE_ROWS else "conversations"
    counts = about["counts"]
    kept = sum(told.get(unit, 0) for told in counts.values() if isinstance(told, dict))
    left = sum(number for what, number in counts.items() if what.startswith(_COUNTED))
    given = sum(len(_rows(path)) for path in paths)
    if kept + left != given:
        raise Failure(f"{given} records were given, {kept} came out, {left} are told as left out")


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """Ends what takes more processor time; how busy the machine is doesn't count."""

    def stop(*_: object) -> None:
        raise Failure(f"takes more than {seconds} seconds of work")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def trial(name: str, files: Files, rng: random.Random, scratch: Path) -> tuple[Files, str]:
    """Damages files once to thrice and reads them; gives them and the outcome."""
    damaged = dict(files)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        path = rng.choice(sorted(damaged))
        damaged[path] = mutate(path, damaged[path], rng)
        if rng.random() < 0.01:
            del damaged[path]
            break
    try:
        with at_most(SECONDS):
            return damaged, attempt(name, damaged, scratch)
    except Failure as failure:
        return damaged, f"FAILED: {failure}"
    except Exception:
        return damaged, f"FAILED: {traceback.format_exc()}"


def keep(out: Path, form: str, number: int, damaged: Files, outcome: str) -> None:
    """Keeps the files of a failure with what happened."""
    folder = out / f"{form.replace(' ', '-')}-{number}"
    write(damaged, folder / "in")
    (folder / "outcome.txt").write_text(outcome)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path, nargs="?", help="a folder of real data sets")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("fuzz"))
    parser.add_argument("--only", nargs="*", help="names of data sets")
    arguments = parser.parse_args()
    seeds = dict(FORMS)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        if arguments.data is not None:
            seeds |= real_seeds(arguments.data, scratch / "real", arguments.only)
        if arguments.only:
            seeds = {form: one for form, one in seeds.items() if one[0] in arguments.only}
        for form, (name, files) in seeds.items():
            if not attempt(name, files, scratch).startswith("read"):
                raise SystemExit(f"{form}: the undamaged files are refused")
        tallies = {name: Tally() for name in CATALOGUE}
        rng = random.Random(arguments.seed)
        ends = time.monotonic() + arguments.seconds
        failures = number = 0
        try:
            while time.monotonic() < ends:
                for form, (name, files) in seeds.items():
                    number += 1
                    damaged, outcome = trial(name, files, rng, scratch)
                    kind = outcome.partition(":")[0]
                    tallies[name].outcomes[kind] += 1
                    tallies[name].refusals[outcome] += kind == "refused"
                    if kind == "FAILED":
                        failures += 1
                        keep(arguments.out, form, number, damaged, outcome)
                        print(f"{form}: {outcome}", file=sys.stderr)
        except KeyboardInterrupt:
            pass
    print("| reader | inputs | refused | read | failed | kinds of refusal |")
    print("|---|---|---|---|---|---|")
    for name, tally in tallies.items():
        told = tally.outcomes
        if told:
            print(
                f"| {name} | {told.total():,} | {told['refused']:,} | {told['read']:,} | "
                f"{told['FAILED']:,} | {len(tally.refusals):,} |"
            )
    total = sum((tally.outcomes for tally in tallies.values()), Counter[str]())
    print(f"{total.total():,} inputs: {dict(total)}; seed {arguments.seed}")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
