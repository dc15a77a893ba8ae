from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uniconv.retrieval import vectors as module
from uniconv.retrieval.vectors import ExactIndex, block_search


def normal(count, dimension=16, seed=0):
    values = np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


@settings(max_examples=150, deadline=None)
@given(
    queries=st.integers(1, 4),
    count=st.integers(1, 25),
    k=st.integers(1, 30),
    block=st.integers(1, 10),
    seed=st.integers(0, 1000),
)
def test_block_search_is_a_stable_argsort(queries, count, k, block, seed):
    # Small whole numbers: products are exact and ties are many.
    random = np.random.default_rng(seed)
    left = random.integers(-1, 2, (queries, 3)).astype(np.float32)
    right = random.integers(-1, 2, (count, 3)).astype(np.float32)
    scores, rows = block_search(left, right, k, block=block)
    products = left @ right.T
    expected = np.argsort(-products, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(scores, np.take_along_axis(products, expected, axis=1))


def test_many_queries_are_searched_in_chunks_at_full_precision(monkeypatch):
    import torch

    values, asked = normal(300), normal(50, seed=1)
    whole = block_search(asked, values, 5)
    monkeypatch.setattr(module, "_CHUNK", 7)
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", torch.bfloat16):  # as when negatives are mined
            chunked = block_search(asked, values, 5, block=64, device="cpu")
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    np.testing.assert_array_equal(chunked[1], whole[1])
    np.testing.assert_allclose(chunked[0], whole[0], atol=1e-6)


@pytest.mark.parametrize("queries", [1, module.BATCH_QUERIES, 40])
def test_the_exact_index_finds_the_best(tmp_path, queries):
    values = normal(300)
    np.save(tmp_path / "vectors.npy", values)
    index = ExactIndex(np.load(tmp_path / "vectors.npy", mmap_mode="r"))
    asked = normal(queries, seed=1)
    scores, rows = index.search(asked, 7)
    expected = np.argsort(-(asked @ values.T), axis=1)[:, :7]
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_allclose(scores, np.take_along_axis(asked @ values.T, expected, 1), atol=1e-6)
