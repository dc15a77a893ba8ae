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
from itertools import chain, compress
from pathlib import Path
from typing import Any

import numpy as np
import sources
from corpora import corpora
from documentation import documentation
from documents import Document
from evaluation_sets import evaluation_dialogues
from report import write_report
from rich.progress import track
from shingles import Dialogues, Duplicates, Hashes, words
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
            kept, said = self._new(document)
            tally["duplicate_words"] += document.words - kept.words
            if kept.words < _LEAST_WORDS:
                continue
            if self.known.within(np.concatenate([words(document.title), *said])) is not None:
                tally["leaks"] += 1
                continue
            tally["documents"] += 1
            tally["held_out_words" if held_out(kept.group) else "words"] += kept.words
            yield kept

    def _new(self, document: Document) -> tuple[Document, list[Hashes]]:
        """A document without what is known, and the hashes of the words that remain."""
        said = [words(part) for part in document.paragraphs]
        if document.dialogue:
            known = self.duplicates.add(words(" ".join(document.paragraphs)))
            return (replace(document, paragraphs=()), []) if known else (document, said)
        # A heading or a line of code says too little to be a duplicate.
        short = [len(part.split()) < 8 for part in document.paragraphs]
        new = [few or not self.duplicates.add(part) for few, part in zip(short, said, strict=True)]
        if all(few for few, fresh in zip(short, new, strict=True) if fresh) and sum(new) <= 8:
            new = [False] * len(new)
        paragraphs = tuple(compress(document.paragraphs, new))
        return replace(document, paragraphs=paragraphs), list(compress(said, new))


def questions(args: argparse.Namespace, known: Dialogues) -> Iterator[sources.Example]:
    """The examples of all question sets, less those that an evaluation set has."""
    for example in sources.examples(args.data, args.library):
        bound = example.source.startswith("topiocqa")
        if not (args.commercial and bound) and known.within(_words(example.turns)) is None:
            yield example


def check(out: Path, known: Dialogues) -> None:
    """Reads what was written once more.

    Raises:
        UniConvError: an evaluation dialogue is in it; all of it is removed.
    """
    for name in FILES:
        for number, row in enumerate(read_lines(out / name), start=1):
            parts = row.get("turns", [row["title"], row.get("text", "")])
            place = known.within(_words(parts))
            if place is not None:
                for written in FILES:
                    (out / written).unlink(missing_ok=True)
                said = " ".join(" ".join(parts).split()[place : place + 9])
                raise UniConvError(
                    f"{out / name}, line {number}: an evaluation dialogue says about '{said}'; "
                    "keep that file out of the data"
                )


def _words(parts: Iterable[str]) -> Hashes:
    return words(" ".join(parts))


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
    found = chain(corpora(args.data), documentation(args.library, args.packages, args.debian))
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


if __name__ == "__main__":
    main()
