"""What is evaluated: a finished run, BM25, a UniConv model, or a sentence-transformers model."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from rich.console import Console
from rich.progress import Progress

from uniconv.data.beir import read_corpus
from uniconv.data.runs import Run, read_run
from uniconv.errors import DataError
from uniconv.evaluation.retrieval_settings import RetrievalEvaluation
from uniconv.retrieval.bm25 import BM25, passage_text
from uniconv.retrieval.building import build_index
from uniconv.retrieval.encoding import ConversationEncoder
from uniconv.retrieval.interface import Index
from uniconv.retrieval.queries import fuse, fused_depth, query_text
from uniconv.retrieval.vectors import Floats
from uniconv.types import Conversation, ScoredPassage

Contexts = Mapping[str, Conversation]
"""Query id to the conversation up to the question that is searched with."""
Retrieved = tuple[Run, dict[str, Any]]
"""The run, and what is to be told of the passages, the index and the model."""


def retrieve(
    settings: RetrievalEvaluation,
    contexts: Contexts,
    *,
    index: Index | None = None,
    model: ConversationEncoder | None = None,
    console: Console,
) -> Retrieved:
    """What the settings ask for; ``index`` and ``model`` may be open already.

    Raises:
        UniConvError: an input is missing or malformed, a query lacks its rewrite, or the index was
            made by another model.
    """
    if settings.run is not None:
        return _read(settings.run, contexts), {}
    if settings.encoder is not None and model is None:
        from uniconv.retrieval.sentence_encoder import SentenceEncoder

        model = SentenceEncoder(settings.encoder, settings.query)
        if settings.corpus is not None:
            build_index([settings.corpus], _folder(settings), model, exact_below=sys.maxsize)
    elif settings.corpus is not None:
        with console.status("Indexing and searching the corpus"):
            return _search_corpus(settings, settings.corpus, contexts)
    index = index or Index.open(_folder(settings))
    about = {
        "passages": len(index),
        "index": {"version": index.version, "exact": index.exact, **index.kept},
    }
    if settings.retriever == "bm25":
        return _run(contexts, index.search_text(_texts(settings, contexts), settings.k)), about
    model = model or _open_model(settings, index)
    index.check_model(model)
    about["model"] = {"name": model.name, "fingerprint": model.fingerprint}
    hybrid = settings.retriever == "hybrid"
    depth = fused_depth(settings.k) if hybrid else settings.k
    found = index.search(_encode(settings, model, contexts, console), depth)
    if hybrid:
        found = fuse(index, list(contexts.values()), found, settings.k)
    return _run(contexts, found), about


def _read(path: Path, contexts: Contexts) -> Run:
    run = read_run(path)
    if not run.keys() & contexts.keys():
        asked, held = next(iter(contexts)), next(iter(run), None)
        problem = f"holds none of the queries, such as '{asked}'"
        raise DataError(path, None, problem + (f"; its own are such as '{held}'" if held else ""))
    return {query: scores for query, scores in run.items() if query in contexts}


def _search_corpus(settings: RetrievalEvaluation, corpus: Path, contexts: Contexts) -> Retrieved:
    """BM25 over titles and texts, without an index to keep."""
    texts = _texts(settings, contexts)
    ids: list[str] = []

    def passages() -> Iterator[str]:
        for passage in read_corpus(corpus):
            ids.append(passage.id)
            yield passage_text(passage)

    with TemporaryDirectory() as folder:
        found = BM25.build(passages(), Path(folder)).search(texts, settings.k)
        run = {
            query: {ids[row]: float(score) for score, row in zip(scores, rows, strict=True)}
            for query, (scores, rows) in zip(contexts, found, strict=True)
        }
    return run, {"passages": len(ids)}


def _texts(settings: RetrievalEvaluation, contexts: Contexts) -> list[str]:
    return [query_text(context, settings.query) for context in contexts.values()]


def _folder(settings: RetrievalEvaluation) -> Path:
    return cast(Path, settings.index)


def _open_model(settings: RetrievalEvaluation, index: Index) -> ConversationEncoder:
    from uniconv.model import UniConv

    return UniConv.from_pretrained(settings.model or index.model_name)


def _encode(
    settings: RetrievalEvaluation,
    model: ConversationEncoder,
    contexts: Contexts,
    console: Console,
) -> Floats:
    """One embedding per context, float32 [n, d]."""
    conversations = list(contexts.values())
    if settings.encoder is None and settings.query != "history":
        texts = _texts(settings, contexts)
        conversations = [Conversation.start(text) for text in texts]
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("Reading conversations", total=len(contexts))
        return model.encode_conversations(
            conversations, progress=lambda done: progress.advance(task, done)
        )


def _run(contexts: Contexts, rankings: Sequence[Sequence[ScoredPassage]]) -> Run:
    return {
        query: {scored.passage.id: scored.score for scored in passages}
        for query, passages in zip(contexts, rankings, strict=True)
    }
