"""All that saved results and their conversations say of each turn, read for inspection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from uniconv.citations import marked_numbers
from uniconv.data.beir import read_qrels
from uniconv.data.conversations import read_conversations
from uniconv.data.lines import read_jsonl
from uniconv.data.records import Record
from uniconv.data.runs import ranked, read_run
from uniconv.errors import ConfigError, DataError, UniConvError
from uniconv.evaluation.abstention import confidence_of
from uniconv.evaluation.breakdowns import read_groups
from uniconv.evaluation.predictions import Prediction, prediction
from uniconv.evaluation.protocols import questions_of
from uniconv.evaluation.reasons import Outcome
from uniconv.evaluation.saved import PREDICTIONS, QRELS, RUN, SavedResult, read_results
from uniconv.types import UNANSWERABLE, Conversation, Turn

_LABELS = {"topic": "turn", "gold": "relevant passages in training"}


@dataclass(frozen=True, slots=True)
class Made:
    """A response, and the confidence of the search that it came from."""

    prediction: Prediction
    confidence: float | None

    @property
    def cited(self) -> frozenset[int]:
        """The numbers, from 1, of the passages read that it cites."""
        read = len(self.prediction.read)
        return frozenset(n for n in marked_numbers(self.prediction.text) if 1 <= n <= read)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of one turn; None stands for what isn't.

    ``relevant`` are ids and grades, ``retrieved`` ids and scores, best first. ``groups`` are
    those of the results' breakdowns.
    """

    id: str
    conversation: Conversation
    depth: int
    relevant: Mapping[str, int]
    retrieved: Sequence[tuple[str, float]] | None
    last_question: Sequence[tuple[str, float]] | None
    made: Made | None
    references: tuple[str, ...]
    groups: Mapping[str, Sequence[str]]
    values: Mapping[str, float]

    @property
    def turn(self) -> Turn:
        """The turn itself."""
        return self.conversation.turns[self.depth - 1]

    @property
    def labels(self) -> list[tuple[str, str]]:
        """What annotators and breakdowns say of the turn."""
        told = [(_LABELS[name], group) for name in _LABELS for group in self.groups.get(name, ())]
        return [*self.turn.attributes.items(), *told]

    @property
    def outcome(self) -> Outcome:
        """What its reason is told from."""
        label = self.turn.attributes.get("answerability")
        known = Outcome(
            relevant=frozenset(self.relevant),
            ranking=None if self.retrieved is None else [id for id, _ in self.retrieved],
            f1=self.values.get("f1"),
            answerable=None if label is None else label != UNANSWERABLE,
        )
        if self.made is None:
            return known
        made = self.made.prediction
        cited = frozenset(made.read[number - 1].id for number in self.made.cited)
        return replace(known, answer=made.text, declined=made.declined, read=made.read, cited=cited)


@dataclass(frozen=True, slots=True)
class Sources:
    """The results that are inspected together, and where their conversations are."""

    retrieval: SavedResult | None
    response: SavedResult | None
    last_question: SavedResult | None
    conversations: Path

    @property
    def results(self) -> list[SavedResult]:
        """Those that are there."""
        return [one for one in (self.retrieval, self.response) if one is not None]


def find_sources(
    folders: Sequence[Path], last_question: Path | None, conversations: Path | None
) -> Sources:
    """The results in these folders.

    Raises:
        UniConvError: there is more than one of a kind, or the conversations are gone.
    """
    results = read_results(folders)
    chosen: dict[str, SavedResult] = {}
    for result in results:
        if result.kind in chosen:
            names = f"'{chosen[result.kind].folder}' and '{result.folder}'"
            raise ConfigError(
                f"{names} are both {result.kind} results; inspect one of a kind at a time"
            )
        chosen[result.kind] = result
    extra = None if last_question is None else read_results([last_question])[0]
    if extra is not None and (extra.kind != "retrieval" or extra.config.get("query") != "last"):
        raise ConfigError(
            f"{extra.folder}: is no retrieval result of the last questions alone (--query last)"
        )
    path = conversations or results[0].path("conversations")
    if path is None or not path.exists():
        raise UniConvError(
            f"the conversations of {results[0].folder} are no longer at {path}; name their file "
            "with --conversations"
        )
    return Sources(chosen.get("retrieval"), chosen.get("response"), extra, path)


def read_evidence(sources: Sources) -> list[Evidence]:
    """Every turn that a result has, in the order of the conversations.

    Raises:
        DataError: a result has a turn that the conversations lack, or a file is malformed.
    """
    retrieval, response = sources.retrieval, sources.response
    qrels = read_qrels(retrieval.folder / QRELS) if retrieval else {}
    run = _ranking(retrieval)
    last = _ranking(sources.last_question)
    made = _responses(response) if response else {}
    references = _references(response, sources.conversations) if response else {}
    groups = [read_groups(result.folder) for result in sources.results]
    wanted = {*qrels, *made}
    found = []
    for query, one, depth in _turns(read_conversations(sources.conversations)):
        if query not in wanted:
            continue
        wanted.remove(query)
        turn = one.turns[depth - 1]
        judged = qrels.get(query) or dict.fromkeys(turn.positives, 1)
        relevant = {id: grade for id, grade in judged.items() if grade > 0}
        values: dict[str, float] = {}
        for result in sources.results:
            values |= result.values.get(query, {})
        found.append(
            Evidence(
                id=query,
                conversation=one,
                depth=depth,
                relevant=relevant,
                retrieved=run.get(query, []) if run is not None and query in qrels else None,
                last_question=last.get(query, []) if last is not None else None,
                made=made.get(query),
                references=references.get(query) or tuple(filter(None, (turn.response,))),
                groups={
                    name: of[query]
                    for result in groups
                    for name, of in result.items()
                    if query in of
                },
                values=values,
            )
        )
    if wanted:
        problem = f"has no turn '{min(wanted)}'; is it the file that the result was made with?"
        raise DataError(sources.conversations, None, problem)
    return found


def _turns(conversations: Iterable[Conversation]) -> Iterable[tuple[str, Conversation, int]]:
    for one in conversations:
        for number in range(1, len(one.turns) + 1):
            yield one.query_id(number), one, number


def _ranking(result: SavedResult | None) -> dict[str, list[tuple[str, float]]] | None:
    if result is None:
        return None
    return {query: ranked(scores) for query, scores in read_run(result.folder / RUN).items()}


def _responses(result: SavedResult) -> dict[str, Made]:
    def parse(record: Record) -> Made:
        return Made(prediction(record), confidence_of(record))

    rows = read_jsonl(result.folder / PREDICTIONS, parse, unique="_id")
    return {one.prediction.id: one for one in rows}


def _references(result: SavedResult, conversations: Path) -> dict[str, tuple[str, ...]]:
    """All reference responses, or those of the conversations where the others are gone."""
    path = result.path("references")
    known = path if path is not None and path.exists() else None
    return {one.id: one.references for one in questions_of(conversations, known)}
