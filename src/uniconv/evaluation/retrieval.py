"""How well a retriever finds the relevant passages of conversational queries.

    evaluate_retrieval(RetrievalEvaluation(Path("dev.jsonl"), Path("out"), index=Path("wiki")))

writes ``run.trec``, ``qrels.tsv`` and ``result.json`` into the output folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from rich.console import Console
from rich.progress import Progress

from uniconv.config import QueryForm
from uniconv.config.strict import unstructure
from uniconv.data.beir import Qrels, read_corpus, read_qrels, write_qrels
from uniconv.data.conversations import qrels_of, read_conversations
from uniconv.data.runs import Run, write_run
from uniconv.errors import ConfigError, DataError
from uniconv.evaluation.retrieval_metrics import retrieval_metrics
from uniconv.evaluation.summary import print_summary, summarise
from uniconv.files import checksums, provenance, write_json
from uniconv.retrieval.queries import fuse, query_text
from uniconv.types import Conversation, ScoredPassage

if TYPE_CHECKING:
    from uniconv.model import UniConv
    from uniconv.retrieval.index import Index


@dataclass(frozen=True, slots=True)
class RetrievalEvaluation:
    """What is evaluated. Either ``index`` or, for BM25 alone, ``corpus`` is searched."""

    conversations: Path
    """Conversations as JSONL; every turn with positives is a query."""
    out: Path
    """The folder for the run, the judgements and the result."""
    index: Path | None = None
    """An index folder."""
    corpus: Path | None = None
    """A corpus.jsonl for BM25 alone, where there is no index."""
    retriever: Literal["dense", "bm25", "hybrid"] = "dense"
    """dense: the model's embeddings; bm25: words; hybrid: fused by rank, as search does."""
    query: QueryForm = "history"
    """What BM25 searches with: history (all questions and answers so far), last (the last
    question), questions (all questions, no answers) or rewrite (the last one made self-contained).
    Dense retrieval always reads the conversation, hybrid takes history and last."""
    qrels: Path | None = None
    """Judgements to use in place of the positives, under the ids conversation_turn."""
    model: str | None = None
    """Where the index's model is now, if it has moved."""
    k: int = 100
    """How many passages are retrieved for a query."""
    seed: int = 0
    """Of the bootstrap intervals."""

    def __post_init__(self) -> None:
        if (self.index is None) == (self.corpus is None):
            raise ConfigError("give an index, or a corpus for BM25 alone, and not both")
        if self.corpus is not None and self.retriever != "bm25":
            raise ConfigError(f"{self.retriever} retrieval needs an index; a corpus serves bm25")
        if self.k < 1:
            raise ConfigError(f"k must be 1 or more, not {self.k}")


def queries_of(path: Path, qrels_path: Path | None) -> tuple[dict[str, Conversation], Qrels]:
    """The contexts of the turns that have a relevant passage, and the judgements.

    Raises:
        DataError: a judged query is no turn of the conversations, or nothing is judged.
    """
    conversations = list(read_conversations(path))
    qrels = qrels_of(conversations) if qrels_path is None else read_qrels(qrels_path)
    qrels = {query: grades for query, grades in qrels.items() if max(grades.values()) > 0}
    turns = {
        one.query_id(number): (one, number)
        for one in conversations
        for number in range(1, len(one.turns) + 1)
    }
    unknown = next((query for query in qrels if query not in turns), None)
    if unknown is not None:
        raise DataError(qrels_path or path, None, f"query '{unknown}' is no turn in {path}")
    if not qrels:
        raise DataError(qrels_path or path, None, "has no query with a relevant passage")
    return {query: turns[query][0].context(turns[query][1]) for query in qrels}, qrels


def evaluate_retrieval(
    settings: RetrievalEvaluation,
    *,
    index: Index | None = None,
    model: UniConv | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Runs the evaluation; ``index`` and ``model`` may be given where they are open already.

    Returns:
        The contents of ``result.json``: ``queries``, ``metrics``, ``by_depth`` (see
        :func:`uniconv.evaluation.summary.summarise`), ``config`` and what produced it.

    Raises:
        UniConvError: an input is missing or malformed, or the index was made by another model.
    """
    console = console or Console()
    contexts, qrels = queries_of(settings.conversations, settings.qrels)
    run, about = _retrieve(settings, contexts, index, model, console)
    values = retrieval_metrics(qrels, run)
    depths = {query: len(context.turns) for query, context in contexts.items()}
    inputs = checksums(
        conversations=settings.conversations, qrels=settings.qrels, corpus=settings.corpus
    )
    summary = summarise(values, depths, settings.seed)
    result = {**summary, **provenance(config=unstructure(settings), inputs=inputs, **about)}
    write_run(settings.out / "run.trec", run, tag=f"uniconv-{settings.retriever}")
    write_qrels(settings.out / "qrels.tsv", qrels)
    write_json(settings.out / "result.json", result)
    print_summary(f"{settings.retriever} retrieval", summary, console)
    return result


def _retrieve(
    settings: RetrievalEvaluation,
    contexts: Mapping[str, Conversation],
    index: Index | None,
    model: UniConv | None,
    console: Console,
) -> tuple[Run, dict[str, Any]]:
    """The run, and what is to be told of the model and the passages."""
    texts = [query_text(context, settings.query) for context in contexts.values()]
    if settings.corpus is not None:
        with console.status("Indexing and searching the corpus"):
            return _search_corpus(settings.corpus, texts, contexts, settings.k)
    if index is None:
        from uniconv.retrieval.index import Index

        index = Index.open(cast(Path, settings.index))
    about: dict[str, Any] = {"passages": len(index)}
    if settings.retriever == "bm25":
        return _run(contexts, index.search_text(texts, settings.k)), about
    model = model or _open_model(settings, index)
    index.check_model(model)
    about["model"] = {"name": index.model_name, "fingerprint": model.fingerprint}
    conversations = list(contexts.values())
    found = index.search(_encode(model, conversations, console), settings.k)
    if settings.retriever == "hybrid":
        found = fuse(index, conversations, found, settings.k)
    return _run(contexts, found), about


def _search_corpus(
    corpus: Path, texts: Sequence[str], contexts: Mapping[str, Conversation], k: int
) -> tuple[Run, dict[str, Any]]:
    """BM25 over titles and texts, without an index to keep."""
    from uniconv.retrieval.bm25 import BM25, passage_text

    ids: list[str] = []

    def passages() -> Iterator[str]:
        for passage in read_corpus(corpus):
            ids.append(passage.id)
            yield passage_text(passage)

    with TemporaryDirectory() as folder:
        found = BM25.build(passages(), Path(folder)).search(texts, k)
        run = {
            query: {ids[row]: float(score) for score, row in zip(scores, rows, strict=True)}
            for query, (scores, rows) in zip(contexts, found, strict=True)
        }
    return run, {"passages": len(ids)}


def _run(contexts: Mapping[str, Conversation], ranking: Sequence[Sequence[ScoredPassage]]) -> Run:
    return {
        query: {scored.passage.id: scored.score for scored in passages}
        for query, passages in zip(contexts, ranking, strict=True)
    }


def _open_model(settings: RetrievalEvaluation, index: Index) -> UniConv:
    from uniconv.model import UniConv

    return UniConv.from_pretrained(settings.model or index.model_name)


def _encode(model: UniConv, contexts: Sequence[Conversation], console: Console) -> np.ndarray:
    """One embedding per context, float32 [n, d]."""
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("Reading conversations", total=len(contexts))
        return model.encode_conversations(
            contexts, progress=lambda done: progress.advance(task, done)
        )
