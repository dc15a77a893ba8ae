"""The randomisation test against all sign flips counted, and Holm's correction by hand."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uniconv.evaluation.significance import holm, randomisation_test


def names(count: int) -> list[str]:
    return [f"c{number}" for number in range(count)]


@pytest.mark.parametrize("shift", [0.0, 0.3, 0.8])
def test_p_is_the_share_of_sign_flips_that_are_as_far_from_0(shift: float) -> None:
    values = np.random.default_rng(1).normal(shift, 1.0, 8)
    sums = [abs(np.dot(signs, values)) for signs in product((-1, 1), repeat=8)]
    exact = np.mean(np.array(sums) >= abs(values.sum()) - 1e-9)
    p = randomisation_test(values[:, None], names(8), samples=20_000)[0]
    assert p == pytest.approx(exact, abs=0.01)


def test_p_is_uniform_where_the_systems_are_the_same() -> None:
    differences = np.random.default_rng(2).normal(0, 1, (30, 400))  # a measure, a trial
    p = randomisation_test(differences, names(30), samples=1000)
    assert 0.03 < np.mean(p < 0.05) < 0.08
    assert 0.45 < np.mean(p < 0.5) < 0.55


def test_turns_of_a_conversation_keep_their_sign_together() -> None:
    one = np.random.default_rng(3).normal(0.4, 1.0, (12, 1))
    single = randomisation_test(one, names(12))[0]
    copied = np.repeat(one, 10, axis=0)
    assert randomisation_test(copied, np.repeat(names(12), 10).tolist())[0] == single
    assert randomisation_test(copied, names(120))[0] < single / 10


def test_the_ends_of_the_scale() -> None:
    differences = np.column_stack([np.zeros(40), np.ones(40), np.full(40, np.nan)])
    p = randomisation_test(differences, names(40), samples=999)
    np.testing.assert_allclose(p, [1.0, 0.001, 1.0])


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_keeps_the_order_and_never_lowers(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= one <= 1 for p, one in zip(p_values, adjusted, strict=True))
    pairs = sorted(zip(p_values, adjusted, strict=True))
    assert [one for _, one in pairs] == sorted(adjusted)
