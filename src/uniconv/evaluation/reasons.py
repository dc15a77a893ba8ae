"""Why a turn failed, told from what was judged, retrieved, read and answered.

The first rule of :func:`reasons` that holds is the turn's reason.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

from uniconv.evaluation.grounding import SUPPORT, knowledge_precision
from uniconv.types import Passage


@dataclass(frozen=True, slots=True)
class Reason:
    """A kind of outcome. ``rule`` says when it holds; ``failed`` whether it is a failure."""

    label: str
    rule: str
    failed: bool


@dataclass(frozen=True, slots=True)
class Bars:
    """What counts as good: a relevant passage within rank ``top``, an F1 of at least ``f1``."""

    top: int = 10
    f1: float = 0.3


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is known of a turn; None stands for what isn't.

    ``relevant`` are ids of passages, ``ranking`` those retrieved, best first, ``cited`` those among
    the ``read`` that the answer cites.
    """

    relevant: frozenset[str]
    ranking: Sequence[str] | None = None
    answer: str | None = None
    declined: bool = False
    read: Sequence[Passage] = ()
    cited: frozenset[str] = frozenset()
    f1: float | None = None
    answerable: bool | None = None

    @property
    def best_rank(self) -> int | None:
        """The rank of the first relevant passage, from 1."""
        return first_rank(self.relevant, self.ranking or ())

    @property
    def reads_relevant(self) -> bool:
        """Whether a relevant passage was read."""
        return any(passage.id in self.relevant for passage in self.read)


def first_rank(relevant: Container[str], ranking: Iterable[str]) -> int | None:
    """The rank of the first relevant passage of a ranking, from 1; None where it has none."""
    return next((rank for rank, id in enumerate(ranking, start=1) if id in relevant), None)


def reasons(bars: Bars) -> dict[str, Reason]:
    """Every reason by its key with its rule in words, in the order in which they are tried."""
    return {
        "answered-unanswerable": Reason(
            "answered though unanswerable",
            "The turn is marked unanswerable, and the response does not decline.",
            True,
        ),
        "declined-answerable": Reason(
            "declined though answerable",
            "The turn is marked answerable or has a relevant passage, and the response declines.",
            True,
        ),
        "declined-rightly": Reason(
            "declined rightly", "The turn is marked unanswerable, and the response declines.", False
        ),
        "answered": Reason("answered", f"The answer's F1 is at least {bars.f1:g}.", False),
        "not-retrieved": Reason(
            "not retrieved", "No relevant passage is in the ranking, and none was read.", True
        ),
        "ranked-low": Reason(
            "ranked low",
            f"The first relevant passage is not in the top {bars.top}, and none was read.",
            True,
        ),
        "not-read": Reason(
            "retrieved but not read",
            f"A relevant passage is in the top {bars.top}, or there is no ranking, and the model "
            "read none.",
            True,
        ),
        "not-used": Reason(
            "read but not used",
            "A relevant passage was read, but the answer cites none, and less than "
            f"{SUPPORT:.0%} of its words are in those that were read.",
            True,
        ),
        "differs": Reason(
            "answer differs from the reference",
            f"The answer's F1 is below {bars.f1:g}, and a relevant passage was read and used, or "
            "none is known.",
            True,
        ),
        "retrieved": Reason(
            "retrieved",
            f"A relevant passage is in the top {bars.top}, and there is no response to judge.",
            False,
        ),
        "unjudged": Reason(
            "nothing to judge by", "Neither a relevant passage nor a measured response.", False
        ),
    }


def reason_of(turn: Outcome, bars: Bars) -> str:
    """The key of the turn's reason in :func:`reasons`."""
    if turn.answer is not None:
        if turn.answerable is False:
            return "declined-rightly" if turn.declined else "answered-unanswerable"
        if turn.declined and (turn.answerable or turn.relevant):
            return "declined-answerable"
        if turn.f1 is not None and turn.f1 >= bars.f1:
            return "answered"
    if not turn.relevant:
        return "unjudged" if turn.f1 is None else "differs"
    if turn.answer is not None and turn.reads_relevant:
        return "differs" if _uses_relevant(turn) else "not-used"
    if turn.ranking is None:
        return "unjudged" if turn.answer is None else "not-read"
    if turn.best_rank is None:
        return "not-retrieved"
    if turn.best_rank > bars.top:
        return "ranked-low"
    return "retrieved" if turn.answer is None else "not-read"


def _uses_relevant(turn: Outcome) -> bool:
    if turn.relevant & turn.cited:
        return True
    relevant = [passage for passage in turn.read if passage.id in turn.relevant]
    return knowledge_precision(turn.answer or "", relevant) >= SUPPORT


def steps(turn: Outcome, bars: Bars) -> list[str]:
    """What happened to the turn, from retrieval to the answer, in a sentence a step."""
    told = []
    if turn.relevant and turn.ranking is not None:
        told.append(_retrieval(turn))
    if turn.answer is not None:
        relevant = sum(passage.id in turn.relevant for passage in turn.read)
        share = f", {relevant} relevant" if turn.relevant and turn.read else ""
        told.append(f"The model read {_count(len(turn.read), 'passage')}{share}.")
        if turn.read and not turn.declined:
            relevant = len(turn.relevant & turn.cited)
            share = f", {relevant} relevant" if turn.relevant and turn.cited else ""
            told.append(f"The answer cites {_count(len(turn.cited), 'passage')}{share}.")
        if turn.declined:
            told.append("The response declines to answer.")
    if turn.f1 is not None:
        side = "below" if turn.f1 < bars.f1 else "not below"
        told.append(f"F1 against the reference is {turn.f1:.2f}, {side} {bars.f1:g}.")
    return told


def history_step(rank: int | None, bars: Bars) -> tuple[bool, str]:
    """Whether a turn needs its history, and why, from a retrieval with its last question alone.

    ``rank`` is that of the first relevant passage. A turn needs its history if the last question
    alone does not bring it into the top.
    """
    if rank is not None and rank <= bars.top:
        return False, f"The last question alone finds it at rank {rank}: no history is needed."
    where = "does not find it" if rank is None else f"finds it only at rank {rank}"
    return True, f"The last question alone {where}: the history is needed."


def _retrieval(turn: Outcome) -> str:
    number, retrieved = len(turn.relevant), len(turn.ranking or ())
    if turn.best_rank is None:
        which = "The relevant passage is not"
        if number > 1:
            which = f"None of the {number} relevant passages is"
        return f"{which} among the {retrieved} retrieved."
    first = (
        "The relevant passage" if number == 1 else f"The first of the {number} relevant passages"
    )
    return f"{first} is at rank {turn.best_rank} of {retrieved}."


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"
