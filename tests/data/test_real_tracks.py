"""Counts of TREC's tracks, MTRAG's parts and chats, read from the folder of UNICONV_DATA."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from uniconv.data.catalogue import CATALOGUE

DATA = Path(os.environ.get("UNICONV_DATA", ""))
pytestmark = pytest.mark.skipif(
    not os.environ.get("UNICONV_DATA"), reason="UNICONV_DATA names no folder of real data"
)


def folder(name: str) -> Path:
    if not (DATA / name).is_dir():
        pytest.skip(f"UNICONV_DATA has no folder {name}")
    return DATA / name


@pytest.mark.parametrize(
    ("name", "of", "split", "conversations", "turns", "queries", "passages"),
    [
        ("cast19", "cast", "test", 50, 479, 173, 0),
        ("cast19", "cast", "train", 30, 269, 108, 0),
        ("cast20", "cast", "test", 25, 216, 199, 974),
        ("cast21", "cast", "test", 26, 239, 157, 0),
        ("ikat23", "ikat_topics_only", "test", 25, 332, 280, 0),
        ("ikat23", "ikat_topics_only", "train", 11, 95, 76, 0),
        ("ikat24", "ikat_topics_only", "test", 17, 218, 191, 0),
        ("ikat25", "ikat_topics_only", "test", 17, 188, 157, 0),
        ("mtragun-clapnq", "mtrag", "test", 142, 564, 83, 12169),
        ("mtragun-cloud", "mtrag", "test", 131, 584, 86, 13408),
        ("mtrag-synthetic", "mtrag", "train", 200, 1181, 1161, 863),
        ("cmu_dog", "cmu_dog", "train", 3265, 37075, 0, 0),
        ("cmu_dog", "cmu_dog", "test", 619, 7020, 0, 0),
        ("topical_chat", "topical_chat", "valid_freq", 539, 6041, 0, 0),
        ("wowpp", "wowpp", "topic", 200, 495, 191, 3713),
        ("medquad", "medquad", "train", 14979, 14979, 14979, 16350),
    ],
)
def test_counts(
    name: str, of: str, split: str, conversations: int, turns: int, queries: int, passages: int
) -> None:
    data = CATALOGUE[name].read(folder(of), None)
    read = list(data.splits[split])
    known = {passage.id for passage in data.passages or ()}
    assert (len(read), sum(len(one.turns) for one in read)) == (conversations, turns)
    assert sum(bool(turn.positives) for one in read for turn in one.turns) == queries
    assert len(known) == passages
    if known:
        assert all(known.issuperset(turn.positives) for one in read for turn in one.turns)


@pytest.mark.parametrize(
    ("name", "grades"),
    [
        ("cast19", {0: 21230, 1: 2889, 2: 2157, 3: 1456, 4: 1618}),
        ("cast20", {0: 1228, 1: 252, 2: 222, 3: 463, 4: 390}),
        ("cast21", {0: 13829, 1: 2072, 2: 1710, 3: 1007, 4: 716}),
    ],
)
def test_cast_keeps_the_grades(name: str, grades: dict[int, int]) -> None:
    qrels = CATALOGUE[name].read(folder("cast"), None).qrels["test"]
    assert Counter(grade for judged in qrels.values() for grade in judged.values()) == grades


def test_labels_of_mtrag() -> None:
    labels: Counter[str | None] = Counter()
    for domain in ("clapnq", "cloud"):
        data = CATALOGUE[f"mtrag-{domain}"].read(folder("mtrag"), None)
        for one in data.splits["dev"]:
            for turn in one.turns:
                labels[turn.attributes["answerability"]] += 1
                labels[turn.attributes.get("multi_turn")] += 1
    assert labels == {
        "answerable": 369,
        "unanswerable": 30,
        "partial": 27,
        "conversational": 3,
        "follow-up": 313,
        "clarification": 61,
        None: 55,
    }
