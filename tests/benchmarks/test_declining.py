"""What benchmarks/declining.py prints of scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from declining import area, cell, confidences, marked
from tiny_index import tiny_index
from uniconv.model import UniConv
from uniconv.retrieval.interface import Index
from uniconv.search import ConversationalSearch
from uniconv.types import Conversation, Turn


def test_the_area_is_the_share_of_pairs_in_order() -> None:
    assert area(np.array([0.9, 0.5]), np.array([0.1, 0.5, 0.7])) == pytest.approx(4.5 / 6)


def test_a_cell_has_shares_turns_and_area() -> None:
    scores = np.array([0.1, 0.2, 0.3, 0.6])
    assert cell(scores, [0.2, 0.5]) == "0.25, 0.75 of 4"
    assert cell(scores, [0.5], np.array([0.9])) == "0.75 of 4; 1.000"


def test_turns_that_are_marked() -> None:
    assert marked(Turn("Who?", attributes={"answerability": "unanswerable"}))
    assert not marked(Turn("Who?", attributes={"answerability": "partial"}))


def test_confidences_are_the_searchs(tmp_path: Path) -> None:
    index = Index.open(tiny_index(tmp_path))
    search = ConversationalSearch(UniConv.from_pretrained(tmp_path / "model", device="cpu"), index)
    asked = [Conversation.start("Who built the tower?"), Conversation.start("Why is bread soft?")]
    expected = [search.stream(one).confidence for one in asked]
    np.testing.assert_allclose(confidences(search, asked), np.array(expected), atol=1e-5)
    assert confidences(search, []).shape == (0,)
