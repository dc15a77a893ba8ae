"""Hard negatives mined anew from the model being trained (ANCE, Xiong et al. 2021).

    negatives/collection-0/           passages to search: all that turns name, and a sample or all
    negatives/step-00000500.json      what was mined before that step was trained

What was mined is a function of the weights at its step, so a run that goes on from an earlier
checkpoint mines again, and one that goes on from a later one reads what was mined.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import time
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object

from uniconv.config import TrainConfig
from uniconv.data.beir import read_corpus
from uniconv.errors import UniConvError
from uniconv.files import atomic_folder, write_json
from uniconv.model import UniConv
from uniconv.retrieval.candidates import Query
from uniconv.retrieval.mining import MiningReport, Survey
from uniconv.retrieval.negatives import choose
from uniconv.retrieval.store import PassageStore
from uniconv.retrieval.sweeping import sweep
from uniconv.retrieval.vectors import Floats
from uniconv.training.distributed import gather, processes, rank
from uniconv.training.examples import Example, Examples, Reservoir
from uniconv.training.stages import Course
from uniconv.types import Conversation, Passage

_NAME = re.compile(r"step-(\d{8})\.json")
_TURNS = 256  # contexts that are embedded together; those of a conversation share what they can


class Refresher:
    """Mines when it is due, and remembers what was mined for a step."""

    def __init__(self, config: TrainConfig, course: Course, examples: Examples, step: int) -> None:
        """Forgets what was mined after ``step``, from where the run goes on; at 0 everything."""
        self._refresh = config.data.refresh
        self._seed = config.optimisation.seed
        self._folder = config.output / "negatives"
        self._examples = examples
        self._current: int | None = None
        self._collections: list[_Collection] | None = None
        every = self._refresh.every_steps
        regular = range(every, course.steps, every) if every else ()
        self._due = {*regular, *(one.first for one in course.stages if one.settings.refresh)}
        if rank() == 0:
            if step == 0:
                shutil.rmtree(self._folder, ignore_errors=True)
            for path in self._folder.glob("step-*.json"):
                match = _NAME.fullmatch(path.name)
                if match and int(match[1]) > step:
                    path.unlink()

    def before(self, step: int, model: UniConv, autocast: Any) -> tuple[Examples, str] | None:
        """The examples from ``step`` on, and what to say of them; None where nothing has changed.

        To be called by all processes together before each step. ``autocast`` is the context in
        which the model computes.

        Raises:
            UniConvError: what was mined before an earlier step is gone.
        """
        wanted = max((due for due in self._due if due <= step), default=None)
        if wanted is None or wanted == self._current:
            return None
        self._current = wanted
        path = self._folder / f"step-{wanted:08d}.json"
        if self._collections is None:
            self._collections = self._open()
        if not path.is_file():
            if wanted != step:
                raise UniConvError(
                    f"{path}: is missing, so the run can't go on exactly; restore it, or start "
                    "again in another output folder"
                )
            self._mine(path, model, autocast)
        mined = json.loads(path.read_bytes())
        report = MiningReport.from_json(mined["report"])
        about = f"negatives mined before step {wanted + 1}\n{report}"
        return self._with({int(n): tuple(ids) for n, ids in mined["negatives"].items()}), about

    def _open(self) -> list[_Collection]:
        by_corpora: dict[tuple[Path, ...], list[int]] = {}
        for number, source in enumerate(self._examples.sources):
            if source.corpora:
                by_corpora.setdefault(tuple(source.corpora), []).append(number)
        collections = []
        for place, (corpora, sources) in enumerate(by_corpora.items()):
            folder = self._folder / f"collection-{place}"
            if rank() == 0 and not folder.exists():
                rng = random.Random(f"{self._seed}/collection/{place}")
                with atomic_folder(folder) as temporary:
                    PassageStore.write(temporary, self._passages(corpora, sources, rng))
            while not folder.exists():  # longer than a process may wait for others' messages
                time.sleep(1)
            collections.append(_Collection(PassageStore(folder), sources))
        return collections

    def _passages(
        self, corpora: Sequence[Path], sources: Sequence[int], rng: random.Random
    ) -> Iterator[Passage]:
        """All that turns name, and as many others as the pool takes."""
        named = {id: one for n in sources for id, one in self._examples.passages[n].items()}
        yield from named.values()
        others = _others(corpora, named)
        if self._refresh.pool is None:
            yield from others
        else:
            sample = Reservoir[Passage](self._refresh.pool, rng)
            for passage in others:
                sample.add(passage)
            yield from sample.items

    def _mine(self, path: Path, model: UniConv, autocast: Any) -> None:
        was_training = model.network.training
        model.network.eval()
        report, found = MiningReport(), dict[int, tuple[str, ...]]()
        for collection in self._collections or ():
            with autocast:
                mined = self._mine_collection(collection, model)
            for part, negatives in gather_object([mined]):
                report.add(part)
                found |= negatives
        model.network.train(was_training)
        if rank() == 0:
            negatives = {str(number): found[number] for number in sorted(found)}
            write_json(path, {"report": report.to_json(), "negatives": negatives})
        _meet()

    def _mine_collection(
        self, collection: _Collection, model: UniConv
    ) -> tuple[MiningReport, dict[int, tuple[str, ...]]]:
        """This process's part of a collection's turns."""
        examples = self._examples.examples
        every = [
            position
            for position, example in enumerate(examples)
            if example.source in collection.sources and example.turn.positives
        ]
        talks = {id(examples[n].conversation): examples[n].conversation for n in every}
        survey = Survey(talks.values())
        own = every[len(every) * rank() // processes() : len(every) * (rank() + 1) // processes()]
        queries = [_query(examples[position]) for position in own]
        embeddings = _embed(model, [query.context for query in queries])
        report, found = MiningReport(turns=len(own)), dict[int, tuple[str, ...]]()
        rankings = sweep(
            collection.store, queries, embeddings, _together(model), self._refresh.last
        )
        for position, query, ranking in zip(own, queries, rankings, strict=True):
            example, store = examples[position], collection.store
            existing = example.turn.negatives if self._refresh.existing == "merge" else ()
            choice = choose(
                ranking,
                [store[store.row(id) or 0] for id in query.positives],
                survey.known(example.conversation, example.turn, self._refresh),
                set(existing),
                self._refresh,
                random.Random(f"{self._refresh.seed}/{example.source}/{query.id}"),
            )
            report.note(query.id, choice)
            found[position] = (*existing, *choice.ids)
        return report, found

    def _with(self, mined: dict[int, tuple[str, ...]]) -> Examples:
        """The examples with these negatives; a turn that has none keeps its own."""
        examples = list(self._examples.examples)
        passages = [dict(one) for one in self._examples.passages]
        stores = {n: one.store for one in self._collections or () for n in one.sources}
        for position, ids in mined.items():
            example = examples[position]
            if ids:
                examples[position] = replace(example, mined=ids)
            known, store = passages[example.source], stores[example.source]
            for id in ids:
                if id not in known:
                    row = store.row(id)
                    assert row is not None  # it was found there
                    known[id] = store[row]
        return replace(self._examples, examples=examples, passages=passages)


class _Collection:
    """The passages that the turns of some sources are told from."""

    def __init__(self, store: PassageStore, sources: Sequence[int]) -> None:
        self.store = store
        self.sources = sources


def _others(corpora: Sequence[Path], named: Container[str]) -> Iterator[Passage]:
    """Passages of corpora but those named, each once where corpora share some."""
    seen: set[str] = set()
    for path in corpora:
        for passage in read_corpus(path):
            if passage.id in named or passage.id in seen:
                continue
            if len(corpora) > 1:
                seen.add(passage.id)
            yield passage


def _query(example: Example) -> Query:
    id = example.conversation.query_id(example.number)
    return Query(id, example.context, example.turn.positives)


def _embed(model: UniConv, contexts: Sequence[Conversation]) -> Floats:
    """Some at a time, since the tokens of all together would take much memory."""
    starts = range(0, len(contexts), _TURNS)
    parts = [model.encode_conversations(contexts[start : start + _TURNS]) for start in starts]
    return np.concatenate([np.empty((0, model.dimension), np.float32), *parts])


def _together(model: UniConv) -> Callable[[Sequence[Passage]], Floats]:
    """Embeds passages in all processes, each a part of them."""

    def encode(passages: Sequence[Passage]) -> Floats:
        start = len(passages) * rank() // processes()
        stop = len(passages) * (rank() + 1) // processes()
        own = torch.from_numpy(model.encode_passages(passages[start:stop]))
        vectors: Floats = gather(own.to(model.device))[0].cpu().numpy()
        return vectors

    return encode


def _meet() -> None:
    """Waits for all processes."""
    if processes() > 1:
        torch.distributed.barrier()
