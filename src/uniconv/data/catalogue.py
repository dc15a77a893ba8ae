"""The data sets that can be read, by name, and their conversion to an interchange folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from uniconv.data import (
    adhoc,
    canard,
    cast,
    cast22,
    chatlogs,
    chitchat,
    coral,
    doc2dial,
    dstc,
    faithdial,
    ikat,
    inscit,
    medquad,
    mtrag,
    orquac,
    qrecc,
    questions,
    topiocqa,
)
from uniconv.data.dataset import Reader
from uniconv.data.entry import Entry, entries
from uniconv.errors import UniConvError

_READERS: dict[str, Reader] = {
    "topiocqa": topiocqa.read,
    "qrecc": qrecc.read,
    "orquac": orquac.read,
    "faithdial": faithdial.read,
    "canard": canard.read,
    "coral": coral.read,
    "ultrachat": chatlogs.read_ultrachat,
    "openai-messages": chatlogs.read_messages,
    "msmarco": adhoc.read_msmarco,
    "nfcorpus": adhoc.beir("nfcorpus"),
    "arguana": adhoc.beir("arguana"),
    "beir": adhoc.beir(),
    "inscit": inscit.read,
    "mtrag-clapnq": mtrag.reader("clapnq"),
    "mtrag-cloud": mtrag.reader("cloud"),
    "mtrag-fiqa": mtrag.reader("fiqa"),
    "mtrag-govt": mtrag.reader("govt"),
    "mtrag-synthetic": mtrag.read_synthetic,
    "mtragun-clapnq": mtrag.un_reader("clapnq"),
    "mtragun-cloud": mtrag.un_reader("cloud"),
    "mtragun-fiqa": mtrag.un_reader("fiqa"),
    "mtragun-govt": mtrag.un_reader("govt"),
    "cast19": cast.reader(2019),
    "cast20": cast.reader(2020),
    "cast21": cast.reader(2021),
    "cast22": cast22.read,
    "ikat23": ikat.reader(2023),
    "ikat24": ikat.reader(2024),
    "ikat25": ikat.reader(2025),
    "doc2dial": doc2dial.read,
    "multidoc2dial": doc2dial.read_multi,
    "dstc10": dstc.reader("dstc10"),
    "dstc11": dstc.reader("dstc11"),
    "cmu_dog": chitchat.read_cmu_dog,
    "topical_chat": chitchat.read_topical_chat,
    "wowpp": chitchat.read_wowpp,
    "medquad": medquad.read,
    "qed_nq": questions.read_qed,
    "squad": questions.squad("1.1", "dev-v1.1.json", "dev-1.1.from_explore_html.json"),
    "squad2": questions.squad("2.0", "dev-v2.0.json", "dev-v2.0.from_explore_html.json"),
    "clapnq": questions.read_clapnq,
    "ottqa": questions.linked("ottqa"),
    "hybridqa": questions.linked("hybridqa"),
}

CATALOGUE: dict[str, Entry] = entries(_READERS)
"""All data sets by their names; what is known of them is in ``sets.toml``."""


def entry_of(name: str) -> Entry:
    """A data set by its name.

    Raises:
        UniConvError: there is no such data set.
    """
    if name not in CATALOGUE:
        raise UniConvError(f"unknown data set '{name}'; known are {', '.join(sorted(CATALOGUE))}")
    return CATALOGUE[name]


def convert(
    name: str, source: Path | str, out: Path | str, corpus: Path | str | None = None
) -> dict[str, Any]:
    """Reads a data set's own files and writes them as an interchange folder.

    The folder gets ``<split>.jsonl`` and ``<split>.qrels.tsv`` for every split, ``corpus.jsonl``
    where the set has passages of its own, ``<split>.references.jsonl`` where turns have several
    reference responses, and ``dataset.json`` with counts, licence, checksums and, as ``corpus``,
    the way from the folder to a shared corpus.

    Args:
        name: One of ``CATALOGUE``.
        source: The folder of the native files.
        out: The folder to write.
        corpus: A ``corpus.jsonl`` that several sets share, where the set names passages of it.

    Returns:
        The contents of ``dataset.json``.

    Raises:
        UniConvError: the name is unknown, a file is missing (DataError) or malformed.
    """
    entry = entry_of(name)
    data = entry.read(Path(source), None if corpus is None else Path(corpus))
    shared = (
        None
        if corpus is None or data.passages is not None
        else os.path.relpath(Path(corpus).resolve(), Path(out).resolve())
    )
    return data.write(
        out,
        name=name,
        corpus=shared,
        licence=entry.licence,
        home=entry.home,
        evaluation_only=entry.evaluation_only,
    )
