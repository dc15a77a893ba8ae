"""A JSON object of an input file that knows where it stands, so that errors can say it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from uniconv.errors import DataError

_KINDS = {
    dict: "an object",
    list: "a list",
    str: "a string",
    bool: "true or false",
    int: "a number",
    float: "a number",
    type(None): "null",
}


def kind(value: object) -> str:
    """What JSON calls the type of ``value``, for messages."""
    return _KINDS.get(type(value), type(value).__name__)


@dataclass(frozen=True, slots=True)
class Record:
    """A JSON object of an input file that knows where it stands.

    ``within`` is the way from the top of the line to this object, such as ``turns[0]``.
    """

    path: Path
    line: int | None
    fields: Mapping[str, Any]
    within: str = ""

    def error(self, field: str, problem: str) -> DataError:
        """The error that blames ``field`` of this object."""
        name = f"{self.within}.{field}" if self.within else field
        return DataError(self.path, self.line, problem, field=name)

    def _value(self, field: str, expected: type, called: str) -> Any:
        if field not in self.fields:
            raise self.error(field, f"is missing; expected {called}")
        value = self.fields[field]
        if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
            raise self.error(field, f"is {kind(value)}; expected {called}")
        return value

    def has(self, field: str) -> bool:
        """Whether the field is there and not null."""
        return self.fields.get(field) is not None

    def text(self, field: str) -> str:
        """A string, which may be empty."""
        return cast(str, self._value(field, str, "a string"))

    def spoken(self, field: str) -> str:
        """A string that says something."""
        text = self.text(field)
        if not text.strip():
            raise self.error(field, "is empty; expected some text")
        return text

    def optional_text(self, field: str) -> str | None:
        """A string, or None where the field is absent or null."""
        return self.text(field) if self.has(field) else None

    def identifier(self, field: str) -> str:
        """An id that can stand in a tab-separated file."""
        text = self.text(field)
        problem = identifier_problem(text)
        if problem:
            raise self.error(field, problem)
        return text

    def key(self, field: str) -> str:
        """An id that may also be written as a whole number."""
        if isinstance(self.fields.get(field), int):
            return str(self.integer(field))
        return self.identifier(field)

    def keys(self, field: str) -> tuple[str, ...]:
        """A list of ids that may also be whole numbers; empty where the field is absent or null."""
        if not self.has(field):
            return ()
        values = self.list(field)
        items = {f"{field}[{n}]": value for n, value in enumerate(values)}
        inner = Record(self.path, self.line, items, self.within)
        return tuple(inner.key(name) for name in items)

    def integer(self, field: str) -> int:
        """A whole number."""
        return cast(int, self._value(field, int, "a whole number"))

    def list(self, field: str) -> Sequence[Any]:
        """A list of anything."""
        return cast("Sequence[Any]", self._value(field, list, "a list"))

    def texts(self, field: str) -> tuple[str, ...]:
        """A list of strings; empty where the field is absent or null."""
        if not self.has(field):
            return ()
        values = self.list(field)
        for number, value in enumerate(values):
            if not isinstance(value, str):
                raise self.error(f"{field}[{number}]", f"is {kind(value)}; expected a string")
        return tuple(values)

    def identifiers(self, field: str) -> tuple[str, ...]:
        """A list of ids; empty where the field is absent or null."""
        values = self.texts(field)
        for number, value in enumerate(values):
            problem = identifier_problem(value)
            if problem:
                raise self.error(f"{field}[{number}]", problem)
        return values

    def record(self, field: str) -> Record:
        """An object."""
        return self._inner(field, self._value(field, dict, "an object"))

    def records(self, field: str) -> Sequence[Record]:
        """A list of objects."""
        return [self._inner(f"{field}[{n}]", value) for n, value in enumerate(self.list(field))]

    def items(self) -> Iterator[tuple[str, Record]]:
        """Every key with its object, for files that map ids to objects."""
        for key, value in self.fields.items():
            problem = identifier_problem(key)
            if problem:
                raise self.error(f"key {key!r}", problem)
            yield key, self._inner(key, value)

    def _inner(self, name: str, value: Any) -> Record:
        if not isinstance(value, dict):
            raise self.error(name, f"is {kind(value)}; expected an object")
        within = f"{self.within}.{name}" if self.within else name
        return Record(self.path, self.line, value, within)


def identifier_problem(text: str) -> str | None:
    """Why ``text`` can't be an id in a tab-separated file, or None."""
    if not text.strip():
        return "is empty; expected an id"
    if "\t" in text or len(text.splitlines()) > 1 or text != text.strip():
        return "has a tab, a line break or a blank at its ends; expected an id without them"
    return None
