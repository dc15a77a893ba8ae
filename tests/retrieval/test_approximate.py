from __future__ import annotations

import numpy as np
import pytest

from retrieval.test_vectors import normal
from uniconv.retrieval.approximate import (
    IVFIndex,
    RescoredIndex,
    build_vector_index,
    open_vector_index,
)
from uniconv.retrieval.quantisation import VectorSettings, open_kept, write_kept
from uniconv.retrieval.vectors import ExactIndex

STORAGES = ("float32", "int8", "binary")


def keep(folder, values, storage):
    folder.mkdir(exist_ok=True)
    blocks = (values[start : start + 100] for start in range(0, len(values), 100))
    write_kept(folder, len(values), values.shape[1], blocks, VectorSettings(None, storage))


def recall(found, exact):
    return np.mean([len({*a} & {*b}) / len(b) for a, b in zip(found, exact, strict=True)])


def test_few_vectors_are_all_compared(tmp_path):
    for storage in STORAGES:
        keep(tmp_path / storage, normal(300), storage)
        index = build_vector_index(tmp_path / storage, storage)
        assert isinstance(index, RescoredIndex if storage == "binary" else ExactIndex)
        assert index.exhaustive
        assert len(index) == 300


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("exact_below", [10, 1000])
def test_more_is_asked_for_than_there_is(tmp_path, exact_below, storage):
    keep(tmp_path, normal(20), storage)
    index = build_vector_index(tmp_path, storage, exact_below=exact_below)
    assert index.exhaustive == (exact_below == 1000)
    scores, rows = index.search(normal(1, seed=1), 50)
    assert scores.shape == rows.shape == (1, 20)
    assert sorted(rows[0]) == list(range(20))  # 4 lists are fewer than those that are searched


@pytest.mark.parametrize("storage", STORAGES)
def test_the_approximate_index_is_close_and_the_same_every_time(tmp_path, storage):
    values = normal(3000)
    found = []
    for name in ("a", "b"):
        folder = tmp_path / name
        keep(folder, values, storage)
        build_vector_index(folder, storage, exact_below=1000, seed=3)
        index = open_vector_index(folder, storage)
        assert isinstance(index, RescoredIndex if storage == "binary" else IVFIndex)
        assert not index.exhaustive
        assert len(index) == 3000
        found.append(index.search(values[:100], 10))
    exact = np.argsort(-(values[:100] @ values.T), axis=1)[:, :10]
    assert recall(found[0][1], exact) > 0.9
    assert (found[0][1][:, 0] == np.arange(100)).all()
    np.testing.assert_array_equal(found[0][1], found[1][1])


def test_what_the_bits_find_is_ordered_by_the_bytes(tmp_path, monkeypatch):
    values, asked = normal(2000), normal(50, seed=1)
    keep(tmp_path, values, "binary")
    index = build_vector_index(tmp_path, "binary")
    kept = open_kept(tmp_path)[:]
    scores, rows = index.search(asked, 10)
    expected = np.take_along_axis(asked @ kept.T, rows, axis=1)
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    assert (np.diff(scores, axis=1) <= 0).all()
    exact = np.argsort(-(asked @ values.T), axis=1)[:, :10]
    assert recall(rows, exact) > 0.95
    monkeypatch.setattr("uniconv.retrieval.approximate.RESCORED", 10)
    assert recall(index.search(asked, 3)[1], exact[:, :3]) < 0.9  # the bits alone see less


@pytest.mark.parametrize("storage", ["int8", "binary"])
def test_bits_and_bytes_follow_uneven_dimensions(tmp_path, storage):
    """Embeddings have a mean, and dimensions of which few are large and most are small."""
    values = normal(3000, 64) * np.geomspace(1, 0.001, 64, dtype=np.float32)
    values[:, 0] += 1
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    keep(tmp_path, values, storage)
    index = build_vector_index(tmp_path, storage)
    exact = np.argsort(-(values[:50] @ values.T), axis=1, kind="stable")[:, :10]
    assert recall(index.search(values[:50], 10)[1], exact) > 0.9


@pytest.mark.parametrize("storage", STORAGES)
def test_lists_that_are_made_in_parts_are_those_of_one_go(tmp_path, storage, monkeypatch, capfd):
    monkeypatch.setattr("uniconv.retrieval.approximate._BLOCK", 100)
    values, asked = normal(1050), normal(40, seed=1)
    found = []
    for name, size in (("whole", 2**31), ("parts", 250 * 24)):
        keep(tmp_path / name, values, storage)
        build_vector_index(tmp_path / name, storage, exact_below=500, part_bytes=size)
        moved = (tmp_path / name).rename(tmp_path / f"moved-{name}")
        index = open_vector_index(moved, storage)
        assert len(index) == 1050
        found.append(index.search(asked, 8))
        expected = {"vectors.npy"} | ({"lists.faiss"} if name == "parts" else set())
        expected |= {"ivf.faiss"} if storage == "float32" else {"scales.npy"}
        expected |= {"ivf.faiss"} if storage == "int8" else set()
        expected |= {"bits.faiss"} if storage == "binary" else set()
        assert {path.name for path in moved.iterdir()} == expected
    np.testing.assert_array_equal(found[0][1], found[1][1])
    np.testing.assert_allclose(found[0][0], found[1][0], atol=1e-6)
    assert capfd.readouterr().out == ""  # faiss prints what it does


@pytest.mark.parametrize("storage", STORAGES)
def test_the_mapped_approximate_index_survives_the_removal_of_its_files(tmp_path, storage):
    values = normal(500)
    keep(tmp_path, values, storage)
    index = build_vector_index(tmp_path, storage, exact_below=100)
    for path in tmp_path.iterdir():
        path.unlink()
    assert (index.search(values, 1)[1][:, 0] == np.arange(500)).mean() > 0.95


def test_nothing_is_left_beside_the_index(tmp_path):
    np.save(tmp_path / "vectors.npy", normal(50))
    build_vector_index(tmp_path, exact_below=10)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ivf.faiss", "vectors.npy"]
