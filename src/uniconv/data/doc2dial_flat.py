"""Doc2Dial in a flat form of its validation split.

Reads ``doc2dial_val_docs.json`` (pages as numbered spans of text) and ``doc2dial_val_turns.json``
(one row a response: history, response, ids of its spans).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from uniconv.data.dataset import DataSet, dialogue, find
from uniconv.data.lines import read_object, read_objects
from uniconv.data.pages import cut
from uniconv.data.records import Record
from uniconv.types import Conversation, Passage

SPLIT = "val"


def read(source: Path) -> DataSet:
    """The dialogues of the validation split and the passages of their pages."""
    docs = find(source, f"doc2dial_{SPLIT}_docs.json")
    turns = find(source, f"doc2dial_{SPLIT}_turns.json")
    passages: list[Passage] = []
    passage_of: dict[tuple[str, str], str] = {}
    for page, record in read_object(docs).items():
        held = record.record("spans")
        texts = {span: held.text(span) for span in held.fields}
        for passage, spans in cut("doc2dial", page, texts, {"domain": record.text("domain")}):
            passages.append(passage)
            passage_of |= {(page, span): passage.id for span in spans}
    conversations = [_conversation(rows, passage_of) for rows in _dialogues(turns)]
    return DataSet({SPLIT: conversations}, (docs, turns), passages)


def _dialogues(path: Path) -> list[list[Record]]:
    """The rows of each dialogue, in the order of their turns."""
    dialogues: dict[str, list[tuple[int, Record]]] = {}
    for record in read_objects(path):
        id, _, turn = record.identifier("id").rpartition("_")
        if not id or not turn.isdecimal():
            raise record.error("id", "has no turn number; expected dialogue_turn")
        dialogues.setdefault(id, []).append((int(turn), record))
    return [
        [record for _, record in sorted(rows, key=lambda row: row[0])]
        for rows in dialogues.values()
    ]


def _conversation(rows: list[Record], passage_of: dict[tuple[str, str], str]) -> Conversation:
    """The last row's history holds the whole dialogue; every row marks a turn's passages."""
    positives: dict[int, tuple[str, ...]] = {}
    for row in rows:
        page = row.text("doc")
        found = []
        for span in row.texts("span_ids"):
            if (page, span) not in passage_of:
                raise row.error("span_ids", f"'{span}' is no span of page '{page}'")
            found.append(passage_of[page, span])
        positives[len(dialogue(_utterances(row))) - 1] = tuple(dict.fromkeys(found))
    last = rows[-1]
    turns = dialogue([*_utterances(last), (False, last.optional_text("response") or "")])
    if not turns:
        raise last.error("history", "has no question of the user")
    return Conversation(
        last.identifier("id").rpartition("_")[0],
        tuple(replace(turn, positives=positives.get(n, ())) for n, turn in enumerate(turns)),
    )


def _utterances(row: Record) -> list[tuple[bool, str]]:
    utterances = []
    for number, item in enumerate(row.list("history")):
        match item:
            case ["user" | "agent" as speaker, str(text)]:
                utterances.append((speaker == "user", text))
            case _:
                problem = "is not a pair of user or agent and text"
                raise row.error(f"history[{number}]", problem)
    return utterances
