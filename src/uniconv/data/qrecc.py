"""QReCC: conversations on QuAC, TREC CAsT and Natural Questions over 54 million web passages.

Reads, by split, the first of these that is there (in the folder or in ``turns.zip``,
``qrecc_data.zip``):

- ``scai-qrecc21-training-turns.json``, ``scai-qrecc21-test-turns.json``: the shared task's form,
  with gold passages (``Truth_passages``),
- ``qrecc_train.json``, ``qrecc_test.json`` (or ``qrecc-training.json``, ``qrecc-test.json``): the
  original form. ``scai-qrecc21-ground-truth.json``
  beside it adds the gold passages of the test split,
- ``qrecc_train_subset_turns.jsonl``: turns with their history, without numbers and passages.

The passages are all ``*.jsonl`` files (``id``, ``contents``), at any depth, of
``collection-paragraph`` or ``passages`` (or ``.zip``), or of ``commoncrawl``, ``wayback`` and
``wayback-backfill``. Passages without text are left out. Some turn numbers of the original are
skipped; turns are counted anew. An empty answer means that none was found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from uniconv.data.archives import files_under
from uniconv.data.dataset import DataSet, find, find_any, keep_known
from uniconv.data.histories import Numbered, Told, from_histories, told
from uniconv.data.lines import read_jsonl, read_objects
from uniconv.data.records import Record
from uniconv.data.trec import lacks
from uniconv.types import UNANSWERABLE, Conversation, Passage, Turn

_FILES = {
    "train": ("scai-qrecc21-training-turns.json", "qrecc_train.json", "qrecc-training.json"),
    "test": ("scai-qrecc21-test-turns.json", "qrecc_test.json", "qrecc-test.json"),
}
_SUBSET = "qrecc_train_subset_turns.jsonl"
_TRUTH = "scai-qrecc21-ground-truth.json"
_COLLECTIONS = ("collection-paragraph", "passages", "collection-paragraph.zip", "passages.zip")
_PARTS = ("commoncrawl", "wayback", "wayback-backfill")

Gold = dict[tuple[int, int], tuple[str, ...]]
"""Gold passages by conversation number and place of the turn, from 1."""


def read(source: Path, corpus: Path | None = None) -> DataSet:
    """The splits that are there, and the passages where they are."""
    splits: dict[str, list[Conversation]] = {}
    sources = []
    for split, names in _FILES.items():
        places = tuple(
            f"{top}{name}" for name in names for top in ("", "turns.zip/", "qrecc_data.zip/")
        )
        path = find_any(source, *places)
        if path is not None:
            truth = find_any(source, _TRUTH) if split == "test" else None
            sources += [path, truth] if truth else [path]
            splits[split] = _numbered(split, path, _gold(truth) if truth else {})
    if not splits:
        sources = [find(source, _SUBSET, *_FILES["train"], *_FILES["test"])]
        splits["train"] = from_histories(read_jsonl(sources[0], _told))
    counts = Counter(keep_known(splits, corpus))
    counts.update(lacks(one for talks in splits.values() for one in talks))
    shards = [] if corpus else _shards(source)
    passages = _passages(shards, counts) if shards else None
    return DataSet(splits, [*sources, *shards], passages, counts=counts)


def _numbered(split: str, path: Path, gold: Gold) -> list[Conversation]:
    turns = Numbered()
    before: dict[int, tuple[int, int]] = {}
    for record in read_objects(path):
        conversation, number = record.integer("Conversation_no"), record.integer("Turn_no")
        last, place = before.get(conversation, (0, 0))
        if number <= last:
            raise record.error("Turn_no", f"is {number} after {last}; expected a larger one")
        before[conversation] = (number, place + 1)
        passages = record.identifiers("Truth_passages") or gold.get((conversation, place + 1), ())
        turn = _turn(record, tuple(dict.fromkeys(passages)))
        turns.add(f"{split}_{conversation}", turn, record, "Turn_no", place + 1)
    return turns.conversations()


def _turn(record: Record, positives: tuple[str, ...]) -> Turn:
    prefix = "Truth_" if "Truth_answer" in record.fields else ""
    answer = (record.optional_text(f"{prefix}answer") if prefix else record.text("Answer")) or ""
    rewrite = record.optional_text(f"{prefix}rewrite" if prefix else "Rewrite")
    source = record.optional_text("Conversation_source")
    return Turn(
        record.spoken("Question").strip(),
        answer.strip(),
        (rewrite or "").strip() or None,
        positives,
        attributes=({"source": source} if source else {})
        | {"answerability": "answerable" if answer.strip() else UNANSWERABLE},
    )


def _gold(path: Path) -> Gold:
    places: Counter[int] = Counter()
    gold: Gold = {}
    for record in read_objects(path):
        conversation = record.integer("Conversation_no")
        places[conversation] += 1
        gold[conversation, places[conversation]] = record.identifiers("Truth_passages")
    return gold


def _told(record: Record) -> Told:
    turn = Turn(
        record.spoken("question"),
        record.optional_text("answer"),
        record.optional_text("rewrite"),
    )
    return told(record, "history", record.texts("history"), f"train_{record.line}", turn)


def _shards(source: Path) -> list[Path]:
    for name in _COLLECTIONS:
        shards = files_under(source / name, ".jsonl", ".jsonl.gz")
        if shards:
            return shards
    return [path for name in _PARTS for path in files_under(source / name, ".jsonl", ".jsonl.gz")]


def _passages(shards: list[Path], counts: Counter[str]) -> Iterator[Passage]:
    for path in shards:
        for passage in read_jsonl(path, _passage):
            if passage.text.strip():
                yield passage
            else:
                counts["left out, passages without text"] += 1


def _passage(record: Record) -> Passage:
    return Passage(record.identifier("id"), record.text("contents"))
