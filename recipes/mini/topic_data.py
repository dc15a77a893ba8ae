"""Stage 9, for a round that teaches what is asked now: conversations that leave a topic.

    python recipes/mini/topic_data.py OUT

Reads the sets of ``OUT/joint`` and writes two, in which what was said before is what misleads.
``topics`` joins conversations of single questions, neighbours in the alphabet, to some of two or
three topics; the passages of their other turns are hard negatives. ``answers`` has the
conversations of QReCC, whose passages are not at hand, with responses for passages: its own is
relevant to a turn, and the others of the conversation are hard negatives.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from uniconv.data.beir import read_corpus, write_corpus
from uniconv.data.conversations import read_conversations, write_conversations
from uniconv.types import Conversation, Passage, Turn

_NEIGHBOURS = 300  # conversations on pages of similar names, of which some are joined
_NEGATIVES = 4  # that a turn gets from its own conversation
_SHORTEST = 5  # words of a response that says by itself what it answers


def joined(talks: Sequence[Conversation]) -> Iterator[Conversation]:
    """Conversations of two topics; of three where two have but two turns, and by chance."""
    rng = random.Random(0)
    for first in range(0, len(talks), _NEIGHBOURS):
        near = talks[first : first + _NEIGHBOURS]
        left = rng.sample(near, len(near))
        while len(left) > 1:
            parts = [left.pop(), left.pop()]
            if left and (sum(len(one.turns) for one in parts) < 3 or rng.random() < 0.5):
                parts.append(left.pop())
            turns = tuple(chain.from_iterable(one.turns for one in parts))
            yield Conversation("+".join(one.id for one in parts), turns)


def misled(talk: Conversation, passages: Mapping[str, Passage]) -> Conversation:
    """The conversation with passages of other turns, in which the response isn't, as negatives."""
    rng = random.Random(talk.id)

    def negatives(turn: Turn) -> tuple[str, ...]:
        others = {id for other in talk.turns for id in other.positives} - set(turn.positives)
        wrong = [id for id in sorted(others) if (turn.response or "") not in passages[id].text]
        return tuple(rng.sample(wrong, min(_NEGATIVES, len(wrong)))) if turn.positives else ()

    turns = tuple(replace(turn, negatives=negatives(turn)) for turn in talk.turns)
    return Conversation(talk.id, turns)


def answered(talk: Conversation, corpus: dict[str, Passage]) -> Conversation:
    """The conversation with responses for passages, of which ``corpus`` has each text once."""

    def relevant(text: str) -> tuple[str, ...]:
        if len(text.split()) < _SHORTEST:
            return ()
        return (corpus.setdefault(text, Passage(f"a{len(corpus)}", text)).id,)

    turns = (replace(turn, positives=relevant(turn.response or "")) for turn in talk.turns)
    return Conversation(f"answers-{talk.id}", tuple(turns))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="of the earlier stages")
    folder = parser.parse_args().out / "joint"
    topics = list(joined(list(read_conversations(folder / "questions/train.jsonl"))))
    random.Random(0).shuffle(topics)
    _write(folder / "topics", topics, list(read_corpus(folder / "questions/corpus.jsonl")))
    corpus: dict[str, Passage] = {}
    answers = [answered(one, corpus) for one in read_conversations(folder / "qrecc/train.jsonl")]
    _write(folder / "answers", answers, list(corpus.values()))
    write_corpus(folder / "answers/corpus.jsonl", corpus.values())


def _write(folder: Path, talks: Sequence[Conversation], corpus: Sequence[Passage]) -> None:
    passages = {one.id: one for one in corpus}
    write_conversations(folder / "train.jsonl", [misled(one, passages) for one in talks])
    turns = sum(bool(turn.positives) for talk in talks for turn in talk.turns)
    print(f"{folder.name}: {len(talks):,} conversations, {turns:,} turns with a passage")


if __name__ == "__main__":
    main()
