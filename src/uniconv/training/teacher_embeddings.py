"""A teacher's embeddings of all that a run may show, made once and kept on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress
from torch import Tensor

from uniconv.errors import ModelError
from uniconv.retrieval.encoding import ConversationEncoder, Shards, encode_corpus, write_shards
from uniconv.retrieval.vectors import Floats
from uniconv.training.collate import conversation_key, passage_key
from uniconv.training.distributed import processes, rank, wait
from uniconv.training.examples import Examples
from uniconv.types import Conversation, Passage

_ROWS = 512  # what a stop loses at most


class TeacherEmbeddings:
    """Embeddings of passages and conversations by their keys, float32, L2-normalised.

    ``temperature`` divides the teacher's similarities.
    """

    def __init__(
        self,
        temperature: float,
        passages: tuple[Sequence[int], Shards],
        conversations: tuple[Sequence[int], Shards],
    ) -> None:
        self.temperature = temperature
        self.passages = _Lookup(*passages)
        self.conversations = _Lookup(*conversations)


class _Lookup:
    """Vectors by key: int64 [n] to float32 [n, d], on the CPU."""

    def __init__(self, keys: Sequence[int], shards: Shards) -> None:
        self._rows = {key: row for row, key in enumerate(keys)}
        self._shards = shards

    def __call__(self, keys: Tensor) -> Tensor:
        rows = np.array([self._rows[key] for key in keys.tolist()], np.int64)
        return torch.from_numpy(self._shards.take(rows))


def embed_once(
    teacher: ConversationEncoder,
    parts: Sequence[Examples],
    folder: Path,
    *,
    temperature: float,
    reads: str,
    asked: Callable[[Conversation], Conversation] = lambda context: context,
) -> TeacherEmbeddings:
    """Encodes what the parts show, in ``folder``; what is there and still fits is kept.

    ``reads`` says how the teacher reads a conversation, beside its fingerprint, and ``asked`` what
    it is given for one. Processes share the work, and the folder.
    """
    passages = {passage_key(one): one for part in parts for one in _passages(part)}
    contexts = {
        conversation_key(one.context): one.context for part in parts for one in part.examples
    }
    talks = list(contexts.values())

    def block(rows: range) -> tuple[str, Callable[[], Floats]]:
        chosen = [talks[row] for row in rows]
        said = [(conversation_key(one), one.turns[-1].rewrite) for one in chosen]
        made_from = f"{teacher.fingerprint} {reads} {said}"
        digest = hashlib.sha256(made_from.encode()).hexdigest()
        return digest, lambda: _encode(teacher, [asked(one) for one in chosen])

    total = len(passages) + len(contexts)
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), disable=rank() > 0) as bar:
        task = bar.add_task("The teacher reads", total=total)
        of_passages = partial(
            encode_corpus,
            list(passages.values()),
            teacher,
            folder / "passages",
            rows_per_shard=_ROWS,
        )
        of_conversations = partial(
            write_shards, len(talks), block, folder / "conversations", rows_per_shard=_ROWS
        )
        for write in (of_passages, of_conversations):
            write(
                progress=lambda count: bar.advance(task, count * processes()),
                process=rank(),
                processes=processes(),
            )
    wait()
    return TeacherEmbeddings(
        temperature, (list(passages), of_passages()), (list(contexts), of_conversations())
    )


def _passages(part: Examples) -> Iterator[Passage]:
    """All that may be a document of a batch."""
    for source, named, pool in zip(part.sources, part.passages, part.pools, strict=True):
        if source.retrieval == "passages":
            yield from named.values()
            yield from pool
    for one in part.examples:
        if part.sources[one.source].retrieval == "responses" and one.turn.response:
            yield Passage(one.conversation.query_id(one.number), one.turn.response.strip())


def _encode(teacher: ConversationEncoder, conversations: Sequence[Conversation]) -> Floats:
    vectors = teacher.encode_conversations(conversations)
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        bad = conversations[int(np.flatnonzero(~finite)[0])]
        raise ModelError(
            f"the teacher's vector of conversation '{bad.id}', turn {len(bad.turns)}, holds values "
            "that are not numbers; check its weights"
        )
    return vectors
