from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uniconv.retrieval import vectors as module
from uniconv.retrieval.vectors import (
    ExactIndex,
    IVFIndex,
    block_search,
    build_vector_index,
    open_vector_index,
)


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
    index = build_vector_index(tmp_path)
    assert isinstance(index, ExactIndex)
    asked = normal(queries, seed=1)
    scores, rows = index.search(asked, 7)
    expected = np.argsort(-(asked @ values.T), axis=1)[:, :7]
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_allclose(scores, np.take_along_axis(asked @ values.T, expected, 1), atol=1e-6)


@pytest.mark.parametrize("exact_below", [10, 1000])
def test_more_is_asked_for_than_there_is(tmp_path, exact_below):
    np.save(tmp_path / "vectors.npy", normal(20))
    index = build_vector_index(tmp_path, exact_below=exact_below)
    scores, rows = index.search(normal(1, seed=1), 50)
    assert scores.shape == rows.shape == (1, 20)
    assert sorted(rows[0]) == list(range(20))  # 4 lists are fewer than those that are searched


def test_the_approximate_index_is_close_and_the_same_every_time(tmp_path):
    values = normal(3000)
    found = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        np.save(folder / "vectors.npy", values)
        build_vector_index(folder, exact_below=1000, seed=3)
        index = open_vector_index(folder)
        assert isinstance(index, IVFIndex)
        assert len(index) == 3000
        found.append(index.search(values[:100], 10))
    exact = np.argsort(-(values[:100] @ values.T), axis=1)[:, :10]
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found[0][1], exact, strict=True)])
    assert recall > 0.9
    assert (found[0][1][:, 0] == np.arange(100)).all()
    np.testing.assert_array_equal(found[0][1], found[1][1])


def test_the_mapped_approximate_index_survives_the_removal_of_its_file(tmp_path):
    values = normal(500)
    np.save(tmp_path / "vectors.npy", values)
    index = build_vector_index(tmp_path, exact_below=100)
    for path in tmp_path.iterdir():
        path.unlink()
    assert (index.search(values, 1)[1][:, 0] == np.arange(500)).mean() > 0.95


def test_nothing_is_left_beside_the_index(tmp_path):
    np.save(tmp_path / "vectors.npy", normal(50))
    build_vector_index(tmp_path, exact_below=10)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ivf.faiss", "vectors.npy"]
