"""How many questions are declined, by the model's own score of the passage that search puts first.

    python benchmarks/declining.py OUT --thresholds 0.30 0.39

OUT has what benchmarks/figures.py left with the model. A line is for a collection: how many of its
answerable turns are declined at each threshold; how many of those that it marks unanswerable, with
the area under the curve (what share of pairs the score has in order); and the same of other sets'
turns, which are about something else. Choose thresholds on other turns (``uniconv calibrate``).
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from uniconv.data.conversations import read_conversations
from uniconv.model import UniConv
from uniconv.retrieval.interface import Index
from uniconv.search import ConversationalSearch
from uniconv.types import UNANSWERABLE, Conversation, Turn

DOCUMENTS = ("doc2dial/val", "mtrag-cloud/dev")
PEOPLE = ("inscit/dev", "cast20/test", "topiocqa/dev")  # and whatever else Wikipedia tells of
COLLECTIONS = (
    ("mtrag-cloud", ("mtrag-cloud/dev", "mtragun-cloud/test"), (*PEOPLE, "doc2dial/val")),
    ("doc2dial", ("doc2dial/val",), (*PEOPLE, "mtrag-cloud/dev")),
    ("mtrag-clapnq", ("mtrag-clapnq/dev", "mtragun-clapnq/test"), DOCUMENTS),
    ("cast20", ("cast20/test",), DOCUMENTS),
    ("wiki", ("inscit/dev", "topiocqa/dev"), DOCUMENTS),
)
"""Indexes, the splits whose passages they have, and those that are about something else."""

Scores = npt.NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="of benchmarks/figures.py")
    parser.add_argument("--model", default="models/mini")
    parser.add_argument("--thresholds", type=float, nargs="+", required=True)
    parser.add_argument("--turns", type=int, default=400, help="of a set, at most")
    options = parser.parse_args()
    model = UniConv.from_pretrained(options.model)

    def turns(splits: Sequence[str], wanted: Callable[[Turn], bool]) -> list[Conversation]:
        found: list[Conversation] = []
        for split in splits:
            asked = [
                talk.context(number)
                for talk in read_conversations(options.out / f"{split}.jsonl")
                for number, turn in enumerate(talk.turns, start=1)
                if wanted(turn)
            ]
            found += random.Random(0).sample(asked, min(options.turns, len(asked)))
        return found

    print("| | answerable | marked unanswerable | about something else |\n|---|---|---|---|")
    for name, splits, others in COLLECTIONS:
        search = ConversationalSearch(model, Index.open(options.out / "index" / name))
        known = confidences(search, turns(splits, lambda turn: bool(turn.positives)))
        cells = [cell(known, options.thresholds)]
        for asked in (turns(splits, marked), turns(others, lambda turn: bool(turn.positives))):
            absent = confidences(search, asked)
            cells.append(cell(absent, options.thresholds, known) if asked else "")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def marked(turn: Turn) -> bool:
    """Whether a set says that a turn has no answer."""
    return turn.attributes.get("answerability") == UNANSWERABLE


def confidences(search: ConversationalSearch, contexts: Sequence[Conversation]) -> Scores:
    """What :class:`uniconv.search.AnswerStream` tells as ``confidence``, float64 [contexts]."""
    if not contexts:
        return np.zeros(0)
    embeddings = search.model.encode_conversations(contexts)
    found = (
        search.ranked(context, embedding, search.settings)[1]
        for context, embedding in zip(contexts, embeddings, strict=True)
    )
    return np.array([scores[0] if scores else -np.inf for scores in found])


def cell(scores: Scores, thresholds: Sequence[float], known: Scores | None = None) -> str:
    """Shares declined, how many turns, and the area under the curve beside ``known``."""
    text = ", ".join(f"{np.mean(scores < threshold):.2f}" for threshold in thresholds)
    text += f" of {len(scores):,}"
    return text if known is None else f"{text}; {area(known, scores):.3f}"


def area(known: Scores, absent: Scores) -> float:
    """The area under the receiver operating characteristic: ties count as half in order."""
    pairs = known[:, None] - absent[None]
    return float(np.mean((pairs > 0) + 0.5 * (pairs == 0)))


if __name__ == "__main__":
    main()
