from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uniconv.data.fingerprints import Fingerprints, fingerprint, normalised

values = st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 5))


def filled(numbers: list[int]) -> Fingerprints:
    fingerprints = Fingerprints()
    for number in numbers:
        fingerprints.add(number)
    return fingerprints


@given(values, values)
def test_they_answer_as_sets_do(mine: list[int], theirs: list[int]) -> None:
    one, other = filled(mine), filled(theirs)
    assert len(one) == len(mine)
    assert one.repeated() == {value for value, count in Counter(mine).items() if count > 1}
    assert one.common(other) == set(mine) & set(theirs)
    assert one.missing_from(other) == set(mine) - set(theirs)
    assert [value in one for value in theirs] == [value in mine for value in theirs]


def test_nothing_is_added_after_comparing() -> None:
    one = filled([1])
    assert 1 in one
    with pytest.raises(BufferError):
        one.add(2)


def test_fingerprints_tell_texts_and_their_borders_apart() -> None:
    assert fingerprint("ab", "c") != fingerprint("a", "bc")
    assert fingerprint("ab") != fingerprint("ab", "")
    assert 0 <= fingerprint("") < 2**64
    assert normalised("  Der\tTURM\n steht ") == normalised("der turm steht")
