"""Calibration declines, of the turns it was given, the share that it tells."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tiny import tiny_uniconv
from uniconv.data.beir import write_corpus
from uniconv.errors import UniConvError
from uniconv.evaluation.calibration import calibrate
from uniconv.retrieval.building import build_index
from uniconv.retrieval.interface import Index
from uniconv.search import ConversationalSearch, Retriever, SearchSettings
from uniconv.types import Conversation, Passage, Turn

PASSAGES = [Passage(f"p{n}", f"Text {n} tells of the thing {n * n}.") for n in range(40)]
TALKS = [
    Conversation(f"c{n}", (Turn(f"What of text {n}?", None, None, (f"p{n}",)),)) for n in range(30)
]


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> ConversationalSearch:
    folder = tmp_path_factory.mktemp("calibration")
    write_corpus(folder / "corpus.jsonl", PASSAGES)
    model = tiny_uniconv()
    build_index([folder / "corpus.jsonl"], folder / "index", model, quiet=True)
    return ConversationalSearch(model, Index.open(folder / "index"))


@pytest.mark.parametrize("retriever", ["hybrid", "dense", "bm25"])
def test_the_threshold_declines_as_many_as_it_says(
    search: ConversationalSearch, retriever: Retriever
) -> None:
    asking = ConversationalSearch(search.model, search.index, SearchSettings(retriever=retriever))
    found = calibrate(asking, TALKS, false_declines=0.2)
    settings = SearchSettings(retriever=retriever, threshold=found.threshold)
    declined = [not asking.stream(talk.context(1), settings).found for talk in TALKS]
    assert found.turns == 30
    assert found.false_declines == pytest.approx(np.mean(declined))
    assert 0 < found.false_declines <= 0.2
    if retriever == "dense":  # the model's next best has a lower score
        assert found.declines >= found.false_declines


def test_turns_without_an_answer_are_counted_and_change_nothing(
    search: ConversationalSearch,
) -> None:
    asked = [Conversation("o", (Turn("Where is the sea?", "Far."), Turn("And 7?")))]
    found = calibrate(search, TALKS, unanswerable=asked, false_declines=0.5)
    settings = SearchSettings(threshold=found.threshold)
    declined = [not search.stream(asked[0].context(n), settings).found for n in (1, 2)]
    assert found.unanswerable == np.mean(declined)
    alone = calibrate(search, TALKS, false_declines=0.5)
    assert alone == replace(found, unanswerable=None)


def test_where_nothing_is_left_all_are_declined(search: ConversationalSearch) -> None:
    everything = tuple(one.id for one in PASSAGES)
    talks = [Conversation(t.id, (Turn(t.turns[0].query, None, None, everything),)) for t in TALKS]
    assert calibrate(search, talks, false_declines=0.1).declines == 1.0


@pytest.mark.parametrize(
    ("talks", "share", "message"),
    [(TALKS[:5], 0.1, "5 turns have a positive"), (TALKS, 1.5, "must be from 0 to 1, not 1.5")],
)
def test_too_few_turns_and_wrong_shares_are_refused(
    search: ConversationalSearch, talks: list[Conversation], share: float, message: str
) -> None:
    with pytest.raises(UniConvError, match=message):
        calibrate(search, talks, false_declines=share)
