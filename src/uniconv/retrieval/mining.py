"""Mines hard negatives for the turns of conversations, a block of conversations at a time.

    mine(MiningConfig(Path("train.jsonl"), Path("train-mined.jsonl"), index=Path("wiki-index")))

writes the conversations with their negatives, and beside them ``train-mined.mining.json``: what the
filters did, and what produced it. Until it is done the blocks lie in a folder beside the output,
where the same command finds them again.
"""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress

from uniconv.config import Filters, MiningConfig
from uniconv.config.strict import unstructure
from uniconv.data.conversations import read_conversations, write_conversations
from uniconv.data.lines import read_lines, write_lines
from uniconv.errors import ConfigError, DataError
from uniconv.files import checksums, provenance, write_json
from uniconv.retrieval.candidates import Candidates, Query, open_candidates
from uniconv.retrieval.index import current_version
from uniconv.retrieval.negatives import FILTERS, Choice, choose
from uniconv.types import Conversation, Turn

BLOCK = 64
"""Conversations that are searched for together and kept when a run is stopped."""

_NAMED = 20


@dataclass(slots=True)
class MiningReport:
    """What mining did.

    ``turns`` are all, ``mined`` those with positives. ``candidates`` were looked at, of which each
    filter ``removed`` some. ``per_turn`` counts mined turns by their number of mined negatives;
    ``without`` names the first of those that have none.
    """

    turns: int = 0
    mined: int = 0
    candidates: int = 0
    removed: Counter[str] = field(default_factory=Counter)
    per_turn: Counter[str] = field(default_factory=Counter)
    without: list[str] = field(default_factory=list)

    def note(self, id: str, choice: Choice) -> None:
        """Counts a turn that was mined for."""
        self.mined += 1
        self.candidates += choice.candidates
        self.removed += choice.removed
        self.per_turn[str(len(choice.ids))] += 1
        if not choice.ids and len(self.without) < _NAMED:
            self.without.append(id)

    def add(self, other: MiningReport) -> None:
        """Counts what another report counts."""
        self.turns += other.turns
        self.mined += other.mined
        self.candidates += other.candidates
        self.removed += other.removed
        self.per_turn += other.per_turn
        self.without = [*self.without, *other.without][:_NAMED]

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        per_turn = dict(sorted(self.per_turn.items(), key=lambda item: int(item[0])))
        return {
            **{one.name: getattr(self, one.name) for one in fields(self)},
            "removed": {name: self.removed[name] for name in FILTERS},
            "per_turn": per_turn,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> MiningReport:
        """What ``to_json`` gave."""
        counters = {name: Counter(value[name]) for name in ("removed", "per_turn")}
        return cls(**{**value, **counters})

    @property
    def negatives(self) -> int:
        """All that were mined."""
        return sum(int(number) * turns for number, turns in self.per_turn.items())

    def __str__(self) -> str:
        lines = [
            f"{self.mined:,} of {self.turns:,} turns have positives; {self.negatives:,} negatives "
            f"for them, {self.negatives / max(self.mined, 1):.1f} a turn",
            f"{self.candidates:,} candidates: "
            + ", ".join(f"{self.removed[name]:,} {name}" for name in FILTERS),
        ]
        if self.without:
            lines.append(
                f"{self.per_turn['0']:,} turns are left without, such as "
                f"{', '.join(self.without[:3])}"
            )
        return "\n".join(lines)


def mine(config: MiningConfig, *, quiet: bool = False) -> MiningReport:
    """Writes ``config.out`` and its report; a run that was stopped goes on at its last whole block.

    In memory are a block, the ids of positives that share a turn with others and, of what is
    searched, what :class:`BM25` or the model hold; of a run all.

    Raises:
        ConfigError: the output exists, or a run with other settings was stopped there.
        UniConvError: an input is missing or malformed, or a positive is not in the collection.
    """
    if config.out.exists():
        raise ConfigError(f"{config.out}: exists already; name another file, or remove it")
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as progress:
        task = progress.add_task("Reading conversations", total=None)
        survey = Survey(read_conversations(config.conversations))
        if not survey.mined:
            problem = "no turn has positives, so there is nothing to mine for"
            raise DataError(config.conversations, None, problem)
        work, settings = _open_work(config)
        progress.update(task, description="Opening the collection")
        candidates = open_candidates(config, work)
        progress.update(task, description="Mining", total=survey.mined)
        miner = Miner(config, candidates, survey)
        report = MiningReport()
        for block in _blocks(config.conversations, work):
            if not block.report.is_file():
                mined, found = miner.block(block.conversations)
                write_conversations(block.mined, mined)
                write_json(block.report, found.to_json())
            found = MiningReport.from_json(json.loads(block.report.read_bytes()))
            progress.advance(task, found.mined)
            report.add(found)
    write_json(
        config.out.with_suffix(".mining.json"),
        {"report": report.to_json(), **provenance(**settings, **candidates.about)},
    )
    write_lines(config.out, _lines(work))
    shutil.rmtree(work)
    return report


class Survey:
    """What has to be known of all conversations before the first is mined for."""

    def __init__(self, conversations: Iterable[Conversation]) -> None:
        """Goes through the conversations once."""
        self.mined = 0
        self._related: dict[str, set[str]] = {}
        for conversation in conversations:
            for turn in conversation.turns:
                self.mined += bool(turn.positives)
                if len(turn.positives) > 1:
                    for id in turn.positives:
                        self._related.setdefault(id, set()).update(turn.positives)

    def known(self, conversation: Conversation, turn: Turn, config: Filters) -> set[str]:
        """The ids that must not be negatives of a turn of a conversation."""
        match config.known:
            case "turn":
                return set(turn.positives)
            case "gold":
                return self.related(turn)
            case "conversation":
                own = {id for other in conversation.turns for id in other.positives}
                return own | self.related(turn)

    def related(self, turn: Turn) -> set[str]:
        """The turn's positives, and those of all turns that share one with it."""
        return set(turn.positives).union(*(self._related.get(id, ()) for id in turn.positives))


class Miner:
    """Fills in the negatives of conversations."""

    def __init__(self, config: MiningConfig, candidates: Candidates, survey: Survey) -> None:
        self._config = config
        self._candidates = candidates
        self._survey = survey

    def block(
        self, conversations: Sequence[Conversation]
    ) -> tuple[list[Conversation], MiningReport]:
        """Some conversations with their negatives, searched for together."""
        report = MiningReport(turns=sum(len(one.turns) for one in conversations))
        queries = [
            Query(one.query_id(number), one.context(number), turn.positives)
            for one in conversations
            for number, turn in enumerate(one.turns, start=1)
            if turn.positives
        ]
        found = self._candidates.rank(queries, self._config.last) if queries else []
        rankings = iter(zip(queries, found, strict=True))
        mined = []
        for one in conversations:
            turns = []
            for turn in one.turns:
                existing = turn.negatives if self._config.existing == "merge" else ()
                chosen: tuple[str, ...] = ()
                if turn.positives:
                    query, ranking = next(rankings)
                    choice = choose(
                        ranking,
                        self._candidates.passages(query),
                        self._survey.known(one, turn, self._config),
                        set(existing),
                        self._config,
                        random.Random(f"{self._config.seed}/{query.id}"),
                    )
                    report.note(query.id, choice)
                    chosen = choice.ids
                turns.append(replace(turn, negatives=(*existing, *chosen)))
            mined.append(Conversation(one.id, tuple(turns)))
        return mined, report


@dataclass(frozen=True, slots=True)
class _Block:
    """Some conversations, where they go when they are mined, and the report on them."""

    conversations: Sequence[Conversation]
    mined: Path
    report: Path


def _blocks(path: Path, work: Path) -> Iterator[_Block]:
    stream = read_conversations(path)
    number = 0
    while conversations := list(islice(stream, BLOCK)):
        name = work / f"{number:06d}"
        yield _Block(conversations, name.with_suffix(".jsonl"), name.with_suffix(".json"))
        number += 1


def _lines(work: Path) -> Iterator[str]:
    for path in sorted(work.glob("*.jsonl")):
        yield from read_lines(path, lambda _, line: line)


def _open_work(config: MiningConfig) -> tuple[Path, dict[str, Any]]:
    """The folder for blocks, which is that of a stopped run with the same settings and inputs.

    Raises:
        ConfigError: a file is missing, or the stopped run was another.
    """
    files = {name: getattr(config, name) for name in ("conversations", "corpus", "run")}
    for name, path in files.items():
        if path is not None and not path.is_file():
            raise ConfigError(f"{name}: there is no file {path}")
    inputs: dict[str, Any] = checksums(**files)
    if config.index is not None:
        inputs["index"] = {"path": str(config.index), "version": current_version(config.index)}
    settings = {"config": unstructure(config), "inputs": inputs}
    work = config.out.with_name(f".{config.out.name}.mining")
    record = work / "settings.json"
    before = json.loads(record.read_bytes()) if record.is_file() else settings
    changed = [
        name
        for part, now in settings.items()
        for name in now
        if before[part].get(name) != now[name]
    ]
    if changed and any(work.glob("*.jsonl")):
        raise ConfigError(
            f"{config.out}: mining was stopped here with another {', '.join(changed)}; take that "
            f"again, name another file, or remove the folder {work}"
        )
    if changed:  # nothing was mined yet, so nothing is lost
        shutil.rmtree(work)
    write_json(record, settings)
    return work, settings
