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
from uniconv.data.entry import Entry, files_at
from uniconv.errors import UniConvError

_ZENODO = "https://zenodo.org/records"
_HUB = "https://huggingface.co/datasets"
_ORQUAC = "https://ciir.cs.umass.edu/downloads/ORConvQA"
_MSMARCO = "https://msmarco.z22.web.core.windows.net/msmarcoranking"
_BEIR_FILES = "https://public.ukp.informatik.tu-darmstadt.de/thakur/BEIR/datasets"
_BEIR = ("the data set's terms", "https://github.com/beir-cellar/beir")
_ADHOC = "ad-hoc retrieval"
_DSTC11 = "https://github.com/alexa/dstc11-track5"
_DSTC10 = "https://github.com/alexa/alexa-with-dstc10-track2-dataset"
_SQUAD = "https://rajpurkar.github.io/SQuAD-explorer"
_CC_BY_SA = "CC BY-SA 4.0"

_MTRAG = ("Apache-2.0", "https://github.com/IBM/mt-rag-benchmark")
_RAG = (*_MTRAG, True, "retrieval, cited answers, abstention")
_CAST = ("MIT (topics)", "https://github.com/daltonj/treccastweb", True, "retrieval")
_IKAT = ("MIT (topics)", "https://github.com/irlabamsterdam/iKAT", True, "personal assistance")

CATALOGUE: dict[str, Entry] = {
    "topiocqa": Entry(
        topiocqa.read,
        "CC BY-NC-SA 4.0",
        "https://github.com/McGill-NLP/topiocqa",
        task="retrieval, responses, topic shifts",
        size="3.9K conversations, 25M passages",
        downloads=(
            *files_at(
                f"{_HUB}/McGill-NLP/TopiOCQA/resolve/main",
                "data/topiocqa_train.jsonl",
                "data/topiocqa_valid.jsonl",
            ),
            *files_at(
                f"{_ZENODO}/6151011/files",
                "data/retriever/all_history/train.json",
                "data/retriever/all_history/dev.json",
            ),
            *files_at(f"{_ZENODO}/6149599/files", "data/wikipedia_split/full_wiki_segments.tsv"),
        ),
        must_accept=True,
    ),
    "qrecc": Entry(
        qrecc.read,
        "CC BY-SA 3.0",
        "https://github.com/apple/ml-qrecc",
        task="retrieval, rewrites, responses",
        size="14K conversations, 54M passages (27 GB)",
        downloads=(
            *files_at(
                f"{_ZENODO}/5543685/files",
                "scai-qrecc21-training-turns.json",
                "scai-qrecc21-test-turns.json",
            ),
            *files_at(f"{_ZENODO}/5760304/files", "passages.zip"),
        ),
    ),
    "orquac": Entry(
        orquac.read,
        _CC_BY_SA,
        "https://github.com/prdwb/orconvqa-release",
        task="retrieval, rewrites, responses",
        size="5.6K conversations, 11M passages",
        downloads=files_at(
            _ORQUAC,
            "all_blocks.txt.gz",
            "qrels.txt.gz",
            *(f"preprocessed/{split}.txt" for split in ("train", "dev", "test")),
        ),
    ),
    "faithdial": Entry(
        faithdial.read,
        "MIT",
        "https://mcgill-nlp.github.io/FaithDial",
        task="faithful responses",
        size="5.6K conversations, 50,761 turns",
        downloads=files_at(
            f"{_HUB}/McGill-NLP/FaithDial/resolve/main",
            *(f"data/{split}.json" for split in ("train", "valid", "test")),
        ),
    ),
    "canard": Entry(
        canard.read,
        _CC_BY_SA,
        "https://sites.google.com/view/qanta/projects/canard",
        task="rewrites",
        size="5.6K conversations",
        downloads=files_at("https://obj.umiacs.umd.edu/elgohary", "CANARD_Release.zip"),
    ),
    "coral": Entry(
        coral.read,
        _CC_BY_SA,
        "https://github.com/RUC-NLPIR/CORAL",
        task="retrieval, rewrites, cited responses",
        size="8K conversations, 200K passages",
        downloads=files_at(
            f"{_HUB}/ariya2357/CORAL/resolve/main",
            "train/train_conversation.json",
            "test/test_conversation.json",
            "passage_corpus.json",
        ),
    ),
    "ultrachat": Entry(
        chatlogs.read_ultrachat,
        "MIT",
        "https://github.com/thunlp/UltraChat",
        task="responses",
        size="1.5M dialogues (9 GB)",
        downloads=files_at(
            f"{_HUB}/stingning/ultrachat/resolve/main", *(f"train_{n}.jsonl" for n in range(10))
        ),
    ),
    "openai-messages": Entry(
        chatlogs.read_messages,
        "that of the log",
        "https://platform.openai.com/docs/api-reference/chat",
        task="any chat log",
        by_hand="Chat logs are your own files.",
    ),
    "msmarco": Entry(
        adhoc.read_msmarco,
        "non-commercial research (MS MARCO)",
        "https://microsoft.github.io/msmarco",
        task=_ADHOC,
        size="8.8M passages, 0.5M judged queries",
        downloads=files_at(_MSMARCO, "collectionandqueries.tar.gz", unpack=True),
        must_accept=True,
    ),
    "nfcorpus": Entry(
        adhoc.beir("nfcorpus"),
        *_BEIR,
        task=_ADHOC,
        size="3,633 documents, 3,237 queries",
        downloads=files_at(_BEIR_FILES, "nfcorpus.zip"),
    ),
    "arguana": Entry(
        adhoc.beir("arguana"),
        *_BEIR,
        task=_ADHOC,
        size="8,674 documents, 1,406 queries",
        downloads=files_at(_BEIR_FILES, "arguana.zip"),
    ),
    "beir": Entry(
        adhoc.beir(),
        *_BEIR,
        task=f"{_ADHOC}: any set of BEIR",
        by_hand=f"Choose a set of {_BEIR_FILES}.",
    ),
    "inscit": Entry(inscit.read, "none stated", "https://github.com/ellenmellon/INSCIT", True),
    "mtrag-clapnq": Entry(mtrag.reader("clapnq"), *_RAG, "29 conversations, 183,408 passages"),
    "mtrag-cloud": Entry(mtrag.reader("cloud"), *_RAG, "26 conversations, 61,022 passages"),
    "mtrag-fiqa": Entry(mtrag.reader("fiqa"), *_RAG, "27 conversations, 49,607 passages"),
    "mtrag-govt": Entry(mtrag.reader("govt"), *_RAG, "28 conversations, 72,422 passages"),
    "mtrag-synthetic": Entry(mtrag.read_synthetic, *_MTRAG, False, _RAG[-1], "200 conversations"),
    "mtragun-clapnq": Entry(mtrag.un_reader("clapnq"), *_RAG, "142 conversations"),
    "mtragun-cloud": Entry(mtrag.un_reader("cloud"), *_RAG, "131 conversations"),
    "mtragun-fiqa": Entry(mtrag.un_reader("fiqa"), *_RAG),
    "mtragun-govt": Entry(mtrag.un_reader("govt"), *_RAG),
    "cast19": Entry(cast.reader(2019), *_CAST, "80 conversations"),
    "cast20": Entry(cast.reader(2020), *_CAST, "25 conversations"),
    "cast21": Entry(cast.reader(2021), *_CAST, "26 conversations"),
    "cast22": Entry(cast22.read, *_CAST, "18 trees of turns"),
    "ikat23": Entry(ikat.reader(2023), *_IKAT, "36 conversations"),
    "ikat24": Entry(ikat.reader(2024), *_IKAT, "17 conversations"),
    "ikat25": Entry(ikat.reader(2025), *_IKAT, "17 conversations"),
    "doc2dial": Entry(doc2dial.read, "Apache-2.0", "https://doc2dial.github.io"),
    "multidoc2dial": Entry(
        doc2dial.read_multi, "Apache-2.0", "https://doc2dial.github.io/multidoc2dial"
    ),
    "dstc10": Entry(dstc.reader("dstc10"), "Apache-2.0", _DSTC10),
    "dstc11": Entry(dstc.reader("dstc11"), "CDLA-Sharing-1.0", _DSTC11),
    "cmu_dog": Entry(
        chitchat.read_cmu_dog,
        "none stated",
        "https://github.com/festvox/datasets-CMU_DoG",
        task="chat about films",
        size="4,113 conversations",
    ),
    "topical_chat": Entry(
        chitchat.read_topical_chat,
        "CDLA-Sharing-1.0",
        "https://github.com/alexa/Topical-Chat",
        task="chat about topics",
        size="10,784 conversations",
    ),
    "wowpp": Entry(
        chitchat.read_wowpp,
        _CC_BY_SA,
        "https://github.com/alexa/wow-plus-plus",
        task="retrieval of sentences in chats",
        size="798 conversations, 200 in the topic split",
    ),
    "medquad": Entry(
        medquad.read,
        "CC BY 4.0",
        "https://github.com/abachaa/MedQuAD",
        task="retrieval warm-up",
        size="16,407 questions",
    ),
    "qed_nq": Entry(
        questions.read_qed, "CC BY-SA 3.0", "https://github.com/google-research-datasets/QED"
    ),
    "squad": Entry(
        questions.squad("1.1", "dev-v1.1.json", "dev-1.1.from_explore_html.json"), _CC_BY_SA, _SQUAD
    ),
    "squad2": Entry(
        questions.squad("2.0", "dev-v2.0.json", "dev-v2.0.from_explore_html.json"),
        _CC_BY_SA,
        _SQUAD,
    ),
    "clapnq": Entry(questions.read_clapnq, "Apache-2.0", "https://github.com/primeqa/clapnq"),
    "ottqa": Entry(questions.linked("ottqa"), "MIT", "https://github.com/wenhuchen/OTT-QA"),
    "hybridqa": Entry(questions.linked("hybridqa"), "MIT", "https://github.com/wenhuchen/HybridQA"),
}


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
