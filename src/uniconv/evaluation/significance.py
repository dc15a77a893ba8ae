"""Whether systems differ by more than chance: a paired randomisation test, Holm's correction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from uniconv.evaluation.summary import Floats, cluster_sums

_BLOCK = 500  # draws whose signs are in memory at once


def randomisation_test(
    differences: Floats, clusters: Sequence[str], *, seed: int = 0, samples: int = 10_000
) -> Floats:
    """Two-sided p-values of paired differences, float64 [measures].

    Were the systems the same, chance would decide which of the two gave which values (Fisher 1935;
    Smucker, Allan and Carterette 2007). So the sign of each cluster's differences is drawn anew,
    of all its rows at once, as turns of a conversation depend on each other. p is the share of
    draws, the observed one among them, whose sum is at least as far from 0.

    Args:
        differences: float64 [queries, measures], NaN where one system has no value.
        clusters: The cluster, such as the conversation, of each row.
    """
    sums, _ = cluster_sums(differences, clusters)
    observed = np.abs(sums.sum(axis=0))
    tolerance = 1e-9 * np.abs(sums).sum(axis=0)  # sums in another order are not quite the same
    random = np.random.default_rng(seed)
    as_far = np.ones(sums.shape[1])
    for start in range(0, samples, _BLOCK):
        signs = 2.0 * random.integers(0, 2, (min(_BLOCK, samples - start), len(sums))) - 1
        as_far += (np.abs(signs @ sums) >= observed - tolerance).sum(axis=0)
    return as_far / (samples + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for their number (Holm 1979): below a level, they hold all together."""
    adjusted = [0.0] * len(p_values)
    least = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda one: p_values[one])):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = least
    return adjusted
