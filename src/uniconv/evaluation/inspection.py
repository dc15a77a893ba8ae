"""Turns of saved results on one page: what was said, retrieved and answered, and why it failed.

inspect_results(InspectSettings((Path("results/dense"),), Path("page.html")))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from uniconv.evaluation.collection import Collection, CorpusCollection, IndexCollection
from uniconv.evaluation.evidence import Evidence, Sources, find_sources, read_evidence
from uniconv.evaluation.inspect_page import render_page
from uniconv.evaluation.inspect_settings import InspectSettings as InspectSettings
from uniconv.evaluation.reasons import Bars, first_rank, history_step, reason_of, reasons, steps
from uniconv.files import atomic
from uniconv.types import Passage

_FIRST = ("f1", "ndcg@3", "mrr")  # what turns are ordered by at first, if it was measured


@dataclass(frozen=True, slots=True)
class Inspected:
    """The page, how many turns and passages it shows, and its size in bytes.

    ``untold`` of the passages are shown without their texts, which were not at hand.
    """

    page: Path
    turns: int
    passages: int
    untold: int
    size: int

    def __str__(self) -> str:
        told = f"{self.page}: {self.turns:,} turns, {self.passages:,} passages, {_size(self.size)}"
        if not self.untold:
            return told
        return (
            f"{told}; {self.untold:,} passages without their texts, which --corpus or --index gives"
        )


def inspect_results(settings: InspectSettings) -> Inspected:
    """Writes the page.

    Raises:
        UniConvError: a result or its conversations are missing or malformed, or results don't go
            together.
    """
    sources = find_sources(settings.results, settings.last_question, settings.conversations)
    turns = read_evidence(sources)
    passages = _passages(settings, sources, turns)
    numbers = {id: number for number, id in enumerate(passages)}
    bars = Bars(settings.top, settings.f1)
    measures = list(dict.fromkeys(name for turn in turns for name in turn.values))
    places = {id: place for place, id in enumerate({turn.conversation.id: 0 for turn in turns})}
    data: dict[str, Any] = {
        "about": _about(turns, passages, settings),
        "measures": measures,
        "firstMeasure": next((name for name in _FIRST if name in measures), ""),
        "reasons": {key: asdict(reason) for key, reason in reasons(bars).items()},
        "passages": [_passage(id, one, settings.characters) for id, one in passages.items()],
        "conversations": _conversations(turns),
        "turns": [
            {
                **_turn(turn, numbers, settings, bars),
                "place": place,
                "conversation": places[turn.conversation.id],
            }
            for place, turn in enumerate(turns)
        ],
    }
    names = " and ".join(result.name for result in sources.results)
    untold = sum(passage is None for passage in passages.values())
    page = render_page(f"Turns of {names}", data).encode()
    with atomic(settings.out) as temporary:
        temporary.write_bytes(page)
    return Inspected(settings.out, len(turns), len(passages), untold, len(page))


def _passages(
    settings: InspectSettings, sources: Sources, turns: Sequence[Evidence]
) -> dict[str, Passage | None]:
    """Every passage that is shown, by its id; None where its text is not at hand."""
    shown: dict[str, Passage | None] = {}
    for turn in turns:
        ids = [id for id, _ in _best_relevant(turn, settings)]
        ids += [id for id, _ in (turn.retrieved or ())[: settings.passages]]
        shown |= {id: None for id in ids if id not in shown}
        if turn.made is not None:
            shown |= {passage.id: passage for passage in turn.made.prediction.read}
    missing = [id for id, passage in shown.items() if passage is None]
    collection = _collection(settings, sources)
    return shown | dict(collection.find(missing)) if missing and collection else shown


def _collection(settings: InspectSettings, sources: Sources) -> Collection | None:
    """Where texts are looked up: what the settings name, or what the results were made with."""
    if settings.corpus is not None:
        return CorpusCollection(settings.corpus)
    index = settings.index
    for result in sources.results:
        if (corpus := result.path("corpus")) and corpus.exists() and index is None:
            return CorpusCollection(corpus)
        if (own := result.path("index")) and own.exists():
            index = index or own
    if index is None:
        return None
    from uniconv.retrieval.interface import Index

    return IndexCollection(Index.open(index))


def _passage(id: str, passage: Passage | None, characters: int) -> dict[str, Any]:
    if passage is None:
        return {"id": id, "title": "", "text": None, "cut": False}
    text = passage.text[:characters]
    return {"id": id, "title": passage.title, "text": text, "cut": len(text) < len(passage.text)}


def _conversations(turns: Sequence[Evidence]) -> list[dict[str, Any]]:
    """Each conversation once; turns name it by its place."""
    return [
        {
            "turns": [
                {
                    "query": turn.query,
                    "response": turn.response,
                    "rewrite": turn.rewrite,
                }
                for turn in one.turns
            ]
        }
        for one in {turn.conversation.id: turn.conversation for turn in turns}.values()
    ]


def _turn(
    turn: Evidence, numbers: Mapping[str, int], settings: InspectSettings, bars: Bars
) -> dict[str, Any]:
    outcome = turn.outcome
    told = steps(outcome, bars)
    needs = None
    if turn.last_question is not None and turn.relevant and turn.depth > 1:
        needs, why = history_step(
            first_rank(turn.relevant, (id for id, _ in turn.last_question)), bars
        )
        told.append(why)
    cited = turn.made.cited if turn.made is not None else frozenset()
    ranks = {id: rank for rank, (id, _) in enumerate(turn.retrieved or (), start=1)}
    graded = set(turn.relevant.values()) != {1}
    return {
        "id": turn.id,
        "depth": turn.depth,
        "reason": reason_of(outcome, bars),
        "labels": turn.labels,
        "steps": told,
        "needsHistory": needs,
        "answer": outcome.answer,
        "declined": outcome.declined,
        "confidence": None if turn.made is None else _short(turn.made.confidence),
        "references": turn.references,
        "relevantIds": list(turn.relevant),
        "relevant": [
            {
                "passage": numbers[id],
                "rank": ranks.get(id),
                "unranked": turn.retrieved is not None and id not in ranks,
                **({"grade": grade} if graded else {}),
            }
            for id, grade in _best_relevant(turn, settings)
        ],
        "moreRelevant": max(0, len(turn.relevant) - settings.passages),
        "read": [
            {"passage": numbers[passage.id], "number": number, "cited": number in cited}
            for number, passage in enumerate(outcome.read, start=1)
        ],
        "retrieved": [
            {"passage": numbers[id], "rank": rank, "score": _short(score)}
            for rank, (id, score) in enumerate((turn.retrieved or ())[: settings.passages], start=1)
        ],
        "moreRetrieved": max(0, len(turn.retrieved or ()) - settings.passages),
        "measures": {name: _short(value) for name, value in turn.values.items()},
    }


def _best_relevant(turn: Evidence, settings: InspectSettings) -> list[tuple[str, int]]:
    """The relevant passages that are shown, with their grades: the best graded and ranked."""
    ranks = {id: rank for rank, (id, _) in enumerate(turn.retrieved or ())}
    last = len(ranks)
    order = sorted(turn.relevant.items(), key=lambda one: (-one[1], ranks.get(one[0], last)))
    return order[: settings.passages]


def _short(value: float | None) -> float | None:
    """Enough digits to read, few enough to keep the page small."""
    return None if value is None else float(f"{value:.5g}")


def _about(
    turns: Sequence[Evidence], passages: Mapping[str, Passage | None], settings: InspectSettings
) -> str:
    conversations = len({turn.conversation.id for turn in turns})
    untold = sum(passage is None for passage in passages.values())
    told = (
        f"{len(turns):,} turns of {conversations:,} conversations. Of each turn at most "
        f"{settings.passages} relevant and {settings.passages} retrieved passages are shown, of "
        f"each passage {settings.characters:,} characters."
    )
    if untold:
        told += f" {untold:,} of {len(passages):,} passages are shown without their texts."
    return told


def _size(bytes: int) -> str:
    return f"{bytes / 1e6:.1f} MB" if bytes >= 1e5 else f"{bytes / 1e3:.0f} kB"
