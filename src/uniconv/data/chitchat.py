"""Chats about something to read: CMU DoG (films), Topical-Chat and WoW++ (Wikipedia topics).

- CMU DoG: ``conversations.jsonl``, a dialogue a line. The user is the speaker who has not seen the
  article or, where both have, who speaks first. Dialogues that the release has in two splits are
  left out of ``train``.
- Topical-Chat: those of ``{train,valid_freq,valid_rare,test_freq,test_rare}.json`` that are there,
  in ``conversations/`` or as ``conversations_<split>.json``. The user is who speaks first.
- WoW++: those of ``full_{train,test_random,test_topic}_augmented_wow.json`` that are there.
  Dialogues end in a question without a response; its positives are the sentences that annotators
  found relevant, its negatives those that they did not, and both are the passages.

CMU DoG and Topical-Chat tell what the speakers could read, not what a response needs, so they have
no passages and teach responses only. What is said before the user speaks is left out.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from uniconv.data.dataset import DataSet, dialogue, find, find_any
from uniconv.data.lines import read_jsonl, read_object
from uniconv.data.records import Record
from uniconv.types import Conversation, Passage

_SEPARATOR = "<knowledge_separator>"
_TOPICAL = ("train", "valid_freq", "valid_rare", "test_freq", "test_rare")
_WOW = {"train": "train", "random": "test_random", "topic": "test_topic"}
"""Splits of WoW++ and what their files are called."""


def read_cmu_dog(source: Path, corpus: Path | None = None) -> DataSet:
    """CMU DoG with its splits ``train``, ``valid`` and ``test``."""
    del corpus  # it has no passages
    path = find(source, "conversations.jsonl")
    splits: dict[str, dict[str, Conversation]] = {"train": {}, "valid": {}, "test": {}}
    counts: Counter[str] = Counter()

    def parse(record: Record) -> None:
        split = record.text("split")
        if split not in splits:
            raise record.error("split", f"is '{split}'; expected {', '.join(splits)}")
        id = record.identifier("id")
        if id in splits[split]:
            raise record.error("id", f"'{id}' is used twice in {split}")
        said = list(_cmu_dog(record))
        first = said[0][0] if said else ""
        seen = record.texts("who")
        user = first if len(seen) != 1 else next((who for who, _ in said if who != seen[0]), "")
        turns = dialogue((who == user, text) for who, text in said)
        counts["left out, dialogues without a turn of the user"] += not turns
        if turns:
            splits[split][id] = Conversation(id, tuple(turns))

    for _ in read_jsonl(path, parse):
        pass
    train = splits["train"]
    shared = train.keys() & (splits["valid"].keys() | splits["test"].keys())
    splits["train"] = {id: one for id, one in train.items() if id not in shared}
    counts["left out of train, dialogues that are in another split"] = len(shared)
    kept = {split: list(talks.values()) for split, talks in splits.items()}
    return DataSet(kept, (path,), counts=counts)


def _cmu_dog(record: Record) -> Iterator[tuple[str, str]]:
    for number, item in enumerate(record.list("history")):
        match item:
            case [str(who), int(), str(text)]:
                yield who, text
            case _:
                problem = "is not a speaker, the number of a section and a text"
                raise record.error(f"history[{number}]", problem)


def read_topical_chat(source: Path, corpus: Path | None = None) -> DataSet:
    """Topical-Chat, as many of its splits as there are."""
    del corpus  # it has no passages
    splits: dict[str, list[Conversation]] = {}
    sources = []
    empty = 0
    places = {
        split: (f"conversations/{split}.json", f"conversations_{split}.json") for split in _TOPICAL
    }
    for split, names in places.items():
        path = find_any(source, *names)
        if path is None:
            continue
        sources.append(path)
        talks = [_topical(id, record) for id, record in read_object(path).items()]
        splits[split] = [one for one in talks if one]
        empty += talks.count(None)
    if not splits:
        find(source, *(names[0] for names in places.values()))
    return DataSet(splits, sources, counts={"left out, dialogues without words": empty})


def _topical(id: str, record: Record) -> Conversation | None:
    said = [(one.text("agent"), one.text("message")) for one in record.records("content")]
    turns = dialogue((who == said[0][0], text) for who, text in said)
    return Conversation(id, tuple(turns)) if turns else None


def read_wowpp(source: Path, corpus: Path | None = None) -> DataSet:
    """WoW++, as many of its splits as there are."""
    del corpus  # the sentences are its own
    names = {split: f"full_{name}_augmented_wow.json" for split, name in _WOW.items()}
    splits: dict[str, list[Conversation]] = {}
    sources: list[Path] = []
    passages: dict[str, Passage] = {}
    for split, name in names.items():
        path = find_any(source, name, f"wow++/{name}")
        if path is not None:
            sources.append(path)
            splits[split] = [_wowpp(id, one, passages) for id, one in read_object(path).items()]
    if not splits:
        find(source, *names.values())
    return DataSet(splits, sources, list(passages.values()))


def _wowpp(id: str, record: Record, passages: dict[str, Passage]) -> Conversation:
    """A dialogue; its sentences are added to ``passages``."""
    speaker = record.text("start_speaker")
    if speaker not in ("Human", "Assistant"):
        raise record.error("start_speaker", "is neither Human nor Assistant")
    first = speaker == "Human"
    turns = dialogue((first == (n % 2 == 0), text) for n, text in enumerate(record.texts("turns")))
    if not turns or turns[-1].response is not None:
        raise record.error("turns", "does not end with what the human says")
    judged: dict[str, bool] = {}
    for sentence in record.records("annotated_sentences"):
        relevance = sentence.text("relevance")
        if relevance not in ("relevant", "notRelevant"):
            raise sentence.error("relevance", "is neither relevant nor notRelevant")
        title, _, text = sentence.spoken("label").rpartition(_SEPARATOR)
        passage = _sentence(title.strip(), text.strip())
        passages.setdefault(passage.id, passage)
        judged[passage.id] = judged.get(passage.id, False) or relevance == "relevant"
    turns[-1] = replace(
        turns[-1],
        positives=tuple(id for id, relevant in judged.items() if relevant),
        negatives=tuple(id for id, relevant in judged.items() if not relevant),
        attributes={"topic": record.text("topic")},
    )
    return Conversation(id, tuple(turns))


def _sentence(title: str, text: str) -> Passage:
    """Sentences have no ids of their own; theirs are of what they say."""
    digest = hashlib.sha256(f"{title}\n{text}".encode()).hexdigest()[:16]
    return Passage(f"wowpp:{digest}", text, title)
