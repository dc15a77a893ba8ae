"""Grounding, citations and declining, by hand-made cases."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from uniconv.data.lines import read_jsonl
from uniconv.evaluation.grounding import (
    citation_metrics,
    declines,
    is_supported,
    knowledge_metrics,
)
from uniconv.types import Passage

TOWER = Passage("tower", "The tower was built in 1893 by Ada Quay.", "Tower")
BRIDGE = Passage("bridge", "The bridge crosses the old river near the harbour.")
READ = (TOWER, BRIDGE)


def test_support_is_a_share_of_the_content_words() -> None:
    # tower, built, 1893 are held, glacier isn't: 3 of 4.
    sentence = "The tower was built in 1893 of glacier."
    assert is_supported(sentence, [TOWER], 0.75)
    assert not is_supported(sentence, [TOWER], 0.76)
    assert not is_supported(sentence, [])
    assert not is_supported("[1]", [TOWER])
    assert is_supported("The of the", [BRIDGE, Passage("o", "of it")])  # nothing but stop words


def test_knowledge_precision_and_f1() -> None:
    values = knowledge_metrics("Ada Ada Quay slept [1].", [TOWER])
    # The passage holds Ada once and Quay once, among nine words that are no article.
    assert values["k_precision"] == pytest.approx(2 / 4)
    assert values["k_f1"] == pytest.approx(2 * 2 / (4 + 9))
    assert knowledge_metrics("", [TOWER]) == {"k_precision": 0, "k_f1": 0}


def test_citations_of_supported_sentences() -> None:
    response = "The tower was built in 1893 [1]. The bridge crosses the river [1][2]. It rains."
    assert citation_metrics(response, READ) == {
        "citation_recall": pytest.approx(2 / 3),
        "citation_precision": pytest.approx(2 / 3),  # [1] doesn't support the second sentence
    }


def test_marks_that_support_together_or_point_nowhere() -> None:
    together = "Ada Quay built the tower and the bridge near the harbour [1][2]."
    assert citation_metrics(together, READ, threshold=0.9)["citation_recall"] == 1
    assert citation_metrics(together, READ, threshold=0.9)["citation_precision"] == 0
    nowhere = citation_metrics("The tower was built in 1893 [7] [0].", READ, ["tower"])
    assert nowhere == {
        "citation_recall": 0,
        "citation_precision": 0,
        "cited_relevant": 0,
        "relevant_cited": 0,
    }


def test_citations_against_positives() -> None:
    response = "The tower was built in 1893 [1]. The bridge crosses the river [2]."
    values = citation_metrics(response, READ, ["bridge", "elsewhere"])
    assert values["cited_relevant"] == 0.5
    assert values["relevant_cited"] == 1  # what wasn't read can't be cited
    values = citation_metrics("Nothing is cited.", READ, ["bridge"])
    assert values == {"citation_recall": 0, "relevant_cited": 0}
    assert "relevant_cited" not in citation_metrics(response, READ, ["elsewhere"])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I don't know.",
        "I found nothing about this in the documents.",
        "I'm sorry. I do not have any information about this topic.",
        "The passages [1] do not mention who built it.",
        "There is no information about the builder.",
        "Unfortunately, I am unable to answer that.",
        "CANNOTANSWER",
    ],
)
def test_declining(text: str) -> None:
    assert declines(text)


@pytest.mark.parametrize(
    "text",
    [
        "It was built in 1893.",
        "I don't know when, but the tower is high.",
        "I have no exact number. However, at least three were built.",
        "It was built in 1893. I do not know by whom.",
        "The king could not find his keys.",
    ],
)
def test_answering(text: str) -> None:
    assert not declines(text)


@pytest.mark.skipif(
    not os.environ.get("UNICONV_DATA"), reason="UNICONV_DATA names no folder of real data"
)
def test_declining_as_people_write_it() -> None:
    path = Path(os.environ["UNICONV_DATA"]) / "mtrag" / "mtragun_reference.jsonl"
    counts = Counter(
        read_jsonl(
            path,
            lambda record: (
                record.list("answerability")[0] == "UNANSWERABLE",
                declines(record.records("targets")[0].text("text")),
            ),
        )
    )
    assert counts[True, True] >= 0.85 * (counts[True, True] + counts[True, False])
    assert counts[False, True] <= 0.02 * (counts[False, True] + counts[False, False])
