"""Conversations that were read, found again by their tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from uniconv.engine.kv import KVBuffer

WORTHWHILE = 16
"""A shorter beginning, such as that of every conversation, is read again rather than copied."""


@dataclass(slots=True, eq=False)
class Session:
    """A conversation's tokens (int64) that have been read, and their keys and values.

    While it is ``taken``, more may follow in ``kv`` than ``tokens`` tells: passages and an answer,
    which are dropped when it is given back.
    """

    kv: KVBuffer = field(default_factory=KVBuffer)
    tokens: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    taken: bool = True
    used: int = 0

    def know(self, tokens: Sequence[int]) -> None:
        """Tells that ``kv`` begins with these tokens, as far as they were read."""
        if len(self.tokens) != min(len(tokens), self.kv.length):
            self.tokens = np.asarray(tokens[: self.kv.length], np.int64)

    def shared(self, tokens: np.ndarray) -> int:
        """How many tokens both begin with."""
        length = min(len(self.tokens), len(tokens))
        different = np.flatnonzero(self.tokens[:length] != tokens[:length])
        return int(different[0]) if len(different) else length


class SessionCache:
    """Keys and values of conversations, of at most ``limit`` bytes, least recently used out first.

    Whoever goes on with a conversation takes its session and gives it back. A conversation that
    branches off, or goes on while another request still holds its session, starts with a copy of
    what they share. A client needs no session id: it sends the conversation as it is. Sessions that
    are taken count towards ``nbytes`` but stay. Not for several threads at once.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._sessions: list[Session] = []
        self._clock = 0

    def take(self, tokens: Sequence[int]) -> Session:
        """A session of which ``kv`` holds what needn't be read again of ``tokens``."""
        wanted = np.asarray(tokens, np.int64)

        def worth(session: Session) -> tuple[int, bool]:
            return session.shared(wanted), not session.taken

        best = max(self._sessions, key=worth, default=None)
        shared = best.shared(wanted) if best is not None else 0
        if best is None or shared < WORTHWHILE:
            return self.fresh()
        if shared == len(best.tokens) and not best.taken:
            best.taken = True
            return best
        self._sessions.append(Session(best.kv.copy(shared), best.tokens[:shared]))
        return self._sessions[-1]

    def fresh(self) -> Session:
        """A session that knows nothing yet."""
        self._sessions.append(Session())
        return self._sessions[-1]

    def give_back(self, session: Session) -> None:
        """Keeps what the session knows of its conversation, while there is room."""
        self._clock += 1
        session.taken, session.used = False, self._clock
        session.kv.crop(len(session.tokens))
        if 2 * session.kv.length < session.kv.capacity:
            session.kv.trim()
        if not len(session.tokens) or self._is_known_elsewhere(session):
            self.drop(session)
        idle = sorted((one for one in self._sessions if not one.taken), key=lambda one: one.used)
        for oldest in idle:
            if self.nbytes <= self.limit:
                break
            self.drop(oldest)

    def drop(self, session: Session) -> None:
        """Forgets the session."""
        self._sessions.remove(session)

    @property
    def nbytes(self) -> int:
        """The memory of all sessions; any thread may ask."""
        return sum(session.kv.nbytes for session in list(self._sessions))

    def __len__(self) -> int:
        return len(self._sessions)

    def _is_known_elsewhere(self, session: Session) -> bool:
        return any(
            other is not session and other.shared(session.tokens) == len(session.tokens)
            for other in self._sessions
        )
