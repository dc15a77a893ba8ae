"""Whether a converted data set holds together: ids, duplicates, and what tests share with training.

Memory stays small for any corpus (see ``contents``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from uniconv.data.beir import read_judgements
from uniconv.data.contents import Corpus, Split, contexts, talk
from uniconv.data.conversations import conversation
from uniconv.data.fingerprints import Fingerprints, fingerprint
from uniconv.data.folder import Folder
from uniconv.data.records import Record
from uniconv.data.report import Progress, Reading, Report
from uniconv.types import Conversation, Turn


def check(
    path: Path | str,
    *,
    corpus: Path | str | None = None,
    train: Path | str | None = None,
    progress: Progress | None = None,
) -> Report:
    """Checks an interchange folder, or one file of conversations.

    Args:
        path: The folder or file.
        corpus: The ``corpus.jsonl`` of its passages, where that lies elsewhere.
        train: A folder or file that is trained on, with which this one should have nothing in
            common; of a folder its splits named ``train*``, if it has any. Such splits of ``path``
            itself are compared with its others too.
        progress: Is told of every thousandth record.

    Raises:
        DataError: there is no such folder, or no conversations in it. All else is in the report.
    """
    folder = Folder.open(path, corpus)
    other = None if train is None else Folder.open(train)
    report = Report()
    reading = Reading(report, progress or (lambda *_: None))
    splits = {name: Split.read(name, file, reading) for name, file in folder.splits.items()}
    if folder.corpus is None and any(len(split.named) for split in splits.values()):
        problem = "there is no corpus, so ids of passages are not looked up; name it (--corpus)"
        report.warn("no corpus", folder.path, None, problem)
    wanted = {id for split in splits.values() for id in split.positives}
    passages = Corpus.read(folder.corpus, wanted, reading)
    for name, file in folder.qrels.items():
        _judgements(file, splits.get(name), list(splits.values()), passages, reading)
    for name, file in folder.references.items():
        of = [splits[name]] if name in splits else list(splits.values())
        _references(file, of, reading)
    learned = [splits[name] for name in folder.training]
    texts = {passages.text_of(id) for split in learned for id in split.positives}
    if other is not None:
        more, other_texts = _trained(other, folder, passages, reading)
        learned += more
        texts |= other_texts
    for split in splits.values():
        trained = _Trained([], set()) if split in learned else _Trained(learned, texts)
        _Places(split, passages, trained, reading).report()
    _counts(folder, report)
    return report


@dataclass(slots=True)
class _Trained:
    """What is trained on: its splits and the hashes of its relevant passages' texts."""

    splits: Sequence[Split]
    texts: set[int]


def _trained(
    other: Folder, folder: Folder, passages: Corpus, reading: Reading
) -> tuple[list[Split], set[int]]:
    """Another folder's splits to train on, and the hashes of their relevant passages' texts."""
    quiet = reading.quietly()
    files = other.training or other.splits
    splits = [Split.read(name, file, quiet) for name, file in files.items()]
    wanted = {id for split in splits for id in split.positives}
    if other.corpus and folder.corpus and not other.corpus.samefile(folder.corpus):
        passages = Corpus.read(other.corpus, wanted, quiet)
    return splits, {passages.text_of(id) for id in wanted}


def _judgements(
    path: Path, own: Split | None, splits: Sequence[Split], corpus: Corpus, reading: Reading
) -> None:
    """Reports judgements of no turn or no passage, contradictions, and positives without one.

    ``own`` is the split whose name the file has; other files judge turns of any split.
    """
    report = reading.report
    turns = [own] if own else splits
    relevant = Fingerprints()
    seen: dict[int, tuple[int, int]] = {}
    for line, query, passage, grade in reading.all(path, read_judgements(path, on_error="list")):
        pair = fingerprint(query, passage)
        first, earlier = seen.setdefault(pair, (line, grade))
        if earlier != grade:
            problem = f"'{passage}' is judged {grade} for '{query}', but {earlier} on line {first}"
            report.fail(path, line, problem)
        if not any(fingerprint(query) in split.queries for split in turns):
            report.fail(path, line, f"'{query}' is no turn of the conversations", "query-id")
        if corpus.known and fingerprint(passage) not in corpus.ids:
            report.fail(path, line, f"'{passage}' is not in the corpus", "corpus-id")
        if grade > 0:
            relevant.add(pair)
    if own:
        unjudged = own.relevant.missing_from(relevant)
        _say_unjudged(own.path, path, unjudged, reading)


def _say_unjudged(path: Path, judged: Path, pairs: set[int], reading: Reading) -> None:
    """Reports where the positives are that the judgements of a split lack."""
    if not pairs:
        return
    for line, one in reading.quietly().records(path, conversation):
        for number, turn in enumerate(one.turns, start=1):
            for id in turn.positives:
                if fingerprint(one.query_id(number), id) in pairs:
                    problem = f"'{id}' is not judged relevant in {judged.name}"
                    field = f"turns[{number - 1}].positives"
                    reading.report.fail(path, line, problem, field)


def _references(path: Path, splits: Sequence[Split], reading: Reading) -> None:
    """Reports references of no turn, and those that are empty or repeat."""
    seen: dict[int, int] = {}
    report = reading.report

    def parse(record: Record) -> tuple[str, tuple[str, ...]]:
        return record.identifier("_id"), record.texts("references")

    for line, (query, texts) in reading.records(path, parse):
        value = fingerprint(query)
        if not any(value in split.queries for split in splits):
            report.fail(path, line, f"'{query}' is no turn of the conversations", "_id")
        first = seen.setdefault(value, line)
        if first != line:
            report.fail(path, line, f"'{query}' was already used on line {first}", "_id")
        if not any(text.strip() for text in texts):
            report.fail(path, line, "is empty; expected at least one response", "references")


class _Places:
    """Where in a split's file the conversations are whose hashes show that something is wrong."""

    def __init__(self, split: Split, corpus: Corpus, trained: _Trained, reading: Reading) -> None:
        self._split, self._corpus, self._trained, self._reading = split, corpus, trained, reading
        self._ids = split.ids.repeated()
        self._talks = split.talks.repeated()
        self._contexts = split.contexts.repeated()
        self._missing = corpus.lacks(split.named)
        self._shared_talks = _common(split.talks, [one.talks for one in trained.splits])
        self._shared_contexts = _common(split.contexts, [one.contexts for one in trained.splits])
        texts = {corpus.text_of(id) for id in split.positives}
        self._shared_texts = texts & trained.texts
        self._first: dict[tuple[str, int], str] = {}

    def report(self) -> None:
        """Reads the file again, unless all is well."""
        shared = self._shared_talks | self._shared_contexts | self._shared_texts
        if not (self._ids | self._talks | self._contexts | self._missing | shared):
            return
        self._find_in_training()
        for line, one in self._reading.quietly().records(self._split.path, conversation):
            earlier = self._earlier("id", fingerprint(one.id), self._ids, f"line {line}")
            if earlier:
                problem = f"'{one.id}' was already used on {earlier}"
                self._reading.report.fail(self._split.path, line, problem, "id")
            whole = self._conversation(line, one)
            for number, (context, turn) in enumerate(
                zip(contexts(one), one.turns, strict=True), start=1
            ):
                self._turn(line, number, turn)
                if not whole:
                    self._context(line, number, context)

    def _conversation(self, line: int, one: Conversation) -> bool:
        """Whether the whole conversation was there before, which its turns then need not say."""
        path, said = self._split.path, talk(one)
        if said in self._shared_talks:
            where = self._first["trained talk", said]
            self._reading.report.fail(path, line, f"the conversation is in training too ({where})")
            return True
        earlier = self._earlier("talk", said, self._talks, f"line {line}")
        if earlier:
            problem = f"the conversation is the same as on {earlier}"
            self._reading.report.warn("conversations that repeat", path, line, problem)
        return bool(earlier)

    def _context(self, line: int, number: int, context: int) -> None:
        path, field = self._split.path, f"turns[{number - 1}].query"
        if context in self._shared_contexts:
            problem = f"was asked in training too ({self._first['trained context', context]})"
            kind = "questions, with their history, that training has"
            self._reading.report.warn(kind, path, line, problem, field)
        place = f"line {line}, turn {number}"
        earlier = self._earlier("context", context, self._contexts, place)
        if earlier:
            problem = f"was asked after the same history on {earlier}"
            kind = "questions that repeat, with their history"
            self._reading.report.warn(kind, path, line, problem, field)

    def _turn(self, line: int, number: int, turn: Turn) -> None:
        path, field = self._split.path, f"turns[{number - 1}]"
        for name, ids in (("positives", turn.positives), ("negatives", turn.negatives)):
            for place, id in enumerate(ids):
                if fingerprint(id) in self._missing:
                    problem = f"'{id}' is not in the corpus"
                    self._reading.report.fail(path, line, problem, f"{field}.{name}[{place}]")
        texts = [self._corpus.text_of(fingerprint(id)) for id in turn.positives]
        if texts and self._shared_texts.issuperset(texts):
            kind = "turns whose relevant passages are all relevant in training"
            problem = f"'{turn.positives[0]}' is relevant to a turn of training"
            self._reading.report.warn(kind, path, line, problem, f"{field}.positives")

    def _earlier(self, what: str, value: int, repeated: set[int], place: str) -> str | None:
        """Where a repeated hash was seen first, or None for the first time."""
        if value not in repeated:
            return None
        first = self._first.setdefault((what, value), place)
        return None if first == place else first

    def _find_in_training(self) -> None:
        """Notes where in training the shared conversations and contexts are."""
        if not self._shared_talks and not self._shared_contexts:
            return
        for split in self._trained.splits:
            for line, one in self._reading.quietly().records(split.path, conversation):
                place = f"{split.path}:{line}"
                if (said := talk(one)) in self._shared_talks:
                    self._first.setdefault(("trained talk", said), place)
                for context in contexts(one):
                    if context in self._shared_contexts:
                        self._first.setdefault(("trained context", context), place)


def _common(own: Fingerprints, others: Sequence[Fingerprints]) -> set[int]:
    return {value for other in others for value in own.common(other)}


def _counts(folder: Folder, report: Report) -> None:
    """Reports where ``dataset.json`` is missing or tells of other numbers than there are."""
    about = folder.about
    if about is None:
        if folder.path.is_dir():
            problem = "there is no dataset.json: the conversion was stopped, or was made by hand"
            report.warn("no dataset.json", folder.path, None, problem)
        return
    counts = about.fields.get("counts")
    if not isinstance(counts, dict):
        report.errors.append(about.error("counts", "is missing; convert the data set again"))
        return
    found = {
        f"{name}.{what}": (uses[what], folder.splits[name].name)
        for name, uses in report.uses.items()
        for what in ("conversations", "turns")
    }
    told = {
        f"{name}.{what}": number
        for name, inner in counts.items()
        if isinstance(inner, dict)
        for what, number in inner.items()
    }
    if folder.corpus and folder.corpus.parent == folder.path:
        found["passages"] = report.passages, folder.corpus.name
        told["passages"] = counts.get("passages")
    for name, (number, file) in found.items():
        if told.get(name) != number:
            problem = f"is {told.get(name)}, but {file} has {number}"
            report.errors.append(about.error(f"counts.{name}", problem))
