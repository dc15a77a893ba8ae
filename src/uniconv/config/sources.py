"""Where training data lies, how much of it is used, and which objective it supervises."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from uniconv.config.ranges import number
from uniconv.errors import ConfigError

_ABOUT = "dataset.json"
_ENDINGS = (".jsonl", ".jsonl.gz")


@dataclass(frozen=True, slots=True)
class Source:
    """Conversations to learn from, and what supervises which objective.

    With ``retrieval: passages`` and ``generation: responses`` both objectives are supervised by
    the same turn: data discrepancy mitigation (DDM). The naive mixture that it replaces retrieves
    a response as if it were a passage, or generates a passage as if it were a response.
    """

    conversations: tuple[Path, ...] = ()
    """(): files of conversations (JSONL), in place of a set."""
    corpora: tuple[Path, ...] = ()
    """(): files ``corpus.jsonl`` with the passages that turns name; empty means the set's own."""
    set: Path | None = None
    """none: a folder that ``uniconv data convert`` wrote, whose splits and corpus are read."""
    split: tuple[str, ...] = ("train",)
    """train: the splits of the set, by the names of their files."""
    weight: float = number(1.0, above=0)
    """1: how often an epoch visits a turn on average; 0.5 visits half of the turns."""
    share: float | None = number(None, above=0)
    """none: in place of weights, the part of an epoch that is this source's, relative to the sum
    of all sources' shares."""
    limit: int | None = number(None, least=1)
    """none: the most turns that are used: those of whole conversations drawn by the seed, the same
    in every epoch."""
    retrieval: Literal["passages", "responses", "none"] = "passages"
    """passages: what a conversation should retrieve; DDM."""
    generation: Literal["responses", "passages", "none"] = "responses"
    """responses: what is to be written after a conversation; DDM."""
    cii: bool = True
    """true: turns with positives and a response serve context identification."""
    grounded: bool = True
    """true: turns with positives and a response serve grounded generation, if gamma is above 0."""
    cite: bool = False
    """false: grounded responses are taken as they are. true: the mark of the relevant passage,
    such as [2], is added to them; for responses that rest on one passage and have no marks yet."""
    allow_evaluation_only: bool = False
    """false: a set that is meant for evaluation only is refused as a training source."""
    hard_negatives: int | None = number(None, least=0)
    """none: as many of a turn's own negatives as ``data.hard_negatives`` says. A number: so many;
    short passages cost little."""
    name: str | None = None
    """none: what stages call it; without one the name of its set's folder or of its files."""

    @property
    def called(self) -> str:
        """Its name, given or not."""
        if self.name is not None:
            return self.name
        if self.set is not None:
            return self.set.name
        return ",".join(path.name.split(".jsonl")[0] for path in self.conversations)


def located(source: Source) -> Source:
    """The source with the files of its set named; one without a set is given back.

    Raises:
        ConfigError: the set's ``dataset.json`` can't be read.
    """
    if source.set is None:
        return source
    conversations = tuple(_file(source.set, name) for name in source.split)
    return replace(source, conversations=conversations, corpora=source.corpora or _corpus(source))


def _corpus(source: Source) -> tuple[Path, ...]:
    """The corpus in the set's folder, or the one that it shares with other sets."""
    assert source.set is not None
    own = _file(source.set, "corpus")
    if own.is_file():
        return (own,)
    shared = _about(source.set).get("corpus")
    return (source.set / shared,) if isinstance(shared, str) else ()


def _file(folder: Path, name: str) -> Path:
    """The file of this name, packed or not."""
    plain, packed = (folder / f"{name}{ending}" for ending in _ENDINGS)
    return packed if packed.is_file() and not plain.is_file() else plain


def _about(folder: Path) -> dict[str, Any]:
    """What ``dataset.json`` tells of a folder, nothing where there is none."""
    path = folder / _ABOUT
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: can't be read ({error}); convert the data set again") from error
    return value if isinstance(value, dict) else {}


def mixture_problems(train: Sequence[Source], dev: Sequence[Source]) -> Iterator[str]:
    """What is wrong with sources: files that are missing, and settings that contradict others."""
    for part, sources in (("train", train), ("dev", dev)):
        for place, source in enumerate(sources):
            key = f"data.{part}[{place}]"
            try:
                problems = [*_source_problems(source, training=part == "train")]
            except ConfigError as error:
                problems = [f"set: {error}"]
            yield from (f"{key}.{problem}" for problem in problems)
    with_share = [source.share is not None for source in train]
    for place, source in enumerate(train):
        if any(with_share) and source.share is None:
            yield f"data.train[{place}].share: is missing; give every source a share, or none"
        if source.share is not None and source.weight != 1:
            yield f"data.train[{place}]: has a weight and a share; give one of them"


def _source_problems(source: Source, *, training: bool) -> Iterator[str]:
    if (source.set is None) == (not source.conversations):
        yield "conversations: expected files of conversations, or a set, and not both"
        return
    if source.set is not None and not (source.set / _ABOUT).is_file():
        yield (
            f"set: {source.set} has no {_ABOUT} (from {Path.cwd()}); expected a folder that "
            "'uniconv data convert' wrote to its end"
        )
        return
    files = located(source)
    for path in files.conversations:
        if not path.is_file() and source.set is not None:
            yield f"split: {source.set} has no {path.name}; it has {_splits(source.set)}"
        elif not path.is_file():
            yield f"conversations: there is no file {path} (from {Path.cwd()})"
    for path in files.corpora:
        if not path.is_file():
            yield f"corpora: there is no file {path} (from {Path.cwd()})"
    if not files.corpora and "passages" in (source.retrieval, source.generation):
        yield "corpora: expected a file, since passages supervise this source"
    folders = {path.parent for path in files.conversations}
    for folder in sorted(folders) if training and not source.allow_evaluation_only else ():
        if _about(folder).get("evaluation_only"):
            yield (
                f"{'conversations' if source.set is None else 'set'}: {folder} is for evaluation "
                f"only ({_ABOUT}), so whoever trains on it can't report figures on it; take "
                "another set, or set allow_evaluation_only"
            )


def _splits(folder: Path) -> str:
    names = {
        path.name.removesuffix(ending)
        for ending in _ENDINGS
        for path in folder.glob(f"*{ending}")
        if not path.name.removesuffix(ending).endswith(".references")
    }
    return ", ".join(sorted(names - {"corpus", "queries"})) or "no conversations"
