"""INSCIT: information-seeking conversations with several responses a turn, each with evidence.

Reads ``dev.json``. A turn's positives are the evidence of all its responses, its response the one
that the conversation went on from; all are its references. Passage ids are INSCIT's own under
``inscit:``, as in the shared Wikipedia corpus. It is evaluated on, never trained on.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from uniconv.data.dataset import DataSet, find, keep_known
from uniconv.data.lines import read_object
from uniconv.data.records import Record
from uniconv.types import UNANSWERABLE, Conversation, Passage, Turn

SPLIT = "dev"
_ANSWERABILITY = {
    "directAnswer": "answerable",
    "noAnswerButRelevantInfo": "partial",
    "noAnswerNoRelevantInfo": UNANSWERABLE,
}
"""The word for a turn that has a response of this type, and none of the types before it."""


def read(source: Path, corpus: Path | None = None) -> DataSet:
    """The dev split. Without a shared corpus its evidence passages become the corpus."""
    path = find(source, "dev.json")
    passages: dict[str, Passage] = {}
    references: dict[str, list[str]] = {}
    conversations = []
    for id, record in read_object(path).items():
        seed = record.record("seedArticle") if record.has("seedArticle") else None
        topic = seed.optional_text("topic") if seed else None
        turns = []
        rows = record.records("turns")
        for number, row in enumerate(rows):
            after = rows[number + 1] if number + 1 < len(rows) else None
            turn, responses, evidence = _turn(row, after)
            named = {**turn.attributes, **({"topic": topic} if topic else {})}
            turns.append(replace(turn, attributes=named))
            passages |= {passage.id: passage for passage in evidence}
            references[f"{id}_{number + 1}"] = responses
        if not turns:
            raise record.error("turns", "is empty; expected at least one turn")
        conversations.append(Conversation(id, tuple(turns)))
    splits = {SPLIT: conversations}
    known = keep_known(splits, corpus)
    own = None if corpus else list(passages.values())
    return DataSet(splits, (path,), own, references=references, counts=known)


def _turn(row: Record, after: Record | None) -> tuple[Turn, list[str], list[Passage]]:
    """A turn, all its responses and its evidence. ``after`` shows which response was taken."""
    context = row.texts("context")
    if not context:
        raise row.error("context", "is empty; expected the conversation up to the question")
    if not context[-1].strip():
        raise row.error(f"context[{len(context) - 1}]", "is empty; expected a question")
    labels = row.records("labels")
    responses = list(dict.fromkeys(label.text("response") for label in labels))
    if not responses:
        raise row.error("labels", "is empty; expected at least one response")
    evidence = [_passage(item) for label in labels for item in label.records("evidence")]
    response = responses[0]
    if after is not None:
        said = after.texts("context")
        if len(said) != len(context) + 2 or said[: len(context)] != context:
            raise after.error("context", "does not go on from the turn before it")
        response = said[len(context)]
    positives = tuple(dict.fromkeys(passage.id for passage in evidence))
    kinds = {label.optional_text("responseType") for label in labels}
    known = next((word for kind, word in _ANSWERABILITY.items() if kind in kinds), None)
    attributes = {"answerability": known} if known else {}
    turn = Turn(context[-1], response, positives=positives, attributes=attributes)
    return turn, responses, evidence


def _passage(item: Record) -> Passage:
    titles = item.texts("passage_titles")
    id = item.identifier("passage_id")
    return Passage(
        id=f"inscit:{id}",
        text=item.text("passage_text"),
        title=titles[0] if titles else id.rpartition(":")[0],
        metadata={"section": " > ".join(titles[1:])} if titles[1:] else {},
    )
