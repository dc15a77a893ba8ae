"""The words everything else speaks: turns, conversations, passages, and cited answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal


@dataclass(frozen=True, slots=True)
class Passage:
    """A unit of text that can be retrieved and cited.

    ``metadata`` is carried along untouched (a file name, a section, a URL).
    """

    id: str
    text: str
    title: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Turn:
    """A question and, once it is answered, its response.

    ``rewrite`` is the question made self-contained by a person or a model. ``positives`` and
    ``negatives`` are ids of passages that are relevant and of passages that are known not to be.
    ``attributes`` are what annotators said of the turn, by which evaluations are broken down:
    ``topic``, ``type`` (of the question), ``answerability`` (see ``UNANSWERABLE``), and any other.
    """

    query: str
    response: str | None = None
    rewrite: str | None = None
    positives: tuple[str, ...] = ()
    negatives: tuple[str, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)


UNANSWERABLE = "unanswerable"
"""The value of the attribute ``answerability`` of a turn that should be declined."""

NOTHING_FOUND = "I found nothing about this in the documents."
"""What is said where no passage answers a question: by a search, and by a model that learned to."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns in the order they were spoken; only the last may still wait for its response."""

    id: str
    turns: tuple[Turn, ...]

    def __post_init__(self) -> None:
        if not self.turns:
            raise ValueError(f"conversation '{self.id}' has no turns")
        for number, turn in enumerate(self.turns[:-1], start=1):
            if turn.response is None:
                raise ValueError(
                    f"conversation '{self.id}', turn {number}: only the last turn may lack a "
                    "response"
                )

    def context(self, turn: int) -> Conversation:
        """``C_n``: everything that was said before the response of turn ``turn`` (from 1)."""
        if not 1 <= turn <= len(self.turns):
            raise ValueError(
                f"conversation '{self.id}' has turns 1 to {len(self.turns)}, not {turn}"
            )
        last = replace(self.turns[turn - 1], response=None)
        return Conversation(self.id, (*self.turns[: turn - 1], last))

    def query_id(self, turn: int) -> str:
        """The id of turn ``turn`` (from 1) in runs and qrels: ``conversation_turn``."""
        return f"{self.id}_{turn}"

    @property
    def waits(self) -> bool:
        """Whether the last question has no response yet."""
        return self.turns[-1].response is None

    def ask(self, query: str) -> Conversation:
        """The conversation with one more question."""
        return Conversation(self.id, (*self.turns, Turn(query)))

    def answer(self, response: str) -> Conversation:
        """The conversation with its last question answered."""
        return Conversation(self.id, (*self.turns[:-1], replace(self.turns[-1], response=response)))

    @classmethod
    def start(cls, query: str, id: str = "conversation") -> Conversation:
        """A conversation of one question."""
        return cls(id, (Turn(query),))


@dataclass(frozen=True, slots=True)
class ScoredPassage:
    """A retrieved passage. ``score`` grows with relevance; its scale is the retriever's."""

    passage: Passage
    score: float


@dataclass(frozen=True, slots=True)
class Citation:
    """A mark ``[number]`` in an answer and the passage that it points to."""

    number: int
    passage: Passage


FinishReason = Literal["stop", "length"]
"""Why a response ended: by itself (or because it only repeated itself), or for lack of room."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens behind an answer.

    ``prompt_tokens`` are those that it goes on from, conversation and passages; ``cached_tokens``
    of them were read for an earlier turn.
    """

    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What the user gets.

    ``passages`` are all that were considered, best first; ``citations`` those that the text
    marks. ``found`` is false when nothing relevant was retrieved and the text says so. ``timings``
    are seconds by stage.
    """

    text: str
    citations: tuple[Citation, ...]
    passages: tuple[ScoredPassage, ...]
    found: bool
    timings: Mapping[str, float]
    usage: Usage
    finish_reason: FinishReason
