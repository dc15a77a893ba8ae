"""Counts of the real data sets, read from the folder that UNICONV_DATA names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from uniconv.data.catalogue import CATALOGUE
from uniconv.data.conversations import qrels_of

DATA = Path(os.environ.get("UNICONV_DATA", ""))
needs_data = pytest.mark.skipif(
    not os.environ.get("UNICONV_DATA"), reason="UNICONV_DATA names no folder of real data"
)


@needs_data
@pytest.mark.parametrize(
    ("name", "folder", "split", "conversations", "turns", "queries", "passages"),
    [
        ("topiocqa", "topiocqa", "train", 3509, 45450, 8334, 0),
        ("topiocqa", "topiocqa", "dev", 205, 2514, 427, 0),
        ("inscit", "inscit", "dev", 86, 502, 485, 996),
        ("mtrag-clapnq", "mtrag", "dev", 29, 224, 208, 12169),
        ("mtrag-cloud", "mtrag", "dev", 26, 205, 188, 13408),
        ("doc2dial", "doc2dial", "val", 661, 3972, 3972, 1696),
        ("dstc10", "dstc", "val", 104, 676, 104, 12039),
        ("dstc11", "dstc", "val", 2129, 10048, 2129, 4299),
        ("qed_nq", "qed_nq", "train", 8081, 8081, 8081, 8081),
        ("squad", "squad", "dev", 10570, 10570, 10570, 2067),
        ("squad2", "squad", "dev", 5928, 5928, 5928, 1204),
        ("clapnq", "clapnq", "dev", 300, 300, 300, 297),
        ("qrecc", "qrecc", "train", 6000, 28565, 0, 0),
        ("canard", "canard", "train", 4383, 31526, 0, 0),
        ("canard", "canard", "dev", 490, 3430, 0, 0),
        ("nfcorpus", "beir_small", "test", 323, 323, 323, 3633),
        ("nfcorpus", "beir_small", "train", 2590, 2590, 2590, 3633),
        ("arguana", "beir_small", "test", 1406, 1406, 1406, 8674),
    ],
)
def test_counts(
    name: str,
    folder: str,
    split: str,
    conversations: int,
    turns: int,
    queries: int,
    passages: int,
) -> None:
    source = DATA / folder
    if not source.is_dir():
        pytest.skip(f"UNICONV_DATA has no folder {folder}")
    data = CATALOGUE[name].read(source, None)
    read = data.splits[split]
    assert len(read) == conversations
    assert sum(len(one.turns) for one in read) == turns
    assert len(qrels_of(read)) == queries
    held = list(data.passages or ())
    assert len(held) == passages
    if name == "topiocqa":
        assert len(data.qrels["dev_unseen"]) == 126
    known = {passage.id for passage in held}
    if known:
        used = {id for one in read for turn in one.turns for id in turn.positives}
        assert len(used - known) == (5 if name == "arguana" else 0)  # as published
