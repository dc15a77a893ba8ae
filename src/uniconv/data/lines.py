"""Reading and writing text files line by line: every malformed line becomes a DataError.

All readers of this package are built on it, so an error always names the file, the line and the
field, and says what was expected.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Literal, TypeVar, cast

from uniconv.data.archives import READ_ERRORS, open_bytes
from uniconv.data.records import Record, kind
from uniconv.errors import DataError, DataErrors
from uniconv.files import atomic

OnError = Literal["stop", "list"]
"""``stop`` raises the first DataError; ``list`` goes on and raises DataErrors at the end."""

T = TypeVar("T")

_BOM = b"\xef\xbb\xbf"
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def _numbered(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, counted from 1."""
    number = 0
    with open_bytes(path) as file:
        try:
            for number, raw in enumerate(file, start=1):
                line = raw.removeprefix(_BOM) if number == 1 else raw
                if line.strip():
                    yield number, line
        except READ_ERRORS as error:
            problem = f"can't be read on ({error}); is the file complete?"
            raise DataError(path, number + 1, problem) from error


def read_lines(
    path: Path | str, parse: Callable[[int, str], T], *, on_error: OnError = "stop"
) -> Iterator[T]:
    """Streams ``parse(number, line)`` of every line that is not blank.

    Raises:
        DataError: the first malformed line, with ``on_error="stop"``.
        DataErrors: all of them, after the last good one was given, with ``on_error="list"``.
    """
    path = Path(path)
    errors: list[DataError] = []
    for number, raw in _numbered(path):
        try:
            try:
                line = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                problem = f"is not UTF-8 (byte {error.start + 1} of the line)"
                raise DataError(path, number, problem) from error
            value = parse(number, line.rstrip("\r\n"))
        except DataError as error:
            if on_error == "stop":
                raise
            errors.append(error)
            continue
        yield value
    if errors:
        raise DataErrors(errors)


def read_jsonl(
    path: Path | str,
    parse: Callable[[Record], T],
    *,
    unique: str | None = None,
    on_error: OnError = "stop",
) -> Iterator[T]:
    """Streams ``parse(record)`` of every JSON object, a line each.

    ``unique`` names an id field whose values may not repeat.
    """
    path = Path(path)
    seen: dict[str, int] = {}

    def parse_line(number: int, line: str) -> T:
        value = _json(path, number, line)
        if not isinstance(value, dict):
            raise DataError(path, number, f"is {kind(value)}; expected a JSON object")
        record = Record(path, number, value)
        if unique is not None:
            id = record.identifier(unique)
            if id in seen:
                raise record.error(unique, f"'{id}' was already used on line {seen[id]}")
            seen[id] = number
        return parse(record)

    return read_lines(path, parse_line, on_error=on_error)


def read_json(path: Path | str) -> Any:
    """A whole file as one JSON value.

    Raises:
        DataError: it can't be read, is not UTF-8 or not JSON.
    """
    path = Path(path)
    with open_bytes(path) as file:
        try:
            text = file.read().removeprefix(_BOM).decode("utf-8")
        except READ_ERRORS as error:
            raise DataError(path, None, f"can't be read ({error})") from error
        except UnicodeDecodeError as error:
            raise DataError(path, None, f"is not UTF-8 (byte {error.start + 1})") from error
    return _json(path, None, text)


def read_object(path: Path | str) -> Record:
    """A whole file as one JSON object."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise DataError(path, None, f"is {kind(value)}; expected a JSON object")
    return Record(Path(path), None, value)


def read_objects(path: Path | str) -> Iterator[Record]:
    """A whole file as one JSON list of objects."""
    value = read_json(path)
    if not isinstance(value, list):
        raise DataError(path, None, f"is {kind(value)}; expected a JSON list")
    for number, item in enumerate(value):
        if not isinstance(item, dict):
            problem = f"is {kind(item)}; expected an object"
            raise DataError(path, None, problem, field=f"[{number}]")
        yield Record(Path(path), None, item, f"[{number}]")


def read_records(path: Path | str) -> Iterator[Record]:
    """The objects of a file, be it one JSON list or JSONL; only JSONL is streamed."""
    path = Path(path)
    first = next(_numbered(path), (0, b""))[1]
    if first.lstrip(_BOM).lstrip().startswith(b"["):
        yield from read_objects(path)
    else:
        yield from read_jsonl(path, lambda record: record)


def read_tsv(
    path: Path | str, columns: Sequence[str], *, quoted: bool = False, header: bool = False
) -> Iterator[Record]:
    """Streams the rows of a tab-separated file, as records with these columns.

    ``quoted`` is for files that Python's csv module wrote: a value in double quotes may hold tabs
    and line breaks. ``header`` skips a first row that begins with the name of the first column.

    Raises:
        DataError: a row has another number of columns.
    """
    path = Path(path)
    lines = read_lines(path, lambda number, line: (number, line))
    rows = _quoted_rows(path, lines) if quoted else ((n, line.split("\t")) for n, line in lines)
    first = header
    for number, row in rows:
        if first and row[0] == columns[0]:
            first = False
            continue
        first = False
        if len(row) != len(columns):
            names = ", ".join(columns)
            problem = f"has {len(row)} columns; expected {names}, separated by tabs"
            raise DataError(path, number, problem)
        yield Record(path, number, dict(zip(columns, row, strict=True)))


def _quoted_rows(
    path: Path, lines: Iterator[tuple[int, str]]
) -> Iterator[tuple[int, Sequence[str]]]:
    """Rows with the number of the line they end on; csv's limit on a value bounds the memory."""
    number = 0

    def texts() -> Iterator[str]:
        nonlocal number
        for number, line in lines:  # noqa: B007
            yield line + "\n"

    reader = csv.reader(texts(), delimiter="\t")
    try:
        for row in reader:
            yield number, row
    except csv.Error as error:
        problem = f"has a value that can't be read ({error}); is a double quote missing before?"
        raise DataError(path, number, problem) from error


def _json(path: Path, number: int | None, text: str) -> Any:
    try:
        value = json.loads(text)
        if _SURROGATE.search(text):  # half a character can be read but never written again
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError as error:
        line = error.lineno if number is None else number
        problem = f"is not JSON ({error.msg} at column {error.colno})"
        raise DataError(path, line, problem) from error
    except UnicodeEncodeError as error:
        raise DataError(path, number, "has an unpaired surrogate (\\ud8.. to \\udf..)") from error
    except (ValueError, RecursionError) as error:
        raise DataError(path, number, f"is not JSON that can be read ({error})") from error
    return value


def write_lines(path: Path | str, lines: Iterable[str]) -> int:
    """Writes lines atomically, through gzip where the name ends in .gz; gives their number."""
    written = 0
    opener = gzip.open if Path(path).suffix == ".gz" else open
    with (
        atomic(path) as temporary,
        cast(IO[bytes], opener(temporary, "wb")) as file,
    ):
        for line in lines:
            file.write(line.encode("utf-8") + b"\n")
            written += 1
    return written


def write_jsonl(path: Path | str, objects: Iterable[Mapping[str, Any]]) -> int:
    """Writes JSON objects, a line each, atomically; gives their number."""
    return write_lines(path, (json.dumps(value, ensure_ascii=False) for value in objects))


def resume_jsonl(path: Path, parse: Callable[[Record], T], *, unique: str | None = None) -> list[T]:
    """The lines of a file that is written line by line; one that was cut off is removed."""
    if not path.exists():
        return []
    whole = path.read_bytes()
    kept = whole[: whole.rfind(b"\n") + 1]
    if len(kept) < len(whole):
        with path.open("r+b") as file:
            file.truncate(len(kept))
    return list(read_jsonl(path, parse, unique=unique))


def append_jsonl(path: Path, objects: Iterable[Mapping[str, Any]]) -> None:
    """Adds JSON lines to a file as they come, so that a stop loses the last one at most."""
    with path.open("a", encoding="utf-8") as file:
        for value in objects:
            file.write(json.dumps(value, ensure_ascii=False) + "\n")
            file.flush()
