"""Data for the recipe: training turns with mined negatives, and held-out ones with a small corpus.

    python recipes/distil-minilm/prepare.py TOPIOCQA CORPUS OUT

``TOPIOCQA`` is the folder that ``uniconv data convert topiocqa`` wrote, ``CORPUS`` its corpus.
Writes ``OUT/train.jsonl`` and ``OUT/held-out.jsonl``, both of its training conversations, and
``OUT/corpus.jsonl``: the passages of the held-out turns, their mined negatives, and ``--others``
random ones. TopiOCQA dev is not read.
"""

from __future__ import annotations

import argparse
import hashlib
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from uniconv.config import MiningConfig
from uniconv.data.beir import read_corpus, write_corpus
from uniconv.data.conversations import read_conversations, write_conversations
from uniconv.retrieval.mining import mine
from uniconv.types import Conversation, Passage


def held_out(conversation: Conversation, share: float = 0.02) -> bool:
    """The rule of the embedded model's own recipe: it never saw these conversations either."""
    group = f"topiocqa{conversation.id.rsplit('_', 1)[-1]}"
    return int(hashlib.sha256(group.encode()).hexdigest()[:8], 16) < share * 2**32


def sample(
    conversations: Sequence[Conversation], turns: int, rng: random.Random
) -> list[Conversation]:
    """Conversations by chance until they have so many turns with positives."""
    chosen: list[Conversation] = []
    for one in rng.sample(conversations, len(conversations)):
        if turns <= 0:
            break
        chosen.append(one)
        turns -= with_positives(one)
    return chosen


def with_positives(conversation: Conversation) -> int:
    return sum(bool(turn.positives) for turn in conversation.turns)


def with_negatives(conversation: Conversation, most: int) -> Conversation:
    """With the best negatives alone: the teacher reads every one that a turn names."""
    turns = (replace(turn, negatives=turn.negatives[:most]) for turn in conversation.turns)
    return Conversation(conversation.id, tuple(turns))


def small_corpus(
    passages: Sequence[Passage], kept: Sequence[Conversation], others: int, rng: random.Random
) -> list[Passage]:
    """The passages that conversations name, and others by chance."""
    turns = [turn for one in kept for turn in one.turns]
    named = {id for turn in turns for id in (*turn.positives, *turn.negatives)}
    rest = [passage for passage in passages if passage.id not in named]
    return [p for p in passages if p.id in named] + rng.sample(rest, min(others, len(rest)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("topiocqa", type=Path)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--turns", type=int, default=2500)
    parser.add_argument("--negatives", type=int, default=2)
    parser.add_argument("--others", type=int, default=500)
    args = parser.parse_args()
    rng = random.Random(0)
    talks = [
        one for one in read_conversations(args.topiocqa / "train.jsonl") if with_positives(one)
    ]
    train = sample([one for one in talks if not held_out(one)], args.turns, rng)
    dev = [one for one in talks if held_out(one)]
    raw, mined = args.out / "all.jsonl", args.out / "all-mined.jsonl"
    write_conversations(raw, [*train, *dev])
    if not mined.exists():
        mine(MiningConfig(conversations=raw, corpus=args.corpus, out=mined))
    by_id = {one.id: one for one in read_conversations(mined)}
    train = [by_id[one.id] for one in train]
    dev = [by_id[one.id] for one in dev]
    few = [with_negatives(one, args.negatives) for one in train]
    write_conversations(args.out / "train.jsonl", few)
    passages = list(read_corpus(args.corpus))
    write_corpus(args.out / "corpus.jsonl", small_corpus(passages, dev, args.others, rng))
    write_conversations(args.out / "held-out.jsonl", [with_negatives(one, 0) for one in dev])
    for name, part in (("train", train), ("held-out", dev)):
        print(f"{name}: {len(part)} conversations, {sum(map(with_positives, part))} turns")


if __name__ == "__main__":
    main()
