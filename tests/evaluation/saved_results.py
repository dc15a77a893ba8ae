"""A retrieval result and a response result in the evaluations' formats, for what reads them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from uniconv.data.beir import write_corpus, write_qrels
from uniconv.data.conversations import qrels_of, write_conversations
from uniconv.data.lines import write_jsonl
from uniconv.data.runs import Run, write_run
from uniconv.evaluation.retrieval_metrics import retrieval_metrics
from uniconv.files import write_json
from uniconv.types import Conversation, Passage, Turn

PASSAGES = [
    Passage("tower#1", "The tower was finished in 1893 and stands near the harbour.", "Tower"),
    Passage("tower#2", "A storm damaged the roof of the tower.", "Storm"),
    Passage("bridge#1", "The bridge crosses the river twice.", "Bridge"),
]
NO = {"answerability": "unanswerable"}
CONVERSATION = Conversation(
    "c",
    (
        Turn("When was the tower finished?", "In 1893.", positives=("tower#1",)),
        Turn("Where is it?", "Near the harbour.", positives=("tower#1",)),
        Turn("Who painted it?", "I don't know.", attributes=NO),
        Turn("What did the storm do?", "It damaged the roof.", positives=("tower#2",)),
    ),
)
RUN: Run = {
    "c_1": {"tower#1": 0.9, "bridge#1": 0.2},
    "c_2": {"bridge#1": 0.8, "tower#2": 0.7, "tower#1": 0.1},
    "c_4": {"bridge#1": 0.5},
}


def write_inputs(folder: Path, conversation: Conversation = CONVERSATION) -> dict[str, str]:
    """The conversations and the corpus; gives the settings that name them."""
    write_conversations(folder / "dev.jsonl", [conversation])
    write_corpus(folder / "corpus.jsonl", PASSAGES)
    return {
        "conversations": str(folder / "dev.jsonl"),
        "corpus": str(folder / "corpus.jsonl"),
    }


def write_retrieval(
    folder: Path,
    config: Mapping[str, Any],
    run: Run = RUN,
    conversation: Conversation | None = None,
) -> Path:
    """A retrieval result; gives its folder."""
    qrels = qrels_of([conversation or CONVERSATION])
    values = retrieval_metrics(qrels, run)
    write_run(folder / "run.trec", run)
    write_qrels(folder / "qrels.tsv", qrels)
    write_jsonl(folder / "queries.jsonl", ({"_id": id, **row} for id, row in values.items()))
    write_json(folder / "result.json", {"config": dict(config), "queries": len(values)})
    return folder


def prediction_row(
    id: str,
    text: str,
    read: list[Passage],
    *,
    declined: bool = False,
    confidence: float | None = None,
) -> dict[str, Any]:
    """A line of predictions.jsonl."""
    return {
        "_id": id,
        "prediction": text,
        "found": not declined,
        "declined": declined,
        "confidence": confidence,
        "citations": [],
        "passages": [{"_id": one.id, "title": one.title, "text": one.text} for one in read],
        "timings": {},
        "tokens": {},
    }


def write_response(
    folder: Path,
    config: Mapping[str, Any],
    rows: list[dict[str, Any]],
    f1: Mapping[str, float],
) -> Path:
    """A response result of one part; gives the folder that holds the part's."""
    part = folder / "retrieved"
    part.mkdir(parents=True)
    write_jsonl(part / "predictions.jsonl", rows)
    write_jsonl(part / "queries.jsonl", ({"_id": id, "f1": value} for id, value in f1.items()))
    write_json(part / "result.json", {"config": dict(config)})
    write_json(folder / "result.json", {"config": dict(config), "parts": {"retrieved": {}}})
    return folder
