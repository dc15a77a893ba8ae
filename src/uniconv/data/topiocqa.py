"""TopiOCQA: conversations that shift between Wikipedia topics, with short free-form answers.

Reads ``topiocqa_{train,dev}.json`` (or ``topiocqa.zip`` with both), or the JSONL of the model hub,
``topiocqa_{train,valid}.jsonl`` (in the folder or in ``data``), whose ``Additional_answers`` become
references; and the gold passages from

- ``{train,dev}_gold.jsonl``, which names passages of a corpus that is kept apart; rows without
  ``use: true`` are doubtful matches and left out; or
- the official retriever files, ``topiocqa_all_history_retriever_{train,dev}.json`` or, as the
  official script saves them, ``data/retriever/all_history/{train,dev}.json``, whose
  ``hard_negative_ctxs`` become negatives; or the official ``gold_passages_info`` of the same
  names. They name passages of ``full_wiki_segments.tsv`` (id, text, title; beside them or in
  ``data/wikipedia_split``), 25 million, which are streamed if the file is there. It is read as
  Python's csv module reads it. In titles, `` > `` stands between article and sections.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from uniconv.data.conversations import qrels_of
from uniconv.data.dataset import DataSet, find, find_any, keep_known
from uniconv.data.histories import Numbered
from uniconv.data.lines import read_jsonl, read_objects, read_records, read_tsv
from uniconv.data.records import Record
from uniconv.types import UNANSWERABLE, Conversation, Passage, Turn

SPLITS = ("train", "dev")
_NO_ANSWER = "UNANSWERABLE"


@dataclass(frozen=True, slots=True)
class _Gold:
    """The relevant passages of a turn, and hard negatives."""

    positives: tuple[str, ...] = ()
    negatives: tuple[str, ...] = ()


def read(source: Path, corpus: Path | None = None) -> DataSet:
    """Both splits, and under ``dev_unseen`` the dev queries whose gold passages train lacks."""
    splits: dict[str, list[Conversation]] = {}
    sources = []
    counts: Counter[str] = Counter()
    references: dict[str, list[str]] = {}
    official = False
    for split in SPLITS:
        path = find(source, *_questions(split))
        matched = f"{split}_gold.jsonl"
        file = find(source, matched, *_official(split))
        official = file.name != matched
        gold = _official_gold(split, file) if official else _matched_gold(file)
        splits[split] = _conversations(split, path, gold, counts, references)
        sources += [path, file]
    counts.update(keep_known(splits, corpus))
    trained = {id for grades in qrels_of(splits["train"]).values() for id in grades}
    unseen = {
        query: grades
        for query, grades in qrels_of(splits["dev"]).items()
        if trained.isdisjoint(grades)
    }
    wiki = None
    if official and corpus is None:
        name = "full_wiki_segments.tsv"
        wiki = find_any(source, name, f"data/wikipedia_split/{name}", f"wikipedia_split/{name}")
    return DataSet(
        splits,
        [*dict.fromkeys(sources), *([wiki] if wiki else [])],
        _passages(wiki) if wiki else None,
        {"dev_unseen": unseen},
        references,
        counts,
    )


def _questions(split: str) -> list[str]:
    """Where the conversations may lie."""
    name = f"topiocqa_{split}.json"
    hub = f"topiocqa_{'valid' if split == 'dev' else split}.jsonl"
    return [name, f"topiocqa.zip/{name}", hub, f"data/{hub}"]


def _official(split: str) -> list[str]:
    """Where the official gold may lie; the history or its rewriting makes no difference to it."""
    return [
        place
        for form in ("all_history", "original", "rewrites_t5_qrecc")
        for place in (
            f"topiocqa_{form}_retriever_{split}.json",
            f"data/retriever/{form}/{split}.json",
            f"retriever/{form}/{split}.json",
            f"topiocqa_{form}_{split}.json",
            f"data/gold_passages_info/{form}/{split}.json",
            f"gold_passages_info/{form}/{split}.json",
        )
    ]


def _matched_gold(path: Path) -> dict[str, _Gold]:
    """By turn id (``split_conversation_turn``)."""

    def parse(record: Record) -> tuple[str, _Gold] | None:
        used = record.fields.get("use") is True
        return (record.identifier("id"), _Gold((record.identifier("pid"),))) if used else None

    return dict(row for row in read_jsonl(path, parse, unique="id") if row)


def _official_gold(split: str, path: Path) -> dict[str, _Gold]:
    """By turn id, as in ``_matched_gold``."""
    gold: dict[str, _Gold] = {}
    for record in read_objects(path):
        id = f"{split}_{record.key('conv_id')}_{record.key('turn_id')}"
        if id in gold:
            raise record.error("turn_id", f"'{id}' was already used")
        positives = _ids(record, "positive_ctxs")
        hard = _ids(record, "hard_negative_ctxs") if record.has("hard_negative_ctxs") else ()
        gold[id] = _Gold(positives, tuple(one for one in hard if one not in positives))
    return gold


def _ids(record: Record, field: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.key("passage_id") for one in record.records(field)))


def _conversations(
    split: str,
    path: Path,
    gold: Mapping[str, _Gold],
    counts: Counter[str],
    references: dict[str, list[str]],
) -> list[Conversation]:
    turns = Numbered()
    known = set()
    for record in read_records(path):
        id = f"{split}_{record.integer('Conversation_no')}"
        number = record.integer("Turn_no")
        marked = gold.get(f"{id}_{number}", _Gold())
        known.add(f"{id}_{number}")
        turn = Turn(
            record.spoken("Question"),
            record.text("Answer"),
            positives=marked.positives,
            negatives=marked.negatives,
            attributes=_attributes(record),
        )
        turns.add(id, turn, record, "Turn_no", number)
        if record.has("Additional_answers"):
            others = [one.text("Answer") for one in record.records("Additional_answers")]
            references[f"{id}_{number}"] = list(dict.fromkeys((record.text("Answer"), *others)))
    counts["left out, gold of turns that are not there"] += len(gold.keys() - known)
    return turns.conversations()


def _attributes(record: Record) -> dict[str, str]:
    fields = {"topic": "Topic", "section": "Topic_section"}
    named = {name: record.optional_text(field) or "" for name, field in fields.items()}
    answered = record.text("Answer").strip() != _NO_ANSWER
    named["answerability"] = "answerable" if answered else UNANSWERABLE
    return {name: text for name, text in named.items() if text}


def _passages(path: Path) -> Iterator[Passage]:
    for row in read_tsv(path, ("id", "text", "title"), quoted=True, header=True):
        title = " > ".join(part.strip() for part in row.text("title").split("[SEP]"))
        yield Passage(row.identifier("id"), row.text("text"), title)
