"""CANARD: the questions of QuAC, rewritten by people to be self-contained.

Reads, by split, ``train.json``, ``dev.json`` and ``test.json`` (also as ``canard_train.json`` and
so on), in the folder or in ``CANARD_Release``. A row's ``History`` begins with the titles of the
article and its section, which become the attributes ``topic`` and ``section``; the answers are
those in the histories of later rows, so the last question of a conversation has none. Where there
is no such file of the training questions, ``canard_train_questions.tsv`` and
``canard_train_rewrites.tsv`` (question id, text) are read instead; they hold no answers at all.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from uniconv.data.dataset import DataSet, find, find_any
from uniconv.data.histories import Numbered, Told, from_histories, told
from uniconv.data.lines import read_objects, read_tsv
from uniconv.data.records import Record
from uniconv.data.trec import lacks
from uniconv.errors import DataError
from uniconv.types import UNANSWERABLE, Conversation, Turn

SPLITS = ("train", "dev", "test")
_NO_ANSWER = "I don't know."


def read(source: Path, corpus: Path | None = None) -> DataSet:
    """The splits that are there. There are no passages."""
    del corpus
    names = {
        split: [
            f"{top}{prefix}{split}.json"
            for top in ("", "CANARD_Release/", "CANARD_Release.zip/CANARD_Release/")
            for prefix in ("", "canard_")
        ]
        for split in SPLITS
    }
    splits: dict[str, list[Conversation]] = {}
    sources = []
    for split in SPLITS:
        path = find_any(source, *names[split])
        questions = find_any(source, f"canard_{split}_questions.tsv")
        if path is not None:
            splits[split] = _answerable(from_histories(map(_told, read_objects(path))))
            sources.append(path)
        elif questions is not None:
            rewrites = find(source, f"canard_{split}_rewrites.tsv")
            splits[split] = _pairs(questions, rewrites)
            sources += [questions, rewrites]
    if not splits:
        find(source, *(names[split][0] for split in SPLITS))
    counts = lacks(one for talks in splits.values() for one in talks)
    return DataSet(splits, sources, counts=counts)


def _told(record: Record) -> Told:
    history = record.texts("History")
    if len(history) < 2:
        problem = f"has {len(history)} entries; expected first the titles of article and section"
        raise record.error("History", problem)
    turn = Turn(
        record.spoken("Question"),
        rewrite=record.spoken("Rewrite"),
        attributes={"topic": history[0], "section": history[1]},
    )
    row = told(record, "History", history[2:], record.identifier("QuAC_dialog_id"), turn)
    number = record.integer("Question_no")
    if number != len(row.history) // 2 + 1:
        problem = f"is {number}, but {len(row.history) // 2} turns were before it"
        raise record.error("Question_no", problem)
    return row


def _answerable(conversations: list[Conversation]) -> list[Conversation]:
    """Marks the answers that are known, by whether they say that there is none."""
    return [
        Conversation(
            one.id, tuple(turn if turn.response is None else _mark(turn) for turn in one.turns)
        )
        for one in conversations
    ]


def _mark(turn: Turn) -> Turn:
    word = UNANSWERABLE if turn.response == _NO_ANSWER else "answerable"
    return replace(turn, attributes={**turn.attributes, "answerability": word})


def _pairs(questions: Path, rewrites: Path) -> list[Conversation]:
    """Conversations without answers, from two files of question ids (``dialog_q#0``) and texts."""
    texts = {row.identifier("id"): row.spoken("text") for row in read_tsv(rewrites, ("id", "text"))}
    turns = Numbered()
    for row in read_tsv(questions, ("id", "text")):
        id = row.identifier("id")
        dialog, mark, number = id.rpartition("_q#")
        if not mark or not number.isdecimal():
            raise row.error("id", f"is '{id}'; expected dialog_q#number")
        turn = Turn(row.spoken("text"), "", rewrite=texts.pop(id, None))
        turns.add(dialog, turn, row, "id", int(number) + 1)
    if texts:
        raise DataError(rewrites, None, f"'{next(iter(texts))}' is no question of {questions.name}")
    return turns.conversations()
