"""MTRAG: human multi-turn questions over Wikipedia (clapnq) and product manuals (cloud).

Reads ``mtrag_tasks.jsonl`` (all turns with their reference answers), the ``rewrite`` queries and
the judgements of the retrieval tasks, and the pooled passages. The query ids of the retrieval
tasks, ``conversation<::>turn``, become ``conversation_turn``. It is evaluated on, never trained on.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from uniconv.data.beir import Qrels, read_qrels, read_queries
from uniconv.data.dataset import DataSet, Reader, find
from uniconv.data.lines import read_jsonl
from uniconv.data.records import Record
from uniconv.errors import DataError
from uniconv.types import Conversation, Passage, Turn

SPLIT = "dev"
_SPEAKER = "|user|:"


def reader(domain: str) -> Reader:
    """The reader of one domain, ``clapnq`` or ``cloud``."""
    return partial(_read, domain)


def _read(domain: str, source: Path, corpus: Path | None = None) -> DataSet:
    del corpus  # the pool is its own
    tasks = find(source, "mtrag_tasks.jsonl")
    pool = find(source, "mtrag_passages_pooled.jsonl")
    folders = [f"{top}/retrieval_tasks/{domain}" for top in ("mtrag-human", "human")]
    rewrites = find(source, *(f"{folder}/{domain}_rewrite.jsonl" for folder in folders))
    judged = find(source, *(f"{folder}/qrels/dev.tsv" for folder in folders))
    qrels = read_qrels(judged)
    turns = _turns(domain, tasks, read_queries(rewrites), qrels)
    asked = {id for rows in turns.values() for id in rows}
    absent = sorted(qrels.keys() - asked)
    if absent:
        raise DataError(judged, None, f"query '{absent[0]}' is no turn of {tasks.name}")
    conversations = [_conversation(tasks, id, list(rows.values())) for id, rows in turns.items()]
    passages = [one for one in read_jsonl(pool, partial(_passage, domain), unique="_id") if one]
    return DataSet({SPLIT: conversations}, (tasks, pool, rewrites, judged), passages)


def _turns(
    domain: str, path: Path, rewrites: dict[str, str], qrels: Qrels
) -> dict[str, dict[str, tuple[int, Turn]]]:
    """Turns with their numbers, by conversation and by the native id."""
    conversations: dict[str, dict[str, tuple[int, Turn]]] = {}

    def parse(record: Record) -> None:
        if record.text("domain") != domain:
            return
        task = record.identifier("task_id")
        conversation, split, number = task.partition("<::>")
        if not split or not number.isdecimal():
            raise record.error("task_id", "has no turn number; expected conversation<::>turn")
        turn = Turn(record.spoken("input").strip(), record.text("gold_answer"))
        if task in rewrites:
            turn = replace(turn, rewrite=rewrites[task].removeprefix(_SPEAKER).strip())
        positives = tuple(id for id, grade in qrels.get(task, {}).items() if grade > 0)
        turn = replace(turn, positives=positives)
        conversations.setdefault(conversation, {})[task] = (int(number), turn)

    for _ in read_jsonl(path, parse, unique="task_id"):
        pass
    return conversations


def _conversation(path: Path, id: str, rows: list[tuple[int, Turn]]) -> Conversation:
    rows.sort(key=lambda row: row[0])
    numbers = [number for number, _ in rows]
    if numbers != list(range(1, len(rows) + 1)):
        raise DataError(path, None, f"conversation '{id}' has turns {numbers}, expected all from 1")
    return Conversation(id, tuple(turn for _, turn in rows))


def _passage(domain: str, record: Record) -> Passage | None:
    if record.text("domain") != domain:
        return None
    return Passage(record.identifier("_id"), record.text("text"), record.text("title"))
