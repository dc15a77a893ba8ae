"""The errors a user can cause, each told in one sentence that says what, where and what to do."""

from __future__ import annotations

import re
from pathlib import Path

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""What would break a message's line or steer the terminal."""


class UniConvError(Exception):
    """Base of every error that is the input's fault, not the program's.

    The command line prints its message without a traceback and leaves with exit status 2.
    """


class ConfigError(UniConvError):
    """A setting is unknown, missing or out of range."""


class TemplateError(UniConvError):
    """A backbone's chat format can't be used, because later text changes earlier tokens."""


class ModelError(UniConvError):
    """A model folder or hub id can't be loaded or lacks a part that is needed."""


class IndexFolderError(UniConvError):
    """An index folder is missing, incomplete, or was made by another model."""


class IndexServerError(IndexFolderError):
    """The server that holds an index can't be reached, or refuses what it is asked."""


class MessagesError(UniConvError):
    """Chat messages that are no conversation with an open question."""


class RemoteError(UniConvError):
    """Another server refuses, fails, or can't be reached.

    ``where`` and ``problem`` hold nothing of what was sent; ``said`` are the server's own words.
    ``status`` is HTTP's, None where there was none. ``may_pass`` tells that another try, later, may
    succeed; ``lost`` that a connection ended in the middle of an answer.
    """

    def __init__(
        self,
        where: str,
        problem: str,
        said: str = "",
        *,
        status: int | None = None,
        may_pass: bool = False,
        lost: bool = False,
    ) -> None:
        self.where = where
        self.problem = problem
        self.status = status
        self.may_pass = may_pass or lost
        self.lost = lost
        super().__init__(f"{where}: {problem}{f': {said}' if said else ''}")


class DataError(UniConvError):
    """A line of an input file is malformed.

    ``path`` and ``line`` (from 1) say where, ``field`` names the field, ``expected`` what it
    should have been.
    """

    def __init__(
        self, path: Path | str, line: int | None, problem: str, *, field: str | None = None
    ) -> None:
        self.path = Path(path)
        self.line = line
        self.field = field
        self.problem = problem
        where = str(path) if line is None else f"{path}:{line}"
        what = problem if field is None else f"field '{field}': {problem}"
        super().__init__(_CONTROL.sub(lambda found: repr(found[0])[1:-1], f"{where}: {what}"))


class DataErrors(UniConvError):
    """Every malformed line of the input, for a reader that was told to list them all."""

    def __init__(self, errors: list[DataError]) -> None:
        self.errors = errors
        listing = "\n".join(f"  {error}" for error in errors)
        super().__init__(f"{len(errors)} malformed lines:\n{listing}")
