from __future__ import annotations

import torch

from uniconv.engine.kv import KVBuffer
from uniconv.engine.sessions import WORTHWHILE, Session, SessionCache

SIZE = 2 * 3 * 4 * 4
"""Bytes of a token in the tests' only layer: keys and values, three groups, four floats."""


def read(session: Session, tokens: list[int]) -> None:
    """Reads what is not there yet: keys and values are the token's number."""
    for token in tokens[session.kv.length :]:
        session.kv.write(0, *torch.full((2, 3, 1, 4), float(token)))
        session.kv.extend(1)
    session.know(tokens)


def held(kv: KVBuffer) -> list[float]:
    kept = kv.copy(kv.length)
    return [float(row[0, 0, 0]) for row in kept._layers[0].transpose(0, 2)] if kv.length else []


def kept(cache: SessionCache, tokens: list[int]) -> Session:
    session = cache.take(tokens)
    read(session, tokens)
    cache.give_back(session)
    return session


TALK = list(range(40))


def test_a_conversation_goes_on_in_its_own_session() -> None:
    cache = SessionCache(1 << 20)
    first = kept(cache, TALK)
    again = cache.take([*TALK, 50, 51])
    assert again is first
    assert held(again.kv) == TALK
    assert len(cache) == 1


def test_a_branch_starts_with_a_copy_of_what_is_shared() -> None:
    cache = SessionCache(1 << 20)
    first = kept(cache, TALK)
    branch = cache.take([*TALK[:30], 99])
    assert branch is not first
    assert held(branch.kv) == TALK[:30]
    read(branch, [*TALK[:30], 99])
    assert held(first.kv) == TALK
    cache.give_back(branch)
    assert len(cache) == 2


def test_a_session_in_use_is_copied_too() -> None:
    cache = SessionCache(1 << 20)
    kept(cache, TALK)
    first, second = cache.take(TALK), cache.take(TALK)
    assert first is not second
    assert held(second.kv) == TALK


def test_passages_and_answer_are_dropped_and_their_room_given_back() -> None:
    cache = SessionCache(1 << 20)
    session = cache.take(TALK)
    session.kv.reserve(500)
    read(session, TALK)
    for token in range(100, 400):
        session.kv.write(0, *torch.full((2, 3, 1, 4), float(token)))
        session.kv.extend(1)
    cache.give_back(session)
    assert held(session.kv) == TALK
    assert cache.nbytes == len(TALK) * SIZE


def test_a_short_common_beginning_is_not_worth_a_copy() -> None:
    cache = SessionCache(1 << 20)
    kept(cache, TALK)
    assert cache.take([*TALK[: WORTHWHILE - 1], 99, 98]).kv.length == 0
    assert cache.take([*TALK[:WORTHWHILE], 99, 98]).kv.length == WORTHWHILE


def test_the_least_recently_used_goes_first() -> None:
    cache = SessionCache(2 * 60 * SIZE)  # two conversations with room to grow
    talks = [[100 * number + token for token in TALK] for number in range(3)]
    kept(cache, talks[0])
    kept(cache, talks[1])
    kept(cache, [*talks[0]])
    kept(cache, talks[2])
    assert cache.nbytes <= cache.limit
    assert cache.take(talks[0]).kv.length == 40
    assert cache.take(talks[1]).kv.length == 0


def test_what_is_taken_is_never_dropped() -> None:
    cache = SessionCache(0)
    session = cache.take(TALK)
    read(session, TALK)
    kept(cache, [7] * 40)
    assert len(cache) == 1
    assert held(session.kv) == TALK
    cache.give_back(session)
    assert (len(cache), cache.nbytes) == (0, 0)


def test_a_session_that_another_one_contains_is_not_kept_twice() -> None:
    cache = SessionCache(1 << 20)
    kept(cache, TALK)
    first, second = cache.take(TALK), cache.take(TALK)
    read(first, [*TALK, 50])
    cache.give_back(first)
    cache.give_back(second)
    assert len(cache) == 1
    assert held(cache.take([*TALK, 50]).kv) == [*TALK, 50]


def test_a_session_that_read_nothing_leaves_nothing() -> None:
    cache = SessionCache(1 << 20)
    cache.give_back(cache.take(TALK))
    assert len(cache) == 0
