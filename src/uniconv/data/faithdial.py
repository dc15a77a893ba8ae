"""FaithDial: Wizard of Wikipedia dialogues whose responses were edited to be faithful.

Reads ``train.json``, ``valid.json`` and ``test.json`` (in the folder or in ``data``): lists of
dialogues whose ``utterances`` are the wizard's, each with the ``history`` that ends in the
seeker's words, the ``knowledge`` and the ``response``. The knowledge becomes the passage; the same
knowledge is the same passage. The labels ``BEGIN`` and ``VRM`` (of the response before it was
edited) become the attributes ``begin`` and ``vrm``, in lower case, joined by commas.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from uniconv.data.dataset import DataSet, find, find_any
from uniconv.data.lines import read_objects
from uniconv.data.records import Record
from uniconv.types import Conversation, Passage, Turn

SPLITS = ("train", "valid", "test")


def read(source: Path, corpus: Path | None = None) -> DataSet:
    """The splits that are there, with all knowledge as passages."""
    del corpus  # the knowledge is its own
    splits: dict[str, list[Conversation]] = {}
    sources = []
    counts: Counter[str] = Counter()
    passages: dict[str, Passage] = {}
    for split in SPLITS:
        path = find_any(source, *_places(split))
        if path is None:
            continue
        sources.append(path)
        splits[split] = []
        for number, dialogue in enumerate(read_objects(path), start=1):
            turns = [
                turn for row in dialogue.records("utterances") if (turn := _turn(row, passages))
            ]
            counts["left out, openings by the wizard"] += len(dialogue.list("utterances")) - len(
                turns
            )
            if turns:
                splits[split].append(Conversation(f"{split}_{number}", tuple(turns)))
            else:
                counts["left out, dialogues in which the seeker says nothing"] += 1
    if not splits:
        find(source, *(place for split in SPLITS for place in _places(split)))
    return DataSet(splits, sources, list(passages.values()), counts=counts)


def _places(split: str) -> tuple[str, str]:
    return f"{split}.json", f"data/{split}.json"


def _turn(row: Record, passages: dict[str, Passage]) -> Turn | None:
    """A turn, or None where the wizard speaks first."""
    history = row.texts("history")
    if not history:
        return None
    if not history[-1].strip():
        raise row.error(f"history[{len(history) - 1}]", "is empty; expected the seeker's words")
    knowledge = row.spoken("knowledge").strip()
    new = Passage(f"faithdial:{len(passages) + 1}", knowledge)
    passage = passages.setdefault(knowledge, new)
    labels = {
        name.lower(): ", ".join(row.texts(name)).lower()
        for name in ("BEGIN", "VRM")
        if row.texts(name)
    }
    response = row.spoken("response").strip()
    return Turn(history[-1].strip(), response, positives=(passage.id,), attributes=labels)
