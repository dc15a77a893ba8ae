"""Stage 8: what joint training reads: conversations of people, and of single questions.

    python recipes/mini/joint_data.py OUT DATA [--commercial]

Writes a folder for each set to ``OUT/joint``, with ``train.jsonl``, ``dev.jsonl`` and the passages.
``questions`` has the question sets: several questions on one page become a conversation in which
later ones refer to what was said, and whose responses are the sentences that answer, to be copied
and cited. The others have conversations as they were held. What earlier stages held out (a page, a
document, a conversation) is in ``dev`` and in no ``train``; sets for evaluation are not read.
"""

from __future__ import annotations

import argparse
import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sources import WIKI
from text import STOP_WORDS, held_out, read_lines, sentences

from uniconv.data.beir import write_corpus
from uniconv.data.catalogue import convert
from uniconv.data.conversations import read_conversations, write_conversations
from uniconv.types import Conversation, Passage, Turn

ASKED = frozenset({"squad", "qed", "clapnq", "medquad", "docstrings"})
"""Sources of single questions with the sentence that answers."""
_LONGEST = 5  # turns of a conversation that is made of questions


@dataclass(frozen=True, slots=True)
class Talks:
    """A set of conversations: the folder of its native files, the split that may be learned from,
    and the group that a conversation is held out with, as in ``sources.py``."""

    folder: str
    split: str
    group: Callable[[Conversation], str]
    shared: bool = False  # whether its passages are those of the wiki corpus
    commercial: bool = True


def _number(conversation: Conversation) -> int:
    return int(conversation.id.rsplit("_", 1)[-1])


def _document(conversation: Conversation) -> str:
    positives = [id for turn in conversation.turns for id in turn.positives]
    return positives[0].removeprefix("doc2dial:").rpartition(":")[0] if positives else ""


TALKS = {
    "topiocqa": Talks(
        "topiocqa", "train", lambda c: f"topiocqa{_number(c)}", shared=True, commercial=False
    ),
    "doc2dial": Talks("doc2dial", "val", _document),
    "dstc10": Talks("dstc", "val", lambda c: f"dstc10{_number(c) // 20}"),
    "dstc11": Talks("dstc", "val", lambda c: f"dstc11{_number(c) // 20}"),
    "mtrag-synthetic": Talks("mtrag", "train", lambda c: c.id),
    "qrecc": Talks("qrecc", "train", lambda c: f"qrecc {c.turns[0].query}"),
}


def corpus_file(name: str, out: Path, data: Path) -> Path:
    """Where the passages of a set are: those of ``questions``, or of one of ``TALKS``."""
    if name == "questions":
        return out / "joint/questions/corpus.jsonl"
    shared = TALKS[name].shared
    return data / WIKI if shared else out / f"joint/sets/{name}/corpus.jsonl"


def split_talks(name: str, data: Path, out: Path) -> tuple[int, int]:
    """Converts a set and cuts its conversations in two; gives how many are in each part."""
    talks = TALKS[name]
    wiki = data / WIKI
    folder = out / "sets" / name
    if not (folder / "dataset.json").exists():
        convert(name, data / talks.folder, folder, wiki if talks.shared else None)
    parts: dict[bool, list[Conversation]] = {False: [], True: []}
    for one in read_conversations(folder / f"{talks.split}.jsonl"):
        parts[held_out(talks.group(one))].append(one)
    for held, file in ((False, "train"), (True, "dev")):
        write_conversations(out / name / f"{file}.jsonl", parts[held])
    return len(parts[False]), len(parts[True])


# Questions


def window(text: str, answer: str, rng: random.Random, most: int) -> str:
    """Up to ``most`` sentences of ``text`` around the one that begins ``answer``."""
    said = sentences(text)
    at = next((i for i, s in enumerate(said) if s.startswith(answer[:40]) or answer in s), None)
    if at is None:
        return text[:700]
    first = max(0, at - rng.randrange(most))
    return " ".join(said[first : max(at + 1, first + most)])


_PRONOUNS = (("it", "it", "its"), ("he", "him", "his"), ("she", "her", "her"))
_BEFORE_OBJECTS = frozenset(
    ["of", "in", "at", "by", "for", "from", "to", "with", "about", "on", "against", "into", "near"]
)
_BEFORE_SUBJECTS = frozenset(
    ["is", "was", "are", "were", "did", "does", "do", "has", "have", "had", "can", "could", "will"]
)


def refer(question: str, name: str, text: str) -> str:
    """The question with a pronoun for ``name``, where it is named: the one that ``text`` uses.

    A name that is a part of a longer one ("oxygen production") stays.
    """
    said = re.findall(r"\w+", text.lower())
    subject, object, possessive = max(
        _PRONOUNS, key=lambda forms: said.count(forms[0]) + said.count(forms[2])
    )

    def pronoun(found: re.Match[str]) -> str:
        before = question[: found.start()].lower().split()
        after = re.match(r" (\w+)", question[found.end() :])
        next_word = after[1] if after else ""
        ends = not next_word or next_word in STOP_WORDS
        if found[1] and before:
            return possessive
        if before and before[-1] in _BEFORE_SUBJECTS and (ends or next_word.islower()):
            return subject
        if before and before[-1] in _BEFORE_OBJECTS and ends:
            return object
        return subject.capitalize() if not before and ends else found[0]

    bare = re.escape(re.sub(r" \(.*\)$", "", name))
    return re.sub(rf"\b(?:the )?{bare}\b('s)?", pronoun, question, flags=re.IGNORECASE)


class Questions:
    """The examples of single questions as conversations, with their passages."""

    def __init__(self) -> None:
        self.corpus: dict[tuple[str, str], Passage] = {}
        self._rng = random.Random(0)

    def conversations(self, rows: Iterable[dict[str, Any]], name: str) -> Iterator[Conversation]:
        """Those of one part, by pages in a fixed order."""
        pages: dict[tuple[str, str], list[tuple[dict[str, Any], str]]] = defaultdict(list)
        near: dict[str, list[str]] = defaultdict(list)
        for row in rows:
            if row["source"] in ASKED and row["answer"] and row["answer"] in row["text"]:
                text = window(row["text"], row["answer"], self._rng, 6)
                new = Passage(f"p{len(self.corpus)}", text, row["title"])
                id = self.corpus.setdefault((row["title"], text), new).id
                pages[(row["source"], _page(row))].append((row, id))
                near[row["source"]].append(id)
        number = 0
        for (source, _), asked in sorted(pages.items(), key=lambda page: page[0]):
            self._rng.shuffle(asked)
            while asked:
                count = self._rng.randint(1, _LONGEST)
                turns = list(self._turns(asked[:count], [id for _, id in asked], near[source]))
                del asked[:count]
                yield Conversation(f"{name}{number}", tuple(turns))
                number += 1

    def _turns(
        self, asked: Sequence[tuple[dict[str, Any], str]], page: Sequence[str], near: Sequence[str]
    ) -> Iterator[Turn]:
        before = None
        for row, id in asked:
            query = row["turns"][-1]
            if before is not None and before["title"] == row["title"]:
                query = refer(query, row["title"], row["text"])
            elif before is not None and row["source"] == "docstrings" and self._rng.random() < 0.4:
                query = f"And {row['title'].rsplit('.', 1)[-1]}?"
            others = self._rng.sample(page, min(4, len(page)))
            others += self._rng.sample(near, min(4, len(near)))
            negatives = tuple(dict.fromkeys(other for other in others if other != id))[:4]
            yield Turn(query, row["answer"], positives=(id,), negatives=negatives)
            before = row


def _page(row: dict[str, Any]) -> str:
    """What a conversation is about: a page, or a module."""
    title: str = row["title"]
    return title.rpartition(".")[0] if row["source"] == "docstrings" else title


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="of the earlier stages")
    parser.add_argument("data", type=Path, help="native files, a folder for each set")
    parser.add_argument("--commercial", action="store_true", help="leave out what may not be sold")
    args = parser.parse_args()
    folder = args.out / "joint"
    questions = Questions()
    for file, part in (("examples", "train"), ("held_out", "dev")):
        talks = list(questions.conversations(read_lines(args.out / f"{file}.jsonl"), part))
        write_conversations(folder / f"questions/{part}.jsonl", talks)
        turns = sum(len(one.turns) for one in talks)
        print(f"questions, {part}: {len(talks):,} conversations of {turns:,} turns")
    write_corpus(folder / "questions/corpus.jsonl", questions.corpus.values())
    for name, talks_of in TALKS.items():
        if (args.data / talks_of.folder).is_dir() and (talks_of.commercial or not args.commercial):
            train, dev = split_talks(name, args.data, folder)
            print(f"{name}: {train:,} conversations to learn from, {dev:,} held out")


if __name__ == "__main__":
    main()
