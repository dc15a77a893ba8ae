"""What the models of a study are measured on: conversations and passages, all or a drawn part."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from uniconv.config import Judging
from uniconv.config.strict import unstructure
from uniconv.data.beir import read_corpus, write_corpus
from uniconv.data.conversations import read_conversations, write_conversations
from uniconv.data.dataset import positives_of
from uniconv.data.lines import read_object
from uniconv.errors import ConfigError, DataError
from uniconv.files import checksums, write_json
from uniconv.types import Conversation, Passage


@dataclass(frozen=True, slots=True)
class Material:
    """Files of conversations and of the passages that are searched."""

    conversations: Path
    corpora: tuple[Path, ...]


def prepare(judging: Judging, folder: Path) -> Material:
    """The material, of which drawn parts are written into ``folder``, once.

    Raises:
        ConfigError: ``folder`` holds the material of other settings or inputs.
        DataError: a line is malformed, or a turn's positive is in no corpus.
    """
    inputs = checksums(
        conversations=judging.conversations,
        references=judging.references,
        **{f"corpus {number}": path for number, path in enumerate(judging.corpora)},
    )
    sums = {name: one["sha256"] for name, one in inputs.items()}
    about = {"settings": unstructure(judging), "inputs": sums}
    record = folder / "settings.json"
    if record.exists() and read_object(record).fields != about:
        raise ConfigError(
            f"{folder}: the study's models were measured with other settings or other data; "
            "restore them or name another output folder"
        )
    material = Material(
        judging.conversations if judging.turns is None else folder / "conversations.jsonl",
        judging.corpora if judging.distractors is None else (folder / "corpus.jsonl",),
    )
    if not record.exists():
        if judging.turns is not None:
            talks = draw_conversations(judging.conversations, judging.turns, judging.seed)
            write_conversations(material.conversations, talks)
        if judging.distractors is not None:
            reduce_corpus(
                [material.conversations],
                judging.corpora,
                material.corpora[0],
                distractors=judging.distractors,
                seed=judging.seed,
            )
        write_json(record, about)  # last: without it nothing is whole
    return material


def draw_conversations(path: Path, turns: int, seed: int) -> list[Conversation]:
    """Conversations with at least ``turns`` turns with positives between them, or all there are.

    Whole conversations are drawn, and given in the order of the file.
    """
    talks = list(read_conversations(path))
    order = list(range(len(talks)))
    random.Random(f"{seed}/conversations").shuffle(order)
    kept, found = [], 0
    for place in order:
        judged = sum(bool(turn.positives) for turn in talks[place].turns)
        if found < turns and judged:
            kept.append(place)
            found += judged
    return [talks[place] for place in sorted(kept)]


def reduce_corpus(
    conversations: Sequence[Path],
    corpora: Sequence[Path],
    out: Path,
    *,
    distractors: int,
    seed: int,
) -> int:
    """Writes the positives of conversations and ``distractors`` other passages, drawn at random.

    Memory holds what is written.

    Returns:
        The number of passages.

    Raises:
        DataError: a positive is in no corpus.
    """
    wanted = {
        id for path in conversations for one in read_conversations(path) for id in positives_of(one)
    }
    passages = (passage for corpus in corpora for passage in read_corpus(corpus))
    kept = list(_sample(passages, wanted, distractors, random.Random(f"{seed}/passages")))
    missing = sorted(wanted - {passage.id for passage in kept})
    if missing:
        problem = f"{len(missing)} positives, such as '{missing[0]}', are in no corpus"
        raise DataError(conversations[0], None, problem)
    return write_corpus(out, kept)


def _sample(
    passages: Iterable[Passage], wanted: set[str], others: int, rng: random.Random
) -> Iterator[Passage]:
    """The wanted passages and ``others`` at random, in their order."""
    kept: list[tuple[int, Passage]] = []
    drawn: list[tuple[float, int, Passage]] = []  # the largest of random keys
    for number, passage in enumerate(passages):
        if passage.id in wanted:
            kept.append((number, passage))
        elif others:
            entry = (rng.random(), number, passage)
            if len(drawn) < others:
                heapq.heappush(drawn, entry)
            else:
                heapq.heappushpop(drawn, entry)
    kept += [(number, passage) for _, number, passage in drawn]
    return (passage for _, passage in sorted(kept, key=lambda one: one[0]))
