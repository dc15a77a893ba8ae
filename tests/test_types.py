from __future__ import annotations

import pytest

from uniconv.types import Conversation, Turn


def conversation() -> Conversation:
    return Conversation("c", (Turn("q1", "r1", positives=("p1",)), Turn("q2", "r2"), Turn("q3")))


def test_context_drops_the_response_to_come_and_all_that_follows() -> None:
    context = conversation().context(2)
    assert context.turns == (Turn("q1", "r1", positives=("p1",)), Turn("q2"))
    assert context.waits


@pytest.mark.parametrize("turn", [0, 4, -1])
def test_context_names_the_turns_there_are(turn: int) -> None:
    with pytest.raises(ValueError, match="turns 1 to 3"):
        conversation().context(turn)


def test_only_the_last_turn_may_wait() -> None:
    with pytest.raises(ValueError, match="turn 1: only the last turn"):
        Conversation("c", (Turn("q1"), Turn("q2")))
    with pytest.raises(ValueError, match="no turns"):
        Conversation("c", ())


def test_ask_and_answer_alternate() -> None:
    started = Conversation.start("q1").answer("r1")
    assert not started.waits
    with pytest.raises(ValueError, match="only the last turn"):
        started.ask("q2").ask("q3")
    assert [turn.query for turn in started.ask("q2").turns] == ["q1", "q2"]


def test_query_ids_count_from_one() -> None:
    assert conversation().query_id(1) == "c_1"
