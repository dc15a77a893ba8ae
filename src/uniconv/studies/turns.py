"""What it costs to load models and to answer turns, measured in a process of its own.

    python -m uniconv.studies.turns SETTINGS.json OUT.json

A process of its own, because memory that a process has taken is not given back for the next
measurement to take anew. :mod:`uniconv.studies.overhead` starts it.
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
from uniconv.retrieval.interface import Index
from uniconv.types import Conversation


def loading(settings: dict[str, Any]) -> dict[str, float]:
    """What it costs to have a side's models ready.

    Args:
        settings: ``retriever``; ``generator``, or null where one model does both; ``index``,
            ``conversations``, ``read`` and ``max_new_tokens``.

    Returns:
        ``load_seconds``; ``weight_bytes`` of all parameters; ``resident_bytes``, what loading and
        one answer added to the process and, on a GPU, to its memory. The latter holds libraries'
        code and pages of the index as well.
    """
    index = Index.open(settings["index"])
    before = _memory()
    started = time.perf_counter()
    retriever = UniConv.from_pretrained(settings["retriever"])
    second = settings["generator"]
    generator = retriever if second is None else UniConv.from_pretrained(second)
    loaded = time.perf_counter() - started
    index.check_model(retriever)
    _, context = next(_contexts(Path(settings["conversations"])))
    # Weights are read from the disk when they are first used.
    answer(retriever, generator, context, index, settings["read"], settings["max_new_tokens"])
    models = [retriever] if second is None else [retriever, generator]
    weights = sum(_weight_bytes(one) for one in models)
    resident = _memory() - before
    return {"load_seconds": loaded, "weight_bytes": weights, "resident_bytes": resident}


def answering(settings: dict[str, Any]) -> dict[str, dict[str, dict[str, float]]]:
    """What it costs each side to answer turns, one turn after another, sides taking turns.

    Both sides are in one process, so that whatever else the machine does falls on both.

    Args:
        settings: ``unified``, ``retriever``, ``generator``, ``index`` and ``pair_index``,
            ``conversations``, ``turns``, ``read``, ``max_new_tokens`` and ``round``.

    Returns:
        By side and query id: ``first_token_seconds``, ``seconds``, ``tokens_read`` and
        ``tokens_written``.
    """
    unified = UniConv.from_pretrained(settings["unified"])
    same = settings["retriever"] == settings["unified"]
    retriever = unified if same else UniConv.from_pretrained(settings["retriever"])
    generator = UniConv.from_pretrained(settings["generator"])
    index, pair_index = (Index.open(settings[name]) for name in ("index", "pair_index"))
    sides = {
        "unified": (unified, unified, index),
        "separate": (retriever, generator, pair_index),
    }
    for retrieves, _, searched in sides.values():
        searched.check_model(retrieves)
    asked = list(islice(_contexts(Path(settings["conversations"])), settings["turns"]))
    about = (settings["read"], settings["max_new_tokens"])
    measured: dict[str, dict[str, dict[str, float]]] = {side: {} for side in sides}
    for retrieves, writes, searched in sides.values():  # not timed: weights come from the disk
        answer(retrieves, writes, asked[0][1], searched, *about)
    for number, (id, context) in enumerate(asked, start=settings["round"]):
        for side in sides if number % 2 else reversed(sides):
            retrieves, writes, searched = sides[side]
            measured[side][id] = answer(retrieves, writes, context, searched, *about)
    return measured


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


def _weight_bytes(model: UniConv) -> int:
    return sum(one.numel() * one.element_size() for one in model.network.parameters())


def _memory() -> int:
    """Bytes in RAM that are this process's, and on a GPU those that tensors take."""
    gpu = torch.cuda.memory_allocated() if torch.cuda.is_available() else 0
    return int(psutil.Process().memory_info().rss) + gpu


def main(told: Path, out: Path) -> None:
    """Measures what the settings ask for and writes it."""
    settings = json.loads(told.read_text("utf-8"))
    write_json(out, answering(settings) if "unified" in settings else loading(settings))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
