from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uniconv.errors import ConfigError
from uniconv.retrieval.filters import matches, parse_filters, wanted
from uniconv.retrieval.milvus_schema import expression, label


def test_all_fields_and_any_value():
    asked = wanted({"part": ["b", "a"], "file": "x.md"})
    assert asked == (("file", ("x.md",)), ("part", ("a", "b")))
    assert matches({"file": "x.md", "part": "b", "more": "1"}, asked)
    assert not matches({"file": "x.md", "part": "c"}, asked)
    assert not matches({"part": "a"}, asked)
    assert matches({}, wanted(None))


def test_filters_of_the_command_line():
    assert parse_filters(["file=a=b.md", "part=1", "file="]) == {
        "file": ["a=b.md", ""],
        "part": ["1"],
    }
    for wrong in ("file", "=a"):
        with pytest.raises(ConfigError, match="expected field=value"):
            parse_filters([wrong])


def test_the_expression_for_milvus():
    assert expression({}) == ""
    assert expression({"file": "a b.md", "part": ["1", "2"]}) == (
        'array_contains_any(labels, ["file=a%20b.md"]) and '
        'array_contains_any(labels, ["part=1", "part=2"])'
    )


@given(st.tuples(st.text(), st.text()), st.tuples(st.text(), st.text()))
def test_labels_are_plain_and_tell_fields_and_values_apart(one, other):
    assert (label(*one) == label(*other)) == (one == other)
    assert not set(label(*one)) & set("\"'\\ {}[]()\n")
