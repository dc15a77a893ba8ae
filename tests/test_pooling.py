from __future__ import annotations

import torch

from uniconv.pooling import pool


def test_pooling_by_hand() -> None:
    hidden = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [9.0, 9.0]]])
    mask = torch.tensor([[True, True, False]])
    torch.testing.assert_close(pool(hidden, mask, "last"), torch.tensor([[0.0, 1.0]]))
    torch.testing.assert_close(pool(hidden, mask, "mean"), torch.tensor([[0.5**0.5, 0.5**0.5]]))
    torch.testing.assert_close(
        pool(hidden, mask, "weighted_mean"), torch.tensor([[1 / 5**0.5, 2 / 5**0.5]])
    )


def test_sums_keep_their_precision_under_autocast() -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(2, 300, 8, generator=generator)
    mask = torch.ones(2, 300, dtype=torch.bool)
    with torch.autocast("cpu", torch.bfloat16):
        found = pool(hidden, mask, "weighted_mean")
    assert torch.equal(found, pool(hidden, mask, "weighted_mean"))
