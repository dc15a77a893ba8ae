"""Conversations from files that tell their turns one by one.

Some files number the turns of a conversation, others repeat before every turn all that was said.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from uniconv.data.records import Record
from uniconv.types import Conversation, Turn


class Numbered:
    """Conversations whose turns come in their order, with their numbers."""

    def __init__(self) -> None:
        self._turns: dict[str, list[Turn]] = {}

    def add(self, id: str, turn: Turn, record: Record, field: str, number: int) -> None:
        """Adds a turn whose number, from 1, is told by ``field`` of ``record``.

        Raises:
            DataError: it is not the next one.
        """
        turns = self._turns.setdefault(id, [])
        if number != len(turns) + 1:
            raise record.error(field, f"is {number} after turn {len(turns)} of '{id}'")
        turns.append(turn)

    def conversations(self) -> list[Conversation]:
        """All of them, in the order in which they began."""
        return [Conversation(id, tuple(turns)) for id, turns in self._turns.items()]


@dataclass(frozen=True, slots=True)
class Told:
    """A turn and what was said before it: questions and answers by turns, a question first.

    ``id`` names the conversation if it begins here.
    """

    id: str
    history: tuple[str, ...]
    turn: Turn


def told(record: Record, field: str, history: tuple[str, ...], id: str, turn: Turn) -> Told:
    """Checks ``history``, which comes from ``field``.

    Raises:
        DataError: it does not end with an answer, or a question in it is empty.
    """
    if len(history) % 2:
        raise record.error(
            field, f"has {len(history)} utterances; expected one to end in an answer"
        )
    for place, text in enumerate(history):
        if not place % 2 and not text.strip():
            raise record.error(f"{field}[{place}]", "is empty; expected a question")
    return Told(id, history, turn)


def from_histories(rows: Iterable[Told]) -> list[Conversation]:
    """Joins rows that go on from one another; answers that a row lacks are taken from later ones.

    Turns that have no row of their own are known from the histories of others.
    """
    groups: list[list[Told]] = []
    for row in rows:
        before = groups[-1][-1] if groups else None
        so_far = (*before.history, before.turn.query) if before else ()
        if before and row.history[: len(so_far)] == so_far:
            groups[-1].append(row)
        else:
            groups.append([row])
    return [_conversation(group) for group in groups]


def _conversation(rows: list[Told]) -> Conversation:
    own = {len(row.history) // 2: row.turn for row in rows}
    last = rows[-1]
    pairs = zip(last.history[::2], last.history[1::2], strict=True)
    turns = [
        replace(own.get(number, Turn(query)), response=answer)
        for number, (query, answer) in enumerate(pairs)
    ]
    return Conversation(rows[0].id, (*turns, last.turn))
