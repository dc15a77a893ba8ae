"""Stage 1: collects, cleans and checks the text.

    python recipes/mini/collect.py DATA OUT [--commercial] [--packages FOLDER ...]

Writes ``OUT/documents.jsonl`` and ``OUT/examples.jsonl`` (questions with the passage and, mostly,
the sentence that answers them), the same as ``held_out_documents.jsonl`` and ``held_out.jsonl`` for
what no stage trains on, and ``OUT/report.{json,md}``: what is in, by source and licence.

It fails, and leaves nothing behind, if a dialogue of an evaluation set is in what it wrote.
``--commercial`` leaves out whatever may not be used commercially.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import sources
from corpora import corpora
from documentation import documentation
from documents import Document
from evaluation_sets import evaluation_dialogues
from report import write_report
from rich.progress import track
from shingles import Dialogues, Duplicates
from text import held_out, read_lines, write_lines

from uniconv.errors import UniConvError

FILES = ("documents.jsonl", "held_out_documents.jsonl", "examples.jsonl", "held_out.jsonl")
_LEAST_WORDS = 12  # of a document, after cleaning


class Collection:
    """Documents on their way in: counted, without duplicates and without evaluation dialogues."""

    def __init__(self, known: Dialogues, commercial: bool = False) -> None:
        self.known, self.commercial = known, commercial
        self.duplicates = Duplicates()
        self.tally: dict[str, dict[str, Any]] = {}

    def keep(self, documents: Iterable[Document]) -> Iterator[Document]:
        """What remains of each document."""
        for document in documents:
            source = document.source
            tally = self.tally.setdefault(
                source.name,
                {**asdict(source), "documents": 0, "words": 0}
                | {"held_out_words": 0, "duplicate_words": 0, "leaks": 0},
            )
            if self.commercial and not source.commercial:
                continue
            kept = self._new(document)
            tally["duplicate_words"] += document.words - kept.words
            if kept.words < _LEAST_WORDS:
                continue
            if self.known.within([document.title, *kept.paragraphs]):
                tally["leaks"] += 1
                continue
            tally["documents"] += 1
            tally["held_out_words" if held_out(kept.group) else "words"] += kept.words
            yield kept

    def _new(self, document: Document) -> Document:
        if document.dialogue:
            known = self.duplicates.add(" ".join(document.paragraphs))
            return replace(document, paragraphs=() if known else document.paragraphs)
        # A heading or a line of code says too little to be a duplicate.
        new = [
            part
            for part in document.paragraphs
            if len(part.split()) < 8 or not self.duplicates.add(part)
        ]
        said = sum(len(part.split()) for part in new if len(part.split()) >= 8)
        return replace(document, paragraphs=tuple(new) if said or len(new) > 8 else ())


def questions(args: argparse.Namespace, known: Dialogues) -> Iterator[sources.Example]:
    """The examples of all question sets, less those that an evaluation set has."""
    for example in sources.examples(args.data, args.library):
        bound = example.source.startswith("topiocqa")
        if not (args.commercial and bound) and not known.within(example.turns):
            yield example


def check(out: Path, known: Dialogues) -> None:
    """Reads what was written once more.

    Raises:
        UniConvError: an evaluation dialogue is in it; all of it is removed.
    """
    for name in FILES:
        for number, row in enumerate(read_lines(out / name), start=1):
            turns = row.get("turns", [])
            leak = known.within(turns) or known.within([row["title"], row.get("text", "")])
            if leak and (name.endswith("documents.jsonl") or known.within(turns)):
                for written in FILES:
                    (out / written).unlink(missing_ok=True)
                raise UniConvError(
                    f"{out / name}, line {number}: an evaluation dialogue says '{leak}'; "
                    "keep that file out of the data"
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--commercial", action="store_true")
    parser.add_argument("--library", type=Path, help="by default this Python's standard library")
    parser.add_argument("--packages", type=Path, nargs="*", help="by default those of this Python")
    parser.add_argument("--debian", type=Path, default=Path("/"), help="root of a Debian system")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    known = Dialogues(evaluation_dialogues(args.data))
    collection = Collection(known, args.commercial)
    rows: dict[bool, list[Any]] = defaultdict(list)
    found = _chain(corpora(args.data), documentation(args.library, args.packages, args.debian))
    for document in collection.keep(track(found, description="documents", total=450_000)):
        rows[held_out(document.group)].append(document.to_json())
    write_lines(args.out / FILES[0], rows[False])
    write_lines(args.out / FILES[1], rows[True])
    asked: dict[bool, list[Any]] = defaultdict(list)
    for example in questions(args, known):
        asked[held_out(example.group)].append(asdict(example))
    write_lines(args.out / FILES[2], asked[False])
    write_lines(args.out / FILES[3], asked[True])
    check(args.out, known)
    write_report(args.out, list(collection.tally.values()), asked, len(known), args.commercial)


def _chain(*parts: Iterable[Document]) -> Iterator[Document]:
    for part in parts:
        yield from part


if __name__ == "__main__":
    main()
