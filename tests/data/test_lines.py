"""Lines and records: every malformed line is a DataError that says where and what."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uniconv.data.lines import (
    read_json,
    read_jsonl,
    read_lines,
    read_object,
    read_objects,
    write_jsonl,
    write_lines,
)
from uniconv.data.records import Record, identifier_problem
from uniconv.errors import DataError, DataErrors


def fields(record: Record) -> dict[str, object]:
    return dict(record.fields)


def test_a_byte_order_mark_blank_lines_and_carriage_returns_are_no_content(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\r\n  \n{"a": 2}')
    assert list(read_jsonl(path, fields)) == [{"a": 1}, {"a": 2}]


def test_only_a_line_feed_ends_a_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write_jsonl(path, [{"a": "one\u2028two\x85three"}])
    assert list(read_jsonl(path, fields)) == [{"a": "one\u2028two\x85three"}]


def test_gzip_is_read_and_written_by_its_suffix(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    write_lines(path, ['{"a": 1}'])
    assert gzip.decompress(path.read_bytes()) == b'{"a": 1}\n'
    assert list(read_jsonl(path, fields)) == [{"a": 1}]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"{", "not JSON"),
        (b"[1]", "is a list; expected a JSON object"),
        (b'"text"', "is a string; expected a JSON object"),
        (b'{"a": "\xff"}', "not UTF-8 (byte 8"),
        (b'{"a": "\\ud800"}', "unpaired surrogate"),
        (b"[" * 100_000, "not JSON"),
        (b"1" * 5000, "not JSON"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, line: bytes, says: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n' + line + b"\n")
    with pytest.raises(DataError) as caught:
        list(read_jsonl(path, fields))
    assert caught.value.line == 2
    assert str(caught.value).startswith(f"{path}:2: ")
    assert says in str(caught.value)


def test_list_gives_every_good_line_before_it_raises_every_error(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": "x"}\nnope\n{"id": "x"}\n{"id": 3}\n{"id": "y"}\n')
    good = []
    with pytest.raises(DataErrors) as caught:
        for row in read_jsonl(path, fields, unique="id", on_error="list"):
            good.append(row)
    assert good == [{"id": "x"}, {"id": "y"}]
    assert [error.line for error in caught.value.errors] == [2, 3, 4]
    assert "'x' was already used on line 1" in str(caught.value)


def test_files_that_cannot_be_opened_or_end_too_early_are_data_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="can't be read"):
        list(read_jsonl(tmp_path / "absent.jsonl", fields))
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(gzip.compress(b'{"a": 1}\n' * 5000)[:-20])
    with pytest.raises(DataError, match="is the file complete"):
        list(read_jsonl(cut, fields))
    plain = tmp_path / "plain.jsonl.gz"
    plain.write_text('{"a": 1}\n')
    with pytest.raises(DataError):
        list(read_jsonl(plain, fields))


def test_whole_files_and_members_of_archives(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("inner.json", '[{"a": 1}]')
    assert [dict(one.fields) for one in read_objects(archive / "inner.json")] == [{"a": 1}]
    with pytest.raises(DataError, match=r"no member 'other\.json'"):
        read_json(archive / "other.json")
    with pytest.raises(DataError, match="expected a JSON object"):
        wrong = tmp_path / "b.json"
        wrong.write_text("[]")
        read_object(wrong)
    with pytest.raises(DataError, match=r"field '\[0\]': is a number"):
        wrong.write_text("[3]")
        list(read_objects(wrong))


def test_fields_of_the_wrong_type_say_what_was_expected() -> None:
    record = Record(Path("a.jsonl"), 7, {"n": True, "s": None, "l": ["x", 1], "o": {"in": 3}})
    with pytest.raises(DataError, match="field 'n': is true or false; expected a whole number"):
        record.integer("n")
    with pytest.raises(DataError, match="field 's': is null; expected a string"):
        record.text("s")
    with pytest.raises(DataError, match=r"field 'l\[1\]': is a number; expected a string"):
        record.texts("l")
    with pytest.raises(DataError, match=r"field 'o.in': is a number; expected a string"):
        record.record("o").text("in")
    with pytest.raises(DataError, match="field 'gone': is missing; expected a list"):
        record.list("gone")
    assert record.optional_text("s") is None
    assert record.texts("s") == ()


@pytest.mark.parametrize("id", ["", "  ", "a\tb", "a\nb", "a\u2028b", " a", "a\r"])
def test_ids_that_break_columns_are_refused(id: str) -> None:
    assert identifier_problem(id) is not None


@given(st.binary(max_size=200), st.sampled_from(["a.jsonl", "a.jsonl.gz"]))
def test_any_bytes_are_records_or_data_errors(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str
) -> None:
    path = tmp_path_factory.mktemp("any") / name
    path.write_bytes(content)
    try:
        for row in read_jsonl(path, fields):
            json.dumps(row, ensure_ascii=False).encode("utf-8")
    except DataError as error:
        assert str(path) in str(error)


def test_lines_are_streamed(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_lines(path, ["one", "two"])
    lines = read_lines(path, lambda number, line: (number, line))
    assert next(lines) == (1, "one")
