"""The sizes that docs/milvus.md tells are those that the script computes."""

from __future__ import annotations

from pathlib import Path

import pytest

from milvus_sizing import memory, tables

DOCUMENT = Path(__file__).parents[2] / "docs" / "milvus.md"


def test_the_page_has_the_tables() -> None:
    said = set(DOCUMENT.read_text("utf-8").splitlines())
    assert not {line for line in tables() if line} - said


def test_the_sum_that_the_page_does() -> None:
    by_hand = (4 * 1024 + 144 + 456 + 100) * 54e6 / 0.9
    assert memory("HNSW", 54_000_000, 1024) * 2**30 == pytest.approx(by_hand)
    assert by_hand == pytest.approx(288e9, rel=0.01)
