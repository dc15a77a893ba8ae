from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uniconv.sentences import sentences, shared_words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two!  Three? 4 five", ["One.", "Two!", "Three?", "4 five"]),
        ("It was Dr. Quay. [1] Built in 1893 [2][3]. Ok", ["It was Dr. Quay. [1]",
         "Built in 1893 [2][3].", "Ok"]),
        ("It is 3.5 m high.[1] \"Yes.\" He left.", ["It is 3.5 m high.[1]", '"Yes."', "He left."]),
        ("no full stop. and on", ["no full stop. and on"]),
        ("First line\nsecond line", ["First line", "second line"]),
        ("塔です。高いです。", ["塔です。", "高いです。"]),
        ("  ", []),
        ("", []),
    ],
)  # fmt: skip
def test_sentences(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


@given(st.text(alphabet="aB1 .!?[],\"'\n。", max_size=40))
def test_sentences_lose_nothing_but_blanks(text: str) -> None:
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ("Rome is old.", "rome IS old", 1.0),
        ("Rome is old.", "Rome", 0.5),
        ("so so", "so", 2 / 3),
        ("Rome", "Cats", 0.0),
        ("!", "?", 0.0),
        ("", "Rome", 0.0),
    ],
)
def test_shared_words(one: str, other: str, shared: float) -> None:
    assert shared_words(one, other) == shared_words(other, one) == pytest.approx(shared)
