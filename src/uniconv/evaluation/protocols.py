"""What responses are evaluated: which turns, and which passages and how much history are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from uniconv.data.conversations import read_conversations
from uniconv.data.lines import read_jsonl
from uniconv.data.records import Record
from uniconv.errors import DataError
from uniconv.types import UNANSWERABLE, Conversation, Passage, Turn

PassageKind = Literal["none", "retrieved", "relevant", "irrelevant"]
History = int | Literal["all"]


@dataclass(frozen=True, slots=True)
class Part:
    """One of the evaluations that a command runs: a kind of passages, and turns of history."""

    passages: PassageKind
    history: History

    @property
    def name(self) -> str:
        """The name of its folder and of its row in the table."""
        return self.passages if self.history == "all" else f"{self.passages}-history-{self.history}"

    def shown(self, context: Conversation) -> Conversation:
        """The context with only the last turns of its history."""
        if self.history == "all":
            return context
        return Conversation(context.id, context.turns[-(self.history + 1) :])


def parts_of(passages: Sequence[PassageKind], history: Sequence[History]) -> list[Part]:
    """Every kind of passages with every length of history, each once."""
    return list(dict.fromkeys(Part(kind, turns) for kind in passages for turns in history))


@dataclass(frozen=True, slots=True)
class Question:
    """A turn to respond to.

    ``references`` are all reference responses as the data set has them, repetitions included.
    ``answerable`` is what the attribute ``answerability`` says; a turn without it is answerable if
    it has positives, and nothing is known (None) otherwise.
    """

    id: str
    context: Conversation
    references: tuple[str, ...]
    positives: tuple[str, ...]
    answerable: bool | None

    def relevance(self, passage: Passage) -> bool | None:
        """Whether a passage is one of the positives; None where none is known."""
        return passage.id in self.positives if self.positives else None


def questions_of(
    conversations: Path,
    references: Path | None = None,
    *,
    judged: bool = False,
    limit: int | None = None,
) -> list[Question]:
    """The turns that have a reference response, or the first ``limit`` of them.

    Args:
        conversations: A file of conversations.
        references: All reference responses by query id, for data sets with several.
        judged: Only turns that have positives.

    Raises:
        DataError: there are none, or a file is malformed.
    """
    several = {} if references is None else _read_references(references)
    questions = []
    for one in read_conversations(conversations):
        for number, turn in enumerate(one.turns, start=1):
            id = one.query_id(number)
            answers = several.get(id, ())
            if turn.response and turn.response not in answers:
                answers = (turn.response, *answers)
            if answers and (turn.positives or not judged):
                context = one.context(number)
                known = _answerable(turn)
                questions.append(Question(id, context, answers, turn.positives, known))
    if not questions:
        kind = "response and positives" if judged else "response"
        raise DataError(conversations, None, f"has no turn with a {kind}")
    return questions[:limit]


def _answerable(turn: Turn) -> bool | None:
    label = turn.attributes.get("answerability")
    if label is not None:
        return label != UNANSWERABLE
    return True if turn.positives else None


def _read_references(path: Path) -> dict[str, tuple[str, ...]]:
    def parse(record: Record) -> tuple[str, tuple[str, ...]]:
        return record.identifier("_id"), record.texts("references")

    return dict(read_jsonl(path, parse, unique="_id"))
