"""Stage 6: the examples as conversations and a corpus, for joint training with ``uniconv train``.

    python recipes/mini/joint_data.py OUT TOPIOCQA

``TOPIOCQA`` is the folder that ``uniconv data convert topiocqa`` wrote. Writes to ``OUT/joint``:
``answers.jsonl`` and ``answers_dev.jsonl``, whose last response is the sentence that answers, with
``corpus.jsonl``; and ``dialogues.jsonl``, TopiOCQA's training conversations without held-out ones.
"""

from __future__ import annotations

import random
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from text import held_out, read_lines, sentences

from uniconv.data.beir import write_corpus
from uniconv.data.conversations import read_conversations, write_conversations
from uniconv.types import Conversation, Passage, Turn


def conversation(turns: Sequence[str]) -> Conversation:
    """Alternating questions and responses that end with a question."""
    pairs = zip(turns[:-1:2], turns[1::2], strict=True)
    return Conversation("c", (*(Turn(q, r) for q, r in pairs), Turn(turns[-1])))


def window(text: str, answer: str, rng: random.Random, most: int) -> str:
    """Up to ``most`` sentences of ``text`` around the one that begins ``answer``."""
    said = sentences(text)
    at = next((i for i, s in enumerate(said) if s.startswith(answer[:40]) or answer in s), None)
    if at is None:
        return text[:700]
    first = max(0, at - rng.randrange(most))
    return " ".join(said[first : max(at + 1, first + most)])


def main(out: Path, topiocqa: Path) -> None:
    """Writes the files of this stage to ``out/joint``."""
    corpus: dict[tuple[str, str], Passage] = {}
    for name, target in (("examples", "answers"), ("held_out", "answers_dev")):
        conversations = list(_answers(read_lines(out / f"{name}.jsonl"), corpus, target))
        write_conversations(out / f"joint/{target}.jsonl", conversations)
        print(f"{target}: {len(conversations)} questions")
    write_corpus(out / "joint/corpus.jsonl", corpus.values())
    kept = [
        one
        for one in read_conversations(topiocqa / "train.jsonl")
        if not held_out(f"topiocqa{one.id.rsplit('_', 1)[-1]}")
    ]
    write_conversations(out / "joint/dialogues.jsonl", kept)
    print(f"dialogues: {len(kept)}; {len(corpus)} passages")


def _answers(
    rows: Iterable[dict[str, Any]], corpus: dict[tuple[str, str], Passage], name: str
) -> Iterable[Conversation]:
    """Conversations whose last turn has the answering sentence, its passage and near ones."""
    rng = random.Random(0)
    chosen: list[tuple[dict[str, Any], str]] = []
    near = defaultdict(list)
    for row in rows:
        if row["answer"] and row["answer"] in row["text"]:
            text = window(row["text"], row["answer"], rng, 6)
            key = (row["title"], text)
            id = corpus.setdefault(key, Passage(f"p{len(corpus)}", text, row["title"])).id
            chosen.append((row, id))
            near[row["title"]].append(id)
            near[row["source"]].append(id)
    for number, (row, id) in enumerate(chosen):
        others = [*rng.sample(near[row["title"]], min(4, len(near[row["title"]])))]
        others += rng.sample(near[row["source"]], min(4, len(near[row["source"]])))
        negatives = tuple(dict.fromkeys(other for other in others if other != id))[:4]
        turn = Turn(row["turns"][-1], row["answer"], positives=(id,), negatives=negatives)
        before = conversation(row["turns"]).turns[:-1]
        yield Conversation(f"{name}{number}", (*before, turn))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
