"""What the TREC tracks share: graded judgements of turns, and names of their files."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from uniconv.data.beir import Qrels, read_corpus
from uniconv.errors import DataError
from uniconv.types import Conversation, Turn


def places(path: str) -> tuple[str, ...]:
    """Where a file of a track's repository may lie: as there, with a flat name, or by itself."""
    flat = path.replace("/data/", "/").replace("/", "_")
    return path, flat, PurePosixPath(path).name


def check_judged(path: Path, qrels: Qrels, turns: Collection[str]) -> None:
    """Raises a DataError where a judged query is none of ``turns``."""
    unknown = next((query for query in qrels if query not in turns), None)
    if unknown is not None:
        raise DataError(path, None, f"query '{unknown}' is no turn of the topics beside it")


def ids_of(qrels: Iterable[Qrels]) -> set[str]:
    """All passages that are judged."""
    return {id for grades in qrels for judged in grades.values() for id in judged}


def texts_of(corpus: Path, ids: Collection[str]) -> dict[str, str]:
    """The texts of these passages, as far as the corpus holds them."""
    return {passage.id: passage.text for passage in read_corpus(corpus) if passage.id in ids}


def judge(
    conversations: Iterable[Conversation],
    qrels: Qrels,
    level: int,
    held: Collection[str] | None = None,
) -> tuple[list[Conversation], Qrels, dict[str, int]]:
    """Gives judged turns their positives, the passages of grade ``level`` or higher.

    Turns that are not judged keep those they have. ``held`` are the ids of a corpus: what it
    lacks is dropped.

    Returns:
        The conversations, the judgements under their query ids, and counts of what was dropped.
    """
    marked, kept, before = [], {}, 0
    for one in conversations:
        turns = []
        for number, turn in enumerate(one.turns, start=1):
            grades = qrels.get(one.query_id(number))
            ids = turn.positives
            if grades is not None:
                ids = tuple(id for id, grade in grades.items() if grade >= level)
                kept[one.query_id(number)] = _held(grades, held)
            before += len(ids)
            turns.append(replace(turn, positives=tuple(_held(dict.fromkeys(ids, 1), held))))
        marked.append(Conversation(one.id, tuple(turns)))
    if held is None:
        return marked, kept, {}
    after = sum(len(turn.positives) for one in marked for turn in one.turns)
    graded = sum(map(len, qrels.values())) - sum(map(len, kept.values()))
    return (
        marked,
        {query: grades for query, grades in kept.items() if grades},
        {
            "dropped, positives that the corpus lacks": before - after,
            "dropped, judgements of passages that the corpus lacks": graded,
        },
    )


def _held(grades: Mapping[str, int], held: Collection[str] | None) -> dict[str, int]:
    return {id: grade for id, grade in grades.items() if held is None or id in held}


def answered(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """The turns with an empty response where one is not known; the last may go on waiting."""
    return (*(replace(turn, response=turn.response or "") for turn in turns[:-1]), *turns[-1:])


def lacks(conversations: Iterable[Conversation]) -> dict[str, int]:
    """How many turns lack a response or a rewrite, for the counts of a data set."""
    turns = [turn for one in conversations for turn in one.turns]
    return {
        "turns without a response": sum(not turn.response for turn in turns),
        "turns without a rewrite": sum(not turn.rewrite for turn in turns),
    }
