"""How close a model's responses come to the reference responses of conversations.

    evaluate_responses(ResponseEvaluation(Path("dev.jsonl"), Path("out"), index=Path("wiki")))

writes ``predictions.jsonl`` turn by turn, goes on where it stopped, and ends with ``result.json``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from rich.console import Console
from rich.progress import track

from uniconv.citations import without_marks
from uniconv.config.strict import unstructure
from uniconv.data.beir import read_corpus
from uniconv.data.conversations import read_conversations
from uniconv.data.lines import read_jsonl, read_object
from uniconv.data.records import Record
from uniconv.errors import ConfigError, DataError, UniConvError
from uniconv.evaluation.response_metrics import response_metrics
from uniconv.evaluation.summary import print_summary, summarise
from uniconv.files import checksums, provenance, write_json
from uniconv.types import Answer, Conversation, Passage

if TYPE_CHECKING:
    from uniconv.model import UniConv

# What a prediction depends on: the rest may change when an evaluation is gone on with.
_DECIDING = ("passages", "index", "corpus", "model", "retriever", "read", "max_new_tokens")


class Search(Protocol):
    """What answers a conversation from an index, as ConversationalSearch does."""

    def ask(self, conversation: Conversation) -> Answer:
        """The answer to the conversation's open question."""
        ...


@dataclass(frozen=True, slots=True)
class ResponseEvaluation:
    """What is evaluated: the response to every turn that has a reference."""

    conversations: Path
    """Conversations as JSONL."""
    out: Path
    """The folder for predictions and the result."""
    passages: Literal["retrieved", "relevant", "none"] = "retrieved"
    """retrieved: the whole search; relevant: the turn's positives (an upper bound, for turns that
    have any); none: the model alone."""
    index: Path | None = None
    """An index folder, for retrieved passages."""
    corpus: Path | None = None
    """A corpus.jsonl with the relevant passages."""
    model: str | None = None
    """The model; the index's own where there is an index."""
    retriever: Literal["hybrid", "dense", "bm25"] = "hybrid"
    """How passages are retrieved."""
    read: int = 3
    """How many passages the model reads at most."""
    references: Path | None = None
    """Further reference responses by query id, as data sets with several have them."""
    judged: bool = False
    """Only turns with positives, so that the three kinds of passages can be compared."""
    max_new_tokens: int = 128
    """The longest response."""
    limit: int | None = None
    """Only so many turns, the first ones."""
    seed: int = 0
    """Of the bootstrap intervals."""

    def __post_init__(self) -> None:
        if self.passages == "retrieved" and self.index is None:
            raise ConfigError("retrieved passages need an index")
        if self.passages == "relevant" and self.corpus is None:
            raise ConfigError("relevant passages need the corpus that holds them")
        if self.passages != "retrieved" and self.model is None:
            raise ConfigError("give the model that is to respond")
        if self.read < 1 or self.max_new_tokens < 1:
            raise ConfigError("read and max_new_tokens must be 1 or more")


@dataclass(frozen=True, slots=True)
class Question:
    """A turn to respond to: its context, references and relevant passages' ids."""

    id: str
    context: Conversation
    references: tuple[str, ...]
    positives: tuple[str, ...]


def evaluate_responses(
    settings: ResponseEvaluation,
    *,
    search: Search | None = None,
    model: UniConv | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Runs the evaluation or goes on with it; ``search`` and ``model`` may be open already.

    Returns:
        The contents of ``result.json``: ``queries``, ``metrics``, ``by_depth`` (see
        :func:`uniconv.evaluation.summary.summarise`), ``config`` and what produced it.

    Raises:
        UniConvError: an input is missing or malformed, or the folder holds predictions that were
            made with other settings.
    """
    console = console or Console()
    questions = questions_of(settings)
    inputs = checksums(
        conversations=settings.conversations,
        references=settings.references,
        corpus=settings.corpus,
    )
    settings.out.mkdir(parents=True, exist_ok=True)
    _check_same(settings, inputs)
    predictions = settings.out / "predictions.jsonl"
    done = _resume(predictions)
    left = [question for question in questions if question.id not in done]
    if left:
        responder = _Responder(settings, left, search, model)
        with predictions.open("a", encoding="utf-8") as file:
            for question in track(left, "Responding", console=console, transient=True):
                text, passages = responder.respond(question)
                row = {"_id": question.id, "prediction": text, "passages": passages}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                file.flush()
                done[question.id] = text
    values = {
        question.id: response_metrics(without_marks(done[question.id]), question.references)
        for question in questions
    }
    depths = {question.id: len(question.context.turns) for question in questions}
    summary = summarise(values, depths, settings.seed)
    result = {**summary, **provenance(config=unstructure(settings), inputs=inputs)}
    write_json(settings.out / "result.json", result)
    print_summary(f"Responses, {settings.passages} passages", summary, console)
    return result


def questions_of(settings: ResponseEvaluation) -> list[Question]:
    """The turns that are evaluated.

    Raises:
        DataError: there are none, or a file is malformed.
    """
    further = {} if settings.references is None else _read_references(settings.references)
    judged = settings.judged or settings.passages == "relevant"
    questions = []
    for one in read_conversations(settings.conversations):
        for number, turn in enumerate(one.turns, start=1):
            id = one.query_id(number)
            own = (turn.response,) if turn.response else ()
            references = tuple(dict.fromkeys((*own, *further.get(id, ()))))
            if references and (turn.positives or not judged):
                questions.append(Question(id, one.context(number), references, turn.positives))
    if not questions:
        kind = "response and positives" if judged else "response"
        raise DataError(settings.conversations, None, f"has no turn with a {kind}")
    return questions[: settings.limit]


def _read_references(path: Path) -> dict[str, tuple[str, ...]]:
    def parse(record: Record) -> tuple[str, tuple[str, ...]]:
        return record.identifier("_id"), record.texts("references")

    return dict(read_jsonl(path, parse, unique="_id"))


def _check_same(settings: ResponseEvaluation, inputs: Mapping[str, Any]) -> None:
    """Predictions made with other settings must not be gone on with."""
    now = {name: value for name, value in unstructure(settings).items() if name in _DECIDING}
    now["conversations"] = inputs["conversations"]["sha256"]
    path = settings.out / "settings.json"
    if not path.exists() and not (settings.out / "predictions.jsonl").exists():
        write_json(path, now)
        return
    before = read_object(path).fields
    changed = [name for name in now if now[name] != before.get(name)]
    if changed:
        raise UniConvError(
            f"{settings.out}: holds predictions made with other {' and '.join(changed)}; choose "
            "another folder or delete it"
        )


def _resume(path: Path) -> dict[str, str]:
    """Predictions so far by query id. A line cut off by an interruption is removed."""
    if not path.exists():
        return {}
    whole = path.read_bytes()
    kept = whole[: whole.rfind(b"\n") + 1]
    if len(kept) < len(whole):
        with path.open("r+b") as file:
            file.truncate(len(kept))

    def parse(record: Record) -> tuple[str, str]:
        return record.identifier("_id"), record.text("prediction")

    return dict(read_jsonl(path, parse, unique="_id"))


class _Responder:
    """Responds to questions with the passages that the settings ask for."""

    def __init__(
        self,
        settings: ResponseEvaluation,
        questions: Sequence[Question],
        search: Search | None,
        model: UniConv | None,
    ) -> None:
        self._settings = settings
        self._relevant: dict[str, Passage] = {}
        if settings.passages == "retrieved":
            self._search = search or _open_search(settings)
            return
        if settings.passages == "relevant":
            needed = {id for question in questions for id in question.positives}
            corpus = cast(Path, settings.corpus)
            self._relevant = {one.id: one for one in read_corpus(corpus) if one.id in needed}
            missing = sorted(needed - self._relevant.keys())
            if missing:
                problem = f"lacks {len(missing)} relevant passages, such as '{missing[0]}'"
                raise DataError(corpus, None, problem)
        self._model = model or _open_model(cast(str, settings.model))

    def respond(self, question: Question) -> tuple[str, list[str]]:
        """The response and the ids of the passages that were read."""
        if self._settings.passages == "retrieved":
            answer = self._search.ask(question.context)
            read = answer.passages[: self._settings.read] if answer.found else ()
            return answer.text, [scored.passage.id for scored in read]
        passages = [self._relevant[id] for id in question.positives] if self._relevant else []
        passages = passages[: self._settings.read]
        pieces: Iterator[str] = self._model.generate(
            question.context, passages, max_new_tokens=self._settings.max_new_tokens
        )
        return "".join(pieces).strip(), [passage.id for passage in passages]


def _open_model(source: str) -> UniConv:
    from uniconv.model import UniConv

    return UniConv.from_pretrained(source)


def _open_search(settings: ResponseEvaluation) -> Search:
    from uniconv.retrieval.index import Index
    from uniconv.search import ConversationalSearch, SearchSettings

    index = Index.open(cast(Path, settings.index))
    return ConversationalSearch(
        _open_model(settings.model or index.model_name),
        index,
        SearchSettings(
            retriever=settings.retriever,
            retrieve=max(10, settings.read),
            read=settings.read,
            max_new_tokens=settings.max_new_tokens,
        ),
    )
