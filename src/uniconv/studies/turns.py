"""Answers turns with one model or with two, in a process of its own, and writes what they cost.

    python -m uniconv.studies.turns SETTINGS.json OUT.json

A process of its own, because memory that a process has taken is not given back for the next side
to take anew. :mod:`uniconv.studies.overhead` starts it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import psutil
import torch

from uniconv.data.conversations import read_conversations
from uniconv.files import write_json
from uniconv.model import UniConv
from uniconv.retrieval.index import Index
from uniconv.types import Conversation


def cost(settings: dict[str, Any]) -> dict[str, Any]:
    """What it costs to load the models and answer the turns.

    Args:
        settings: ``retriever``; ``generator``, or null where one model does both; ``index``,
            ``conversations``, ``turns``, ``read`` and ``max_new_tokens``.

    Returns:
        ``load_seconds``, ``resident_bytes`` (what loading and one answer added to the process, and
        on a GPU to its memory) and ``turns``, by query id: ``first_token_seconds``, ``seconds``,
        ``tokens_read`` and ``tokens_written``.
    """
    index = Index.open(settings["index"])
    before = _memory()
    started = time.perf_counter()
    retriever = UniConv.from_pretrained(settings["retriever"])
    second = settings["generator"]
    generator = retriever if second is None else UniConv.from_pretrained(second)
    loaded = time.perf_counter() - started
    index.check_model(retriever)
    asked = list(islice(_contexts(Path(settings["conversations"])), settings["turns"]))
    about = (index, settings["read"], settings["max_new_tokens"])
    # Not timed: weights are read from the disk when they are first used.
    answer(retriever, generator, asked[0][1], *about)
    resident = _memory() - before
    turns = {id: answer(retriever, generator, context, *about) for id, context in asked}
    return {"load_seconds": loaded, "resident_bytes": resident, "turns": turns}


def answer(
    retriever: UniConv,
    generator: UniConv,
    conversation: Conversation,
    index: Index,
    read: int,
    max_new_tokens: int,
) -> dict[str, float]:
    """Retrieves for a conversation and answers it; the generator reads it again if it is another
    model. Times are in seconds from the question."""
    started = time.perf_counter()
    reading = retriever.read(conversation)
    scored = index.search(reading.embedding[None], read)[0]
    passages = [one.passage for one in scored]
    tokens = len(reading.tokens) + 1
    if generator is not retriever:
        reading = generator.read(conversation)
        tokens += len(reading.tokens) + 1
    fitting = generator.fitting(reading, passages, max_new_tokens)
    tokens += len(generator.template.answer_suffix(fitting))
    pieces = generator.generate(reading, fitting, max_new_tokens=max_new_tokens)
    next(pieces, None)
    first = time.perf_counter() - started
    written = 1 + sum(1 for _ in pieces)
    return {
        "first_token_seconds": first,
        "seconds": time.perf_counter() - started,
        "tokens_read": tokens,
        "tokens_written": written,
    }


def _contexts(path: Path) -> Iterator[tuple[str, Conversation]]:
    for one in read_conversations(path):
        for number in range(1, len(one.turns) + 1):
            yield one.query_id(number), one.context(number)


def _memory() -> int:
    """Bytes in RAM that are this process's, and on a GPU those that tensors take."""
    gpu = torch.cuda.memory_allocated() if torch.cuda.is_available() else 0
    return int(psutil.Process().memory_info().rss) + gpu


if __name__ == "__main__":
    write_json(Path(sys.argv[2]), cost(json.loads(Path(sys.argv[1]).read_text("utf-8"))))
