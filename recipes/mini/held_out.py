"""Stage 10: what models find and say of that part of joint training's sets that no stage read.

    python recipes/mini/held_out.py OUT DATA MODEL [MODEL ...]

Each question, with what was said before, against the relevant passages of all of them and 1,000
others of each set, by BM25 and by each model. Then each model's responses, as search would have
them: it reads the best three passages that it finds there, with a relevant one in the last's place
where none is among them. ``extractive`` is the sentence of the first that shares most words with
the question. The sets are small, and their passages few: this is for comparing models with each
other, and no substitute for the benchmarks. ``--collection FILE`` keeps the passages, for ``uniconv
calibrate``.
"""

from __future__ import annotations

import argparse
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from joint_data import corpus_file
from rich.progress import track

from uniconv.citations import without_marks
from uniconv.data.beir import read_corpus, write_corpus
from uniconv.data.conversations import read_conversations
from uniconv.evaluation.generators import ExtractiveGenerator, ModelGenerator
from uniconv.evaluation.grounding import citation_metrics
from uniconv.evaluation.response_metrics import normalise, token_f1
from uniconv.model import UniConv
from uniconv.retrieval.bm25 import BM25, passage_text
from uniconv.retrieval.queries import history_text
from uniconv.types import Conversation, Passage

SETS = ("questions", "topiocqa", "doc2dial", "dstc11")
_QUESTIONS, _RESPONSES, _OTHERS = 300, 40, 1000  # at most, of each set


@dataclass(frozen=True, slots=True)
class Asked:
    """A held-out turn."""

    source: str
    context: Conversation
    response: str
    positives: frozenset[str]


def turns(folder: Path) -> list[Asked]:
    """Turns that have a relevant passage, by chance where they are many."""
    found = []
    for name in SETS:
        own = [
            Asked(name, talk.context(number), turn.response or "", frozenset(turn.positives))
            for talk in read_conversations(folder / "joint" / name / "dev.jsonl")
            for number, turn in enumerate(talk.turns, start=1)
            if turn.positives
        ]
        found += random.Random(0).sample(own, min(_QUESTIONS, len(own)))
    return found


def passages(asked: Sequence[Asked], places: Iterable[Path]) -> list[Passage]:
    """The relevant passages of all turns, and others of each corpus by chance."""
    relevant = {id for turn in asked for id in turn.positives}
    kept: dict[str, Passage] = {}
    for place in places:
        own = list(read_corpus(place))
        others = random.Random(0).sample(own, min(_OTHERS, len(own)))
        kept |= {one.id: one for one in own if one.id in relevant}
        kept |= {one.id: one for one in others}
    return list(kept.values())


def by_words(asked: Sequence[Asked], corpus: Sequence[Passage]) -> np.ndarray:
    """BM25's scores for all that was said, float32 [turns, passages]."""
    with TemporaryDirectory() as folder:
        index = BM25.build(map(passage_text, corpus), Path(folder))
        rows = range(len(corpus))
        return np.stack([index.scores(history_text(turn.context), rows) for turn in asked])


def ranks(
    asked: Sequence[Asked], ids: Sequence[str], scores: np.ndarray
) -> Mapping[str, list[int]]:
    """The rank of the first relevant passage of every turn, by set."""
    found = defaultdict(list)
    for turn, row in zip(asked, scores, strict=True):
        best = max(score for id, score in zip(ids, row, strict=True) if id in turn.positives)
        found[turn.source].append(1 + int((row > best).sum()))
    return found


def responses(
    model: UniConv, asked: Sequence[Asked], corpus: Sequence[Passage], scores: np.ndarray
) -> Mapping[str, list[dict[str, float]]]:
    """Measures of the responses to the first turns of each set."""
    found: dict[str, list[dict[str, float]]] = defaultdict(list)
    by_id = {one.id: one for one in corpus}
    generator, extractive = ModelGenerator(model, 96), ExtractiveGenerator()
    for turn, row in track(list(zip(asked, scores, strict=True)), description="responses"):
        if not turn.response or len(found[turn.source]) == _RESPONSES:
            continue
        read = [corpus[place] for place in np.argsort(-row)[:3]]
        if not turn.positives & {one.id for one in read}:
            read[-1] = by_id[min(turn.positives & by_id.keys())]
        said = generator.respond(turn.context, read).text
        copied = without_marks(extractive.respond(turn.context, read).text)
        plain, reference = without_marks(said), without_marks(turn.response)
        everything = " ".join(normalise(one.text) for one in read)
        found[turn.source].append(
            {
                "f1": token_f1(plain, reference),
                "extractive": token_f1(copied, reference),
                "copied": float(normalise(plain) in everything),
                **citation_metrics(said, read, turn.positives),
            }
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--collection", type=Path, help="a file for the passages")
    arguments = parser.parse_args()
    asked = turns(arguments.out)
    places = [corpus_file(name, arguments.out, arguments.data) for name in SETS]
    corpus = passages(asked, places)
    if arguments.collection:
        write_corpus(arguments.collection, corpus)
    ids = [one.id for one in corpus]
    known = set(ids)
    asked = [turn for turn in asked if turn.positives & known]
    print(f"{len(asked)} turns, {len(corpus):,} passages: R@1, R@10")
    _print_ranks("BM25, history", ranks(asked, ids, by_words(asked, corpus)))
    for name in arguments.models:
        model = UniConv.from_pretrained(name, device="cpu")
        vectors = model.encode_passages(corpus)
        scores = model.encode_conversations([turn.context for turn in asked]) @ vectors.T
        _print_ranks(name, ranks(asked, ids, scores))
        for source, measured in responses(model, asked, corpus, scores).items():
            names = sorted({name for one in measured for name in one})
            means = {
                name: np.mean([one[name] for one in measured if name in one]) for name in names
            }
            cells = "  ".join(f"{name} {mean:.3f}" for name, mean in means.items())
            print(f"  {source} ({len(measured)}): {cells}", flush=True)


def _print_ranks(name: str, found: Mapping[str, list[int]]) -> None:
    cells = []
    for source, own in found.items():
        first, ten = (np.mean(np.array(own) <= depth) for depth in (1, 10))
        cells.append(f"{source} ({len(own)}) {first:.3f} {ten:.3f}")
    print(f"{name}: {'  '.join(cells)}", flush=True)


if __name__ == "__main__":
    main()
