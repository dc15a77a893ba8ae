"""MedQuAD: questions about diseases and drugs with long answers of health institutes.

Reads ``medquad.jsonl`` (source, focus, question, answer). The answer is the passage to find, with
the focus as its title, and not a response: it would be its own evidence. A question that several
institutes answer is asked once, with all answers as positives.
"""

from __future__ import annotations

from pathlib import Path

from uniconv.data.dataset import DataSet, find
from uniconv.data.lines import read_jsonl
from uniconv.data.records import Record
from uniconv.types import Conversation, Passage, Turn


def read(source: Path, corpus: Path | None = None) -> DataSet:
    """All questions, as a split ``train``."""
    del corpus  # the answers are its own
    path = find(source, "medquad.jsonl")
    passages: dict[tuple[str, str], Passage] = {}
    questions: dict[str, dict[str, None]] = {}
    repeated = 0

    def parse(record: Record) -> None:
        nonlocal repeated
        title, text = record.text("focus").strip(), record.spoken("answer").strip()
        passage = Passage(
            f"medquad:{len(passages)}", text, title, {"source": record.text("source")}
        )
        question = " ".join(record.spoken("question").replace(" ?", "?").split())
        repeated += question in questions
        found = questions.setdefault(question, {})
        found[passages.setdefault((title, text), passage).id] = None

    for _ in read_jsonl(path, parse):
        pass
    conversations = [
        Conversation(f"medquad_{number}", (Turn(question, positives=tuple(ids)),))
        for number, (question, ids) in enumerate(questions.items())
    ]
    counts = {"rows of a question that was there before": repeated}
    return DataSet({"train": conversations}, (path,), list(passages.values()), counts=counts)
