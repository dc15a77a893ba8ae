"""DSTC10 and DSTC11, knowledge-grounded track: bookings that turn to a question about a place.

Reads ``knowledge.json`` (frequently asked questions and, in DSTC11, reviews, by domain and
place) and, for those of ``train``, ``val`` and ``test`` that have both, ``<split>/logs.json``
(dialogues that end in a question) and ``<split>/labels.json`` (whether knowledge answers it,
which, and the response); or the same with flat names, ``dstc11_val_logs.json``. DSTC10 has no
training dialogues of its own; those of DSTC9 have the same form. Dialogues that need no
knowledge are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from uniconv.data.dataset import DataSet, Reader, dialogue, find, find_any
from uniconv.data.lines import read_json, read_object, read_objects
from uniconv.data.records import Record
from uniconv.errors import DataError
from uniconv.types import Conversation, Passage

SPLITS = ("train", "val", "test")


def reader(edition: str) -> Reader:
    """The reader of ``dstc10`` or ``dstc11``."""
    return partial(_read, edition)


def _read(edition: str, source: Path, corpus: Path | None = None) -> DataSet:
    del corpus  # the knowledge is its own
    knowledge = find(source, *_places(edition, "knowledge.json", f"{edition}_knowledge.json"))
    passages = list(_passages(edition, read_object(knowledge)))
    known = {passage.id for passage in passages}
    splits: dict[str, list[Conversation]] = {}
    sources = [knowledge]
    left_out = 0
    for split in SPLITS:
        logs, labels = (
            find_any(source, *_places(edition, f"{split}/{kind}", f"{edition}_{split}_{kind}"))
            for kind in ("logs.json", "labels.json")
        )
        if logs is not None and labels is not None:
            conversations, total = _split(f"{edition}_{split}", logs, labels, known)
            splits[split] = conversations
            left_out += total - len(conversations)
            sources += [logs, labels]
    if not splits:
        find(source, "val/logs.json", f"{edition}_val_logs.json")
        find(source, "val/labels.json", f"{edition}_val_labels.json")
    counts = {"left out, dialogues that need no knowledge": left_out}
    return DataSet(splits, sources, passages, counts=counts)


def _places(edition: str, path: str, flat: str) -> tuple[str, ...]:
    """Where the file may lie: in the release's data folder, from there on, or with a flat name."""
    folder = "task2/data" if edition == "dstc10" else "data"
    return flat, path, f"{folder}/{path}"


def _split(id: str, logs: Path, labels: Path, known: set[str]) -> tuple[list[Conversation], int]:
    """The dialogues that need knowledge, and the number of all."""
    dialogues = read_json(logs)
    answers = list(read_objects(labels))
    if not isinstance(dialogues, list) or len(dialogues) != len(answers):
        raise DataError(logs, None, f"is not a list of {len(answers)} dialogues, as {labels} is")
    conversations = [
        _conversation(f"{id}_{number}", _utterances(logs, number, log), label, known)
        for number, (log, label) in enumerate(zip(dialogues, answers, strict=True))
        if label.fields.get("target") is True
    ]
    return conversations, len(answers)


def _passages(edition: str, knowledge: Record) -> Iterator[Passage]:
    for domain, places in knowledge.items():
        for place, record in places.items():
            name = record.optional_text("name") or domain
            metadata = {"domain": domain, "place": name}
            prefix = f"{edition}:{domain}:{place}"
            for kind, question, answer in (
                ("docs", "title", "body"),
                ("faqs", "question", "answer"),
            ):
                if record.has(kind):
                    for number, faq in record.record(kind).items():
                        text = f"{faq.text(question)} {faq.text(answer)}"
                        yield Passage(f"{prefix}:faq:{number}", text, name, metadata)
            if record.has("reviews"):
                for number, review in record.record("reviews").items():
                    sentences = review.record("sentences")
                    text = " ".join(sentences.text(key) for key in sentences.fields)
                    yield Passage(f"{prefix}:review:{number}", text, name, metadata)


def _utterances(path: Path, number: int, log: object) -> list[tuple[bool, str]]:
    if not isinstance(log, list):
        raise DataError(path, None, "is not a list of utterances", field=f"[{number}]")
    utterances = []
    for index, item in enumerate(log):
        where = f"[{number}][{index}]"
        if not isinstance(item, dict):
            raise DataError(path, None, "is not an object", field=where)
        record = Record(path, None, item, where)
        speaker = record.text("speaker")
        if speaker not in ("U", "S"):
            raise record.error("speaker", "is neither U nor S")
        utterances.append((speaker == "U", record.text("text")))
    return utterances


def _conversation(
    id: str, utterances: list[tuple[bool, str]], label: Record, known: set[str]
) -> Conversation:
    edition = id.split("_")[0]
    positives = []
    for snippet in label.records("knowledge"):
        place = snippet.fields.get("entity_id")
        kind = snippet.optional_text("doc_type") or "faq"
        passage = f"{edition}:{snippet.text('domain')}:{place}:{kind}:{snippet.integer('doc_id')}"
        if passage not in known:
            raise snippet.error("doc_id", f"there is no such snippet ({passage})")
        positives.append(passage)
    turns = dialogue([*utterances, (False, label.spoken("response"))])
    if not turns:
        raise label.error("response", "answers a dialogue in which the user says nothing")
    turns[-1] = replace(turns[-1], positives=tuple(dict.fromkeys(positives)))
    return Conversation(id, tuple(turns))
