"""How good a model's responses are: with which passages, with how much history, resting on what.

    evaluate_responses(ResponseEvaluation(Path("dev.jsonl"), Path("out"), index=Path("wiki")))

Each kind of passages with each length of history is a part with a folder of its own
(``out/retrieved``, ``out/none-history-1``): ``predictions.jsonl``, which an interrupted evaluation
goes on with, ``queries.jsonl``, ``result.json`` and ``table.md``. ``out`` itself holds a
``result.json`` and a ``table.md`` of all parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.progress import track

from uniconv.citations import without_marks
from uniconv.config.strict import unstructure
from uniconv.data.lines import append_jsonl, write_jsonl, write_lines
from uniconv.evaluation.breakdowns import Groups, groups_of, write_groups
from uniconv.evaluation.chat_api import ChatClient
from uniconv.evaluation.collection import Draw
from uniconv.evaluation.predictions import (
    PREDICTIONS,
    Prediction,
    check_same,
    prediction_row,
    read_predictions,
)
from uniconv.evaluation.protocols import Part, Question, parts_of, questions_of
from uniconv.evaluation.responders import Opened, Search
from uniconv.evaluation.response_metrics import corpus_bleu
from uniconv.evaluation.response_scores import (
    Partial,
    markdown_of_parts,
    print_parts,
    summarise_parts,
    turn_measures,
    without_vain_abstention,
)
from uniconv.evaluation.response_settings import ResponseEvaluation
from uniconv.evaluation.summary import markdown
from uniconv.files import checksums, provenance, write_json

Inputs = Mapping[str, Mapping[str, str]]


def evaluate_responses(
    settings: ResponseEvaluation,
    *,
    search: Search | None = None,
    model: Any = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Runs the parts of an evaluation or goes on with them.

    ``search`` and the UniConv ``model`` (that responds, if not the search's) may be open already.

    Returns:
        The contents of ``out/result.json``: ``parts`` (see
        :func:`uniconv.evaluation.summary.summarise`), ``shared`` (the same over
        the turns that all parts have, where they differ), ``config`` and what produced it.

    Raises:
        UniConvError: an input is missing or malformed, a folder holds predictions that were made
            with other settings or by another model, or a server fails for good.
    """
    console = console or Console()
    if settings.bertscore is not None:
        from uniconv.evaluation.bertscore import check_installed

        check_installed()
    questions = questions_of(
        settings.conversations, settings.references, judged=settings.judged, limit=settings.limit
    )
    inputs = checksums(
        conversations=settings.conversations,
        references=settings.references,
        corpus=settings.corpus,
    )
    groups = groups_of({question.id: question.context for question in questions})
    opened = Opened(settings, inputs, search, model)
    measured: dict[str, Partial] = {}
    summaries: dict[str, Any] = {}
    for part in parts_of(settings.passages, settings.history):
        asked = opened.questions(part, questions)
        made_with = _respond(part, asked, settings, opened, inputs, console)
        values, about = _measure(part, asked, settings, opened, console)
        about |= {"part": part.name, "made_with": made_with}
        measured[part.name] = values
        summaries[part.name] = _write_part(part, values, groups, settings, inputs, about)
    return _write_all(settings, measured, groups, summaries, inputs, console)


def _respond(
    part: Part,
    questions: Sequence[Question],
    settings: ResponseEvaluation,
    opened: Opened,
    inputs: Inputs,
    console: Console,
) -> dict[str, Any]:
    """Responds to what is left of a part; gives all that its predictions depend on."""
    folder = settings.out / part.name
    folder.mkdir(parents=True, exist_ok=True)
    deciding = {
        "passages": part.passages,
        "history": part.history,
        "read": settings.read,
        "max_new_tokens": settings.max_new_tokens,
        "conversations": inputs["conversations"]["sha256"],
        **opened.deciding(part),
    }
    check_same(folder, deciding)
    done = read_predictions(folder)
    left = [question for question in questions if question.id not in done]
    if left:
        respond = opened.responder(part, left)

        def rows() -> Iterator[dict[str, Any]]:
            for one in track(left, f"Responding, {part.name}", console=console, transient=True):
                yield prediction_row(one, respond(one))

        append_jsonl(folder / PREDICTIONS, rows())
    return deciding


def _measure(
    part: Part,
    questions: Sequence[Question],
    settings: ResponseEvaluation,
    opened: Opened,
    console: Console,
) -> tuple[Partial, dict[str, Any]]:
    """The measures by turn, and what is told of the part beside their means."""
    folder = settings.out / part.name
    made = read_predictions(folder)
    predictions = {question.id: made[question.id] for question in questions}
    random = _random_passages(questions, predictions, settings, opened)
    values = {
        one.id: turn_measures(
            one,
            predictions[one.id],
            random.get(one.id, ()),
            scoring=settings.scoring,
            support=settings.support,
        )
        for one in questions
    }
    texts = [without_marks(predictions[one.id].text) for one in questions]
    references = [one.references for one in questions]
    about: dict[str, Any] = {"sacrebleu": corpus_bleu(texts, references)}
    tokens = [one.tokens for one in predictions.values() if one.tokens]
    if tokens:
        about["tokens"] = {kind: sum(row.get(kind, 0) for row in tokens) for kind in tokens[0]}
    if settings.bertscore is not None:
        from uniconv.evaluation.bertscore import bert_scores

        scores, about["bertscore"] = bert_scores(texts, references, settings.bertscore)
        for one, score in zip(questions, scores, strict=True):
            values[one.id]["bertscore"] = score
    if settings.judge is not None and settings.judge_model is not None:
        from uniconv.evaluation.judge import judge

        client = ChatClient(
            settings.judge,
            settings.judge_model,
            timeout=settings.timeout,
            retries=settings.retries,
        )
        grades, about["judge"] = judge(folder, questions, predictions, client, console)
        for id, grade in grades.items():
            values[id]["judge"] = float(grade)
    return without_vain_abstention(values), about


def _random_passages(
    questions: Sequence[Question],
    predictions: Mapping[str, Prediction],
    settings: ResponseEvaluation,
    opened: Opened,
) -> Mapping[str, Sequence[Any]]:
    """As many passages as were read for each turn, neither read nor relevant."""
    draws = {
        one.id: Draw(len(read), {*one.positives, *(passage.id for passage in read)})
        for one in questions
        if (read := predictions[one.id].read)
    }
    # Not the draw of the irrelevant passages, which were read.
    return opened.collection.draw(draws, settings.seed + 1) if draws else {}


def _write_part(
    part: Part,
    values: Partial,
    groups: Groups,
    settings: ResponseEvaluation,
    inputs: Inputs,
    about: Mapping[str, Any],
) -> dict[str, Any]:
    folder = settings.out / part.name
    summary = summarise_parts({part.name: values}, groups, settings.seed)[part.name]
    write_jsonl(folder / "queries.jsonl", ({"_id": id, **row} for id, row in values.items()))
    write_groups(folder, values, groups)
    write_lines(folder / "table.md", [markdown(f"Responses, {part.name}", summary)])
    origin = provenance(config=unstructure(settings), inputs=inputs)
    write_json(folder / "result.json", {**summary, **about, **origin})
    return {**summary, **about}


def _write_all(
    settings: ResponseEvaluation,
    measured: Mapping[str, Partial],
    groups: Groups,
    summaries: Mapping[str, Any],
    inputs: Inputs,
    console: Console,
) -> dict[str, Any]:
    """The table and the result of all parts; also over the turns that all of them have."""
    result: dict[str, Any] = {"parts": dict(summaries)}
    shown, title = summaries, "Responses"
    tables = [markdown_of_parts(title, summaries)]
    shared = set[str].intersection(*(set(values) for values in measured.values()))
    if shared and any(len(values) > len(shared) for values in measured.values()):
        common = {
            part: {id: row for id, row in values.items() if id in shared}
            for part, values in measured.items()
        }
        shown = result["shared"] = summarise_parts(common, groups, settings.seed)
        title = f"Responses, the {len(shared)} turns that all parts have"
        tables.append(markdown_of_parts(title, shown))
    result |= provenance(config=unstructure(settings), inputs=inputs)
    write_lines(settings.out / "table.md", tables)
    write_json(settings.out / "result.json", result)
    print_parts(title, shown, console)
    return result
