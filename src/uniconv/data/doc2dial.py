"""Doc2Dial: dialogues about pages of public services, each response grounded in spans of a page.

Reads the flat form, ``doc2dial_<split>_docs.json`` (pages as numbered spans of text) and
``doc2dial_<split>_turns.json`` (one row a response: history, response, ids of its spans).
Pages are cut into passages along their headings.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from uniconv.data.dataset import DataSet, dialogue, find
from uniconv.data.lines import read_object, read_objects
from uniconv.data.records import Record
from uniconv.types import Conversation, Passage

SPLIT = "val"
LONGEST = 200
"""Words after which a passage ends at the next span, and a third of which a heading may end it."""


def read(source: Path, corpus: Path | None = None) -> DataSet:
    """The dialogues of the validation split and the passages of their pages."""
    del corpus  # the pages are its own
    docs = find(source, f"doc2dial_{SPLIT}_docs.json")
    turns = find(source, f"doc2dial_{SPLIT}_turns.json")
    passages: list[Passage] = []
    passage_of: dict[tuple[str, str], str] = {}
    for page, record in read_object(docs).items():
        for passage, spans in _cut(page, record):
            passages.append(passage)
            passage_of |= {(page, span): passage.id for span in spans}
    conversations = [_conversation(rows, passage_of) for rows in _dialogues(turns)]
    return DataSet({SPLIT: conversations}, (docs, turns), passages)


def _cut(page: str, record: Record) -> list[tuple[Passage, list[str]]]:
    """Passages with the ids of their spans. A heading begins with a line break."""
    groups: list[list[str]] = []
    spans = record.record("spans")
    words = LONGEST
    for span in spans.fields:
        text = spans.text(span)
        heading = text.startswith("\n")
        if words >= LONGEST or (heading and words >= LONGEST // 3):
            groups.append([])
            words = 0
        groups[-1].append(span)
        words += len(text.split())
    return [
        (
            Passage(
                id=f"doc2dial:{page}:{number}",
                text="".join(spans.text(span) for span in group).strip(),
                title=page.split("#")[0],
                metadata={"domain": record.text("domain")},
            ),
            group,
        )
        for number, group in enumerate(groups)
    ]


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
