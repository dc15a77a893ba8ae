from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.test_vectors import normal
from uniconv.errors import UniConvError
from uniconv.retrieval.quantisation import VectorSettings, open_kept, to_bytes, write_kept


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 5),
    dimension=st.integers(1, 40),
    spread=st.floats(1e-3, 1),
    seed=st.integers(0, 1000),
)
def test_bytes_are_near_and_read_from_bytes_the_same(count, dimension, spread, seed):
    values = normal(count, dimension, seed)
    values *= np.geomspace(1, spread, dimension, dtype=np.float32)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    codes, scales = to_bytes(values)
    assert codes.dtype == np.int8
    assert (np.abs(codes.astype(int)).max(axis=1) == 127).all()
    read = codes * scales[:, None]
    np.testing.assert_allclose(np.linalg.norm(read, axis=1), 1, atol=1e-5)
    step = np.abs(values).max(axis=1) / 127
    assert (np.abs(read - values).max(axis=1) <= step).all()
    again, scales_again = to_bytes(read)
    np.testing.assert_array_equal(again, codes)
    np.testing.assert_array_equal(scales_again, scales)


def test_a_vector_of_zeros_stays_one():
    codes, scales = to_bytes(np.zeros((1, 4), np.float32))
    assert not (codes * scales[:, None]).any()


@pytest.mark.parametrize("storage", ["float32", "int8", "binary"])
def test_blocks_are_cut_and_kept(tmp_path, storage):
    values = normal(50, 16)
    how = VectorSettings(6, storage)
    # The second block is cut already, as vectors of the version before are.
    write_kept(tmp_path, 50, 16, [values[:20], how.cut(values[20:])], how)
    kept = open_kept(tmp_path)
    expected = values[:, :6] / np.linalg.norm(values[:, :6], axis=1, keepdims=True)
    assert len(kept) == 50
    np.testing.assert_allclose(kept[:], expected, atol=0.01 if storage != "float32" else 1e-6)
    rows = np.array([7, 3, 49])
    np.testing.assert_array_equal(kept[rows], kept[0:50][rows])
    bytes_a_vector = 6 * 4 if storage == "float32" else 6 + 4
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert 0 < size - 50 * bytes_a_vector <= 256  # the headers


def test_what_a_version_needs_of_the_one_before():
    whole, short = VectorSettings(), VectorSettings(8)
    assert whole.suffices(short)
    assert not short.suffices(whole)
    assert VectorSettings(8).suffices(VectorSettings(4, "binary"))
    assert VectorSettings(8, "int8").suffices(VectorSettings(8, "binary"))
    assert not VectorSettings(8, "int8").suffices(VectorSettings(4, "int8"))  # rounded twice
    assert not VectorSettings(8, "int8").suffices(VectorSettings(8))


def test_settings_are_those_of_the_index_unless_named():
    before = VectorSettings(8, "int8")
    assert before.changed(16, None, None) == before
    assert before.changed(16, None, "binary") == VectorSettings(8, "binary")
    assert before.changed(16, 16, "float32") == VectorSettings()
    with pytest.raises(UniConvError, match="embeddings have 4, of which 1 to 4 can be kept, not 8"):
        before.changed(4, None, None)
