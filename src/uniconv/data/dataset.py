"""What a reader makes of a data set's own files, and the folder it is written to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os.path import commonpath
from pathlib import Path
from typing import Any

from uniconv.data.archives import is_file, on_disk
from uniconv.data.beir import Qrels, read_corpus, write_corpus, write_qrels
from uniconv.data.conversations import qrels_of, write_conversations
from uniconv.data.fingerprints import Fingerprints, fingerprint
from uniconv.data.lines import read_jsonl, write_jsonl
from uniconv.errors import DataError
from uniconv.files import provenance, sha256, write_json
from uniconv.types import Conversation, Passage, Turn

Reader = Callable[[Path, Path | None], "DataSet"]
"""From the folder of the native files, and a corpus that several sets share, to a DataSet."""


@dataclass(frozen=True, slots=True)
class DataSet:
    """Conversations by split, and what belongs to them.

    Conversations and ``passages`` may be generators: then they are streamed to their files, once,
    in constant memory (8 bytes a conversation), and ids of passages are not compared. ``passages``
    are None where they are those of a shared corpus, or where there are none. ``qrels`` are
    judgements by file name: beside those of the splits' positives or, under a split's name, in
    their place (graded, say).
    ``references`` are all reference responses of a turn by its query id, where there are several.
    ``sources`` are the files that were read, ``counts`` whatever else is worth knowing, such as
    what was left out; they are looked at when all streams have ended.
    """

    splits: Mapping[str, Iterable[Conversation]]
    sources: Sequence[Path]
    passages: Iterable[Passage] | None = None
    qrels: Mapping[str, Qrels] = field(default_factory=dict)
    references: Mapping[str, Sequence[str]] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)

    def write(self, out: Path | str, **about: Any) -> dict[str, Any]:
        """Writes the interchange folder; ``dataset.json`` comes last and tells what it holds.

        A folder without it is incomplete: the conversion was stopped.

        Returns:
            The contents of ``dataset.json``.

        Raises:
            DataError: two conversations or two passages (unless streamed) have the same id, or
                there are no conversations at all.
        """
        self._check_ids()
        out = Path(out)
        (out / "dataset.json").unlink(missing_ok=True)
        counts: dict[str, Any] = {}
        if self.passages is not None:
            counts["passages"] = write_corpus(out / "corpus.jsonl", self.passages)
        for split, conversations in self.splits.items():
            counts[split] = self._write_split(out, split, conversations)
        if not any(counts[split]["conversations"] for split in self.splits):
            where = self.sources[0] if self.sources else out
            raise DataError(where, None, "gives no conversations; is the file complete?")
        for name, qrels in self.qrels.items():
            write_qrels(out / f"{name}.qrels.tsv", qrels)
            counts.setdefault(name, {})["queries"] = len(qrels)
        counts |= self.counts
        summary = provenance(**about, counts=counts, sources=self._checksums())
        write_json(out / "dataset.json", summary)
        return summary

    def _check_ids(self) -> None:
        """What has the same id could be written but not read again; streams are not looked at."""
        groups: dict[str, Sequence[Passage | Conversation]] = {}
        if isinstance(self.passages, Sequence):
            groups["passage"] = self.passages
        for split, talks in self.splits.items():
            if isinstance(talks, Sequence):
                groups[f"{split} conversation"] = talks
        for kind, items in groups.items():
            used = Counter(item.id for item in items).most_common(1)
            if used and used[0][1] > 1:
                id, count = used[0]
                raise DataError(
                    self.sources[0], None, f"the {kind} id '{id}' is used {count} times"
                )

    def _write_split(
        self, out: Path, split: str, conversations: Iterable[Conversation]
    ) -> dict[str, int]:
        """Writes a split in one pass; gives the numbers of conversations, turns and queries."""
        counts = {"conversations": 0, "turns": 0, "queries": 0}
        qrels: Qrels = {}
        references: list[dict[str, Any]] = []
        used = Fingerprints()

        def passing() -> Iterator[Conversation]:
            for one in conversations:
                used.add(fingerprint(one.id))
                counts["conversations"] += 1
                counts["turns"] += len(one.turns)
                qrels.update(qrels_of([one]))
                ids = (one.query_id(number) for number in range(1, len(one.turns) + 1))
                references.extend(
                    {"_id": id, "references": self.references[id]}
                    for id in ids
                    if self.references.get(id)
                )
                yield one

        write_conversations(out / f"{split}.jsonl", passing())
        self._refuse_repeated(out / f"{split}.jsonl", split, used.repeated())
        write_qrels(out / f"{split}.qrels.tsv", qrels)
        if references:
            write_jsonl(out / f"{split}.references.jsonl", references)
        return counts | {"queries": len(qrels)}

    def _refuse_repeated(self, written: Path, split: str, repeated: set[int]) -> None:
        """What was streamed shows only at its end whether an id repeats."""
        if not repeated:
            return
        ids = (record.text("id") for record in read_jsonl(written, lambda record: record))
        id = next(id for id in ids if fingerprint(id) in repeated)
        written.unlink()
        problem = f"the {split} conversation id '{id}' is used more than once"
        raise DataError(self.sources[0], None, problem)

    def _checksums(self) -> dict[str, str]:
        """The checksums of the sources by their names or, where those repeat, their paths."""
        paths = list(dict.fromkeys(on_disk(path) for path in self.sources))
        top = commonpath([path.parent for path in paths]) if paths else ""
        alone = Counter(path.name for path in paths)
        return {
            path.name if alone[path.name] == 1 else path.relative_to(top).as_posix(): sha256(path)
            for path in paths
        }


def find(source: Path, *names: str) -> Path:
    """The first of these files that is in the folder.

    Raises:
        DataError: none is.
    """
    path = find_any(source, *names)
    if path is None:
        problem = f"has no file {' or '.join(names)}; is this the right folder?"
        raise DataError(source, None, problem)
    return path


def find_any(source: Path, *names: str) -> Path | None:
    """The first of these files that is in the folder, or None."""
    return next((source / name for name in names if is_file(source / name)), None)


def keep_known(splits: dict[str, list[Conversation]], corpus: Path | None) -> dict[str, int]:
    """Drops positives that a shared corpus lacks; without a corpus all are kept.

    Returns:
        How many were dropped, for the counts of a data set.
    """
    if corpus is None:
        return {}
    wanted = {id for talks in splits.values() for one in talks for id in positives_of(one)}
    known = {passage.id for passage in read_corpus(corpus) if passage.id in wanted}
    dropped = 0
    for conversations in splits.values():
        for number, one in enumerate(conversations):
            kept = [tuple(id for id in turn.positives if id in known) for turn in one.turns]
            dropped += sum(map(len, (turn.positives for turn in one.turns))) - sum(map(len, kept))
            conversations[number] = Conversation(
                one.id,
                tuple(
                    replace(turn, positives=ids) for turn, ids in zip(one.turns, kept, strict=True)
                ),
            )
    return {"dropped, positives that the corpus lacks": dropped}


def positives_of(conversation: Conversation) -> set[str]:
    """The ids of all passages that are relevant to one of its turns."""
    return {id for turn in conversation.turns for id in turn.positives}


def dialogue(utterances: Iterable[tuple[bool, str]]) -> list[Turn]:
    """The turns of a dialogue, from its utterances, each with whether the user spoke.

    What one side says in a row is joined by a space; what is said before the first question is
    left out. The last turn has no response where the user spoke last.
    """
    turns: list[Turn] = []
    for by_user, text in utterances:
        text = text.strip()
        last = turns[-1] if turns else None
        if not text or (last is None and not by_user):
            continue
        if last is None or (by_user and last.response is not None):
            turns.append(Turn(text))
        elif by_user:
            turns[-1] = replace(last, query=f"{last.query} {text}")
        else:
            turns[-1] = replace(last, response=f"{last.response or ''} {text}".strip())
    return turns
