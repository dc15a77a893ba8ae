"""Conversations as JSONL, a conversation a line: what every reader makes and every tool takes.

``{"id", "turns": [{"query", "response", "rewrite"?, "positives"?: [ids], "negatives"?: [ids],
"attributes"?: {name: text}}]}``; the last turn may lack its response.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from uniconv.data.beir import Qrels, check_ids
from uniconv.data.lines import OnError, read_jsonl, write_jsonl
from uniconv.data.records import Record
from uniconv.types import Conversation, Turn


def read_conversations(path: Path | str, on_error: OnError = "stop") -> Iterator[Conversation]:
    """Streams the conversations of a file; keys it does not know are ignored.

    Raises:
        DataError: or, with ``on_error="list"``, DataErrors after the last good conversation.
    """
    return read_jsonl(path, conversation, unique="id", on_error=on_error)


def conversation(record: Record) -> Conversation:
    """The conversation in a JSON object.

    Raises:
        DataError: a field is missing or of the wrong type.
    """
    turns = tuple(_turn(turn) for turn in record.records("turns"))
    if not turns:
        raise record.error("turns", "is empty; expected at least one turn")
    for number, turn in enumerate(turns[:-1]):
        if turn.response is None:
            problem = f"is missing; turn {number + 1} is not the last, so it needs one"
            raise record.error(f"turns[{number}].response", problem)
    return Conversation(record.identifier("id"), turns)


def _turn(record: Record) -> Turn:
    return Turn(
        query=record.spoken("query"),
        response=record.optional_text("response"),
        rewrite=record.optional_text("rewrite"),
        positives=record.identifiers("positives"),
        negatives=record.identifiers("negatives"),
        attributes=_attributes(record),
    )


def _attributes(record: Record) -> dict[str, str]:
    if not record.has("attributes"):
        return {}
    inner = record.record("attributes")
    return {name: inner.text(name) for name in inner.fields}


def write_conversations(path: Path | str, conversations: Iterable[Conversation]) -> None:
    """Writes conversations, a line each; what a turn lacks is left out.

    Raises:
        UniConvError: an id is empty, or has a tab or a line break.
    """
    write_jsonl(path, (_fields(path, one) for one in conversations))


def _fields(path: Path | str, one: Conversation) -> dict[str, Any]:
    check_ids(path, (one.id, *(id for turn in one.turns for id in turn.positives + turn.negatives)))
    return {"id": one.id, "turns": [turn_fields(turn) for turn in one.turns]}


def turn_fields(turn: Turn) -> dict[str, Any]:
    """A turn as the JSON object of the interchange format."""
    fields: dict[str, Any] = {"query": turn.query}
    if turn.response is not None:
        fields["response"] = turn.response
    if turn.rewrite is not None:
        fields["rewrite"] = turn.rewrite
    if turn.positives:
        fields["positives"] = list(turn.positives)
    if turn.negatives:
        fields["negatives"] = list(turn.negatives)
    if turn.attributes:
        fields["attributes"] = dict(turn.attributes)
    return fields


def qrels_of(conversations: Iterable[Conversation]) -> Qrels:
    """Positives as judgements of grade 1, under ``Conversation.query_id(turn)``.

    Turns without positives have no judgements and are no queries of an evaluation.
    """
    return {
        one.query_id(number): dict.fromkeys(turn.positives, 1)
        for one in conversations
        for number, turn in enumerate(one.turns, start=1)
        if turn.positives
    }
