"""Sequence-level distillation: responses that a teacher writes once, kept on disk.

After "Sequence-Level Knowledge Distillation" (Kim and Rush 2016, arXiv 1606.07947), with greedy
decoding in place of beam search.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress

from uniconv.citations import without_marks
from uniconv.data.lines import append_jsonl, resume_jsonl
from uniconv.data.records import Record
from uniconv.files import provenance, write_json
from uniconv.model import UniConv
from uniconv.training.distributed import processes, rank, wait
from uniconv.training.examples import Example, Examples
from uniconv.types import Passage


@dataclass(frozen=True, slots=True)
class _Task:
    """A turn to be answered; ``key`` is a checksum of all that the teacher reads."""

    example: Example
    passages: Sequence[Passage]
    key: str


def write_responses(
    teacher: UniConv,
    examples: Examples,
    folder: Path,
    *,
    grounded: bool,
    max_new_tokens: int,
    passages: int,
) -> Examples:
    """The examples with the teacher's responses in place of their own; histories stay.

    Grounded, the teacher reads the first ``passages`` relevant ones of a turn, where it has any.
    Citation marks are removed, since the student will see the passages in another order. What is
    in ``folder`` already is not written again; processes share the work, and the folder.
    """
    folder = folder / f"responses-{max_new_tokens}"
    tasks = [
        _task(teacher, one, _relevant(examples, one, passages) if grounded else [])
        for one in examples.examples
    ]
    known = _read(folder)
    wait()  # before anyone adds to what others are still reading
    missing = {task.key: task for task in tasks if task.key not in known}
    if missing:
        if rank() == 0:
            about = {"teacher": teacher.name, "fingerprint": teacher.fingerprint}
            write_json(folder / "about.json", provenance(**about, max_new_tokens=max_new_tokens))
        own = list(missing.values())[rank() :: processes()]
        path = folder / f"{rank():04d}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        append_jsonl(path, _written(teacher, own, max_new_tokens))
        wait()
        known = _read(folder)
    return replace(
        examples, examples=[replace(task.example, written=known[task.key]) for task in tasks]
    )


def _task(teacher: UniConv, example: Example, passages: Sequence[Passage]) -> _Task:
    prompt = teacher.template.prompt(example.context, passages)
    digest = hashlib.blake2b(str(prompt).encode(), digest_size=16).hexdigest()
    return _Task(example, passages, digest)


def _relevant(examples: Examples, example: Example, most: int) -> list[Passage]:
    named = examples.passages[example.source]
    return [named[id] for id in example.turn.positives if id in named][:most]


def _written(
    teacher: UniConv, tasks: Iterable[_Task], max_new_tokens: int
) -> Iterator[Mapping[str, Any]]:
    tasks = list(tasks)
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), disable=rank() > 0) as bar:
        for task in bar.track(tasks, description="The teacher writes"):
            example = task.example
            pieces = teacher.generate(
                example.context, task.passages, max_new_tokens=max_new_tokens, stop_loops=True
            )
            yield {
                "_id": example.conversation.query_id(example.number),
                "key": task.key,
                "passages": [passage.id for passage in task.passages],
                "response": without_marks("".join(pieces)).strip(),
            }


def _read(folder: Path) -> dict[str, str]:
    """Responses by key, from the files of all processes that ever wrote here."""

    def parse(record: Record) -> tuple[str, str]:
        return record.text("key"), record.text("response")

    return dict(
        pair for path in sorted(folder.glob("*.jsonl")) for pair in resume_jsonl(path, parse)
    )
