"""Splits and corpora as hashes: what tells which ids resolve and which texts repeat.

Memory is 16 bytes a passage while a corpus is read and 8 afterwards (0.9 and 0.4 GB for 54
million), and 16 to 40 bytes a turn. Lines are not kept: where hashes show that something is wrong,
the file is read a second time to say where.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from uniconv.data import beir
from uniconv.data.conversations import conversation
from uniconv.data.fingerprints import Fingerprints, fingerprint, normalised
from uniconv.data.report import Reading
from uniconv.types import Conversation, Passage, Turn


@dataclass(slots=True, eq=False)
class Split:
    """The hashes of a split.

    ``talks`` are of all that was said in a conversation, ``contexts`` of what was said up to a
    question, ``queries`` of query ids, ``named`` of positives and negatives, and ``relevant`` of
    query ids with their positives.
    """

    name: str
    path: Path
    ids: Fingerprints = field(default_factory=Fingerprints)
    talks: Fingerprints = field(default_factory=Fingerprints)
    contexts: Fingerprints = field(default_factory=Fingerprints)
    queries: Fingerprints = field(default_factory=Fingerprints)
    named: Fingerprints = field(default_factory=Fingerprints)
    relevant: Fingerprints = field(default_factory=Fingerprints)
    positives: set[int] = field(default_factory=set)

    @classmethod
    def read(cls, name: str, path: Path, reading: Reading) -> Split:
        """Reads a split and reports what its turns show by themselves."""
        split = cls(name, path)
        uses = dict.fromkeys(("conversations", "turns", "retrieval", "generation", "joint"), 0)
        for line, one in reading.records(path, conversation):
            uses["conversations"] += 1
            split.ids.add(fingerprint(one.id))
            split.talks.add(talk(one))
            for number, (context, turn) in enumerate(
                zip(contexts(one), one.turns, strict=True), start=1
            ):
                split.contexts.add(context)
                split._add(one.query_id(number), turn)
                _check_turn(path, line, number, turn, reading)
                responds = bool((turn.response or "").strip())
                uses["turns"] += 1
                uses["retrieval"] += bool(turn.positives)
                uses["generation"] += responds
                uses["joint"] += responds and bool(turn.positives)
        reading.report.uses[name] = uses
        return split

    def _add(self, query: str, turn: Turn) -> None:
        self.queries.add(fingerprint(query))
        for id in (*turn.positives, *turn.negatives):
            self.named.add(fingerprint(id))
        for id in turn.positives:
            self.relevant.add(fingerprint(query, id))
            self.positives.add(fingerprint(id))


def contexts(one: Conversation) -> Iterator[int]:
    """The hash of what was said up to each question."""
    said: list[str] = []
    for turn in one.turns:
        said.append(normalised(turn.query))
        yield fingerprint(*said)
        said.append(normalised(turn.response or ""))


def talk(one: Conversation) -> int:
    """The hash of all that was said."""
    said = [text for turn in one.turns for text in (turn.query, turn.response or "")]
    return fingerprint(*map(normalised, said))


def _check_turn(path: Path, line: int, number: int, turn: Turn, reading: Reading) -> None:
    where = f"turns[{number - 1}]"
    for name, ids in (("positives", turn.positives), ("negatives", turn.negatives)):
        if len(set(ids)) < len(ids):
            twice = next(id for id in ids if ids.count(id) > 1)
            kind, problem = "passages listed twice", f"'{twice}' is listed twice"
            reading.report.warn(kind, path, line, problem, f"{where}.{name}")
    for id in sorted(set(turn.positives) & set(turn.negatives)):
        reading.report.fail(path, line, f"'{id}' is positive as well", f"{where}.negatives")
    if not (turn.positives or turn.rewrite or (turn.response or "").strip()):
        problem = "has no response, positives or rewrite: nothing to learn or to measure there"
        kind = "turns without response, positives and rewrite"
        reading.report.warn(kind, path, line, problem, where)


@dataclass(slots=True)
class Corpus:
    """The hashes of a corpus's ids, and those of the texts of wanted passages.

    ``known`` is False where there is no corpus: then every id counts as resolved.
    """

    known: bool
    ids: Fingerprints = field(default_factory=Fingerprints)
    texts: dict[int, int] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path | None, wanted: set[int], reading: Reading) -> Corpus:
        """Reads a corpus; reports passages that share an id (errors) or a text (warnings).

        ``wanted`` are the hashes of the ids whose texts are kept.
        """
        corpus = cls(path is not None)
        if path is None:
            return corpus
        texts = Fingerprints()
        for line, passage in reading.records(path, beir.passage):
            id, text = fingerprint(passage.id), _text(passage)
            corpus.ids.add(id)
            texts.add(text)
            if id in wanted:
                corpus.texts[id] = text
            if not passage.text.strip() and not passage.title.strip():
                problem = f"passage '{passage.id}' has neither text nor title"
                reading.report.warn("empty passages", path, line, problem, "text")
        reading.report.passages = len(corpus.ids)
        _say_repeated(path, corpus.ids.repeated(), texts.repeated(), reading)
        return corpus

    def lacks(self, wanted: Fingerprints) -> set[int]:
        """The hashes of ids that the corpus lacks."""
        return wanted.missing_from(self.ids) if self.known else set()

    def text_of(self, id: int) -> int:
        """What two copies of a passage have in common: its text, or its id if that is not known."""
        return self.texts.get(id, id)


def _text(passage: Passage) -> int:
    return fingerprint(normalised(passage.title), normalised(passage.text))


def _say_repeated(path: Path, ids: set[int], texts: set[int], reading: Reading) -> None:
    """Reports where the passages are whose ids or texts repeat."""
    if not ids and not texts:
        return
    lines_of_ids: dict[str, int] = {}
    lines_of_texts: dict[int, int] = {}
    for line, passage in reading.quietly().records(path, beir.passage):
        if fingerprint(passage.id) in ids:
            first = lines_of_ids.setdefault(passage.id, line)
            if first != line:
                problem = f"'{passage.id}' was already used on line {first}"
                reading.report.fail(path, line, problem, "_id")
        text = _text(passage)
        if text in texts:
            first = lines_of_texts.setdefault(text, line)
            if first != line:
                problem = f"passage '{passage.id}' has the text of line {first}"
                reading.report.warn("passages of the same text", path, line, problem)
