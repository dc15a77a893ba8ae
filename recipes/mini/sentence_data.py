"""Stage 9, for a round that teaches sentences too: sentences as passages among their neighbours.

    python recipes/mini/sentence_data.py OUT DATA

Reads the mined sets of ``OUT/joint`` and writes ``OUT/joint/sentences``: the same conversations, in
which the sentence of a turn's passage that is nearest to the response is relevant, and the other
sentences of that passage and of two hard negatives are hard negatives. Quotations are chosen by
comparing sentences with conversations, which passages alone do not teach.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from joint_data import corpus_file

from uniconv.citations import quotable, without_marks
from uniconv.data.beir import read_corpus, write_corpus
from uniconv.data.conversations import read_conversations, write_conversations
from uniconv.sentences import shared_words
from uniconv.types import Conversation, Passage, Turn

SETS = ("questions", "topiocqa", "doc2dial", "mtrag-synthetic")
_NEAR = 0.3
"""What a sentence shares with a response, at least, to be relevant (``shared_words``)."""
_READ, _NEGATIVES = 2, 10  # hard negatives whose sentences are taken, and sentences in all


class Sentences:
    """Sentences as passages with their passage's title, each once."""

    def __init__(self) -> None:
        self.corpus: dict[tuple[str, str], Passage] = {}
        self._rng = random.Random(0)

    def turn(self, turn: Turn, passages: Mapping[str, Passage]) -> Turn:
        """The turn with sentences for passages; with none where no sentence is near."""
        bare = replace(turn, positives=(), negatives=())
        said = without_marks(turn.response or "")
        relevant = next((passages[id] for id in turn.positives if id in passages), None)
        if relevant is None:
            return bare
        read = [passages[id] for id in turn.negatives if id in passages]
        near = {
            (passage.title, text): shared_words(text, said)
            for passage in (relevant, *self._rng.sample(read, min(_READ, len(read))))
            for text in quotable(passage.text)
        }
        own = [(relevant.title, text) for text in quotable(relevant.text)]
        best = max(own, key=near.__getitem__, default=("", ""))
        if near.get(best, 0.0) < _NEAR:
            return bare
        others = [one for one in near if near[one] <= near[best] / 2]
        negatives = self._rng.sample(others, min(_NEGATIVES, len(others)))
        ids = tuple(self._id(*one) for one in negatives)
        return replace(bare, positives=(self._id(*best),), negatives=ids)

    def _id(self, title: str, text: str) -> str:
        new = Passage(f"s{len(self.corpus)}", text, title)
        return self.corpus.setdefault((title, text), new).id


def sentence_conversations(
    talks: Sequence[Conversation], passages: Mapping[str, Passage], found: Sentences, name: str
) -> list[Conversation]:
    """The conversations of a set that have a turn with a relevant sentence."""
    with_sentences = [
        Conversation(f"{name}-{talk.id}", tuple(found.turn(turn, passages) for turn in talk.turns))
        for talk in talks
    ]
    return [talk for talk in with_sentences if any(turn.positives for turn in talk.turns)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="of the earlier stages")
    parser.add_argument("data", type=Path, help="native files, a folder for each set")
    args = parser.parse_args()
    folder, found = args.out / "joint", Sentences()
    kept: list[Conversation] = []
    for name in SETS:
        talks = list(read_conversations(folder / name / "mined2.jsonl"))
        named = {
            id for talk in talks for turn in talk.turns for id in turn.positives + turn.negatives
        }
        place = corpus_file(name, args.out, args.data)
        passages = {one.id: one for one in read_corpus(place) if one.id in named}
        own = sentence_conversations(talks, passages, found, name)
        turns = sum(bool(turn.positives) for talk in own for turn in talk.turns)
        print(f"{name}: {turns:,} turns of {len(own):,} conversations")
        kept += own
    write_conversations(folder / "sentences/train.jsonl", kept)
    write_corpus(folder / "sentences/corpus.jsonl", found.corpus.values())
    print(f"{len(found.corpus):,} sentences")


if __name__ == "__main__":
    main()
