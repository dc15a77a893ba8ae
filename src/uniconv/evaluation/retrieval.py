"""How well a retriever finds the relevant passages of conversational queries.

evaluate_retrieval(RetrievalEvaluation(Path("dev.jsonl"), Path("out"), index=Path("wiki")))

writes ``run.trec``, ``qrels.tsv``, the values and groups of every query (``queries.jsonl``,
``groups.jsonl``), ``table.md`` and, last, ``result.json`` into the output folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from uniconv.config.strict import unstructure
from uniconv.data.beir import Qrels, read_qrels, write_qrels
from uniconv.data.conversations import qrels_of, read_conversations
from uniconv.data.lines import write_jsonl, write_lines
from uniconv.data.runs import Run, write_run
from uniconv.errors import DataError
from uniconv.evaluation.breakdowns import gold_seen, groups_of, read_positives, write_groups
from uniconv.evaluation.retrieval_metrics import retrieval_metrics
from uniconv.evaluation.retrieval_settings import RetrievalEvaluation
from uniconv.evaluation.retrievers import retrieve
from uniconv.evaluation.summary import markdown, print_summary, summarise
from uniconv.files import checksums, provenance, write_json
from uniconv.retrieval.encoding import ConversationEncoder
from uniconv.retrieval.interface import Index
from uniconv.types import Conversation


def evaluate_retrieval(
    settings: RetrievalEvaluation,
    *,
    index: Index | None = None,
    model: ConversationEncoder | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Runs the evaluation; ``index`` and ``model`` may be given where they are open already.

    Returns:
        The contents of ``result.json``: ``queries``, ``metrics``, ``breakdowns`` (see
        :func:`uniconv.evaluation.summary.summarise`), ``config`` and what produced it.

    Raises:
        UniConvError: an input is missing or malformed, or the index was made by another model.
    """
    console = console or Console()
    contexts, qrels = queries_of(settings.conversations, settings.qrels, settings.relevant)
    groups = groups_of(contexts)
    if settings.train:
        groups["gold"] = gold_seen(qrels, read_positives(settings.train), settings.relevant)
    run, about = retrieve(settings, contexts, index=index, model=model, console=console)
    run = without_own(run, contexts, qrels)
    inputs = checksums(
        conversations=settings.conversations,
        qrels=settings.qrels,
        corpus=settings.corpus,
        run=settings.run,
        **{f"train {number}": path for number, path in enumerate(settings.train, start=1)},
    )
    values = retrieval_metrics(qrels, run, settings.relevant)
    summary = summarise(values, groups, settings.seed)
    result = {**summary, **provenance(config=unstructure(settings), inputs=inputs, **about)}
    out, title = settings.out, f"Retrieval: {settings.system}"
    (out / "result.json").unlink(missing_ok=True)  # it comes last: without it, nothing is whole
    write_run(out / "run.trec", run, tag=f"uniconv-{settings.retriever}")
    write_qrels(out / "qrels.tsv", qrels)
    write_jsonl(out / "queries.jsonl", ({"_id": id, **row} for id, row in values.items()))
    write_groups(out, values, groups)
    write_lines(out / "table.md", markdown(title, summary).splitlines())
    write_json(out / "result.json", result)
    print_summary(title, summary, console)
    return result


def queries_of(
    path: Path, qrels_path: Path | None, relevant: int = 1
) -> tuple[dict[str, Conversation], Qrels]:
    """The contexts of the turns that have a relevant passage, and the judgements.

    Raises:
        DataError: a judged query is no turn of the conversations, or nothing is judged.
    """
    conversations = list(read_conversations(path))
    qrels = qrels_of(conversations) if qrels_path is None else read_qrels(qrels_path)
    qrels = {query: grades for query, grades in qrels.items() if max(grades.values()) >= relevant}
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


def without_own(run: Run, contexts: Mapping[str, Conversation], qrels: Qrels) -> Run:
    """The run without passages that are the query itself: they have its conversation's id.

    So does BEIR, where ArguAna asks with arguments of the corpus for their counterarguments. A
    passage that is judged stays.
    """
    return {
        query: {
            passage: score
            for passage, score in scores.items()
            if passage != contexts[query].id or passage in qrels[query]
        }
        for query, scores in run.items()
    }
