"""MTRAG and MTRAG-UN: human multi-turn questions over four collections; and MTRAG's synthetic ones.

The collections are Wikipedia (``clapnq``), product manuals (``cloud``), finance (``fiqa``) and
public agencies (``govt``). Reads the official release or, where they are there, flat files:

- turns with their reference answers: ``mtrag-human/generation_tasks/reference.jsonl`` or
  ``mtrag_tasks.jsonl``; MTRAG-UN: ``mtragun-human/generation_tasks/reference.jsonl`` or
  ``mtragun_reference.jsonl``; synthetic: ``mtrag-synthetic/generation_tasks/reference.jsonl`` or
  ``mtrag_synthetic_tasks.jsonl``;
- judgements and, but for MTRAG-UN, rewrites below ``<set>/retrieval_tasks``;
- passages: ``corpora/passage_level/<collection>.jsonl``, zipped or not, or the pooled results of
  several retrievers, ``mtrag_passages_pooled.jsonl``.

Query ids of the retrieval tasks, ``conversation<::>turn``, become ``conversation_turn``. Turns
have the attributes ``type`` (several are joined by commas), ``multi_turn`` (``follow-up`` or
``clarification``) and ``answerability``, in lower case; what is ``N/A`` is left out. MTRAG-UN
judges the last turn of each conversation only. The synthetic set has no judgements: a turn's
positives are the passages that its answer was written from, and all of these are its corpus. The
human sets are evaluated on, never trained on; the synthetic one may be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from uniconv.data.beir import read_qrels, read_queries
from uniconv.data.dataset import DataSet, Reader, dialogue, find, find_any
from uniconv.data.lines import read_jsonl
from uniconv.data.records import Record
from uniconv.errors import DataError
from uniconv.types import Conversation, Passage, Turn

DOMAINS = ("clapnq", "cloud", "fiqa", "govt")
_SPEAKER = "|user|:"
_LABELS = {
    "type": ("Question Type",),
    "multi_turn": ("Multi-Turn",),
    "answerability": ("Answerability", "answerability"),
}
"""An attribute and the fields that give it."""


def reader(domain: str) -> Reader:
    """The reader of one collection of MTRAG."""
    return partial(_read_human, domain)


def un_reader(domain: str) -> Reader:
    """The reader of one collection of MTRAG-UN."""
    return partial(_read_un, domain)


def _read_human(domain: str, source: Path, corpus: Path | None = None) -> DataSet:
    del corpus  # the passages are its own
    reference = "generation_tasks/reference.jsonl"
    path = find(source, "mtrag_tasks.jsonl", f"mtrag-human/{reference}", f"human/{reference}")
    folders = [f"{top}/retrieval_tasks/{domain}" for top in ("mtrag-human", "human")]
    rewrites = find(source, *(f"{folder}/{domain}_rewrite.jsonl" for folder in folders))
    judged = find(source, *(f"{folder}/qrels/dev.tsv" for folder in folders))
    pool, passages = _corpus(domain, source)
    tasks = _tasks(path, domain)
    texts = read_queries(rewrites)
    for id, task in tasks.items():
        if id in texts:
            rewrite = texts[id].removeprefix(_SPEAKER).strip()
            tasks[id] = replace(task, turn=replace(task.turn, rewrite=rewrite))
    conversations = _conversations(path, tasks, _judged(judged, tasks))
    return DataSet({"dev": conversations}, (path, pool, rewrites, judged), passages)


def _read_un(domain: str, source: Path, corpus: Path | None = None) -> DataSet:
    del corpus  # the passages are its own
    path = find(source, "mtragun_reference.jsonl", "mtragun-human/generation_tasks/reference.jsonl")
    judged = find(source, f"mtragun-human/retrieval_tasks/qrels/{domain}.tsv")
    pool, passages = _corpus(domain, source)
    tasks = _tasks(path, domain)
    conversations = _conversations(path, tasks, _judged(judged, tasks))
    return DataSet({"test": conversations}, (path, pool, judged), passages)


def read_synthetic(source: Path, corpus: Path | None = None) -> DataSet:
    """The conversations that a model wrote, over all collections."""
    del corpus  # the passages are its own
    reference = "generation_tasks/reference.jsonl"
    names = (
        "mtrag_synthetic_tasks.jsonl",
        f"mtrag-synthetic/{reference}",
        f"synthetic/{reference}",
    )
    path = find(source, *names)
    tasks = _tasks(path)
    passages = {passage.id: passage for task in tasks.values() for passage in task.contexts}
    positives = {
        id: tuple(dict.fromkeys(passage.id for passage in task.contexts))
        for id, task in tasks.items()
    }
    conversations = _conversations(path, tasks, positives)
    return DataSet({"train": conversations}, (path,), list(passages.values()))


@dataclass(frozen=True, slots=True)
class _Task:
    """A turn with its place. ``before`` is what was said before it, where the file tells that."""

    conversation: str
    number: int
    turn: Turn
    before: list[tuple[bool, str]] | None
    contexts: list[Passage]


def _tasks(path: Path, domain: str | None = None) -> dict[str, _Task]:
    """The tasks of a collection, or of all, by their ids."""
    tasks: dict[str, _Task] = {}

    def parse(record: Record) -> None:
        flat = isinstance(record.fields.get("input"), str)
        of = _domain(record, "domain" if flat else "Collection")
        if domain not in (None, of):
            return
        id = record.identifier("task_id")
        conversation, split, number = id.partition("<::>")
        if not split or not number.isdecimal():
            raise record.error("task_id", "has no turn number; expected conversation<::>turn")
        labels = record.record("enrichments") if record.has("enrichments") else record
        attributes = _attributes(labels) | ({} if domain else {"domain": of})
        if flat:
            turn = Turn(record.spoken("input").strip(), record.text("gold_answer").strip())
            tasks[id] = _Task(conversation, int(number), turn, None, [])
        else:
            tasks[id] = _reference(record, conversation, int(number))
        turn = replace(tasks[id].turn, attributes=attributes)
        tasks[id] = replace(tasks[id], turn=turn)

    for _ in read_jsonl(path, parse, unique="task_id"):
        pass
    return tasks


def _reference(record: Record, conversation: str, number: int) -> _Task:
    """A task of the generation tasks, whose input is the dialogue up to the question."""
    said = []
    for place, message in enumerate(record.records("input")):
        speaker = "agent" if place % 2 else "user"
        if message.text("speaker") != speaker:
            problem = f"is '{message.text('speaker')}'; expected {speaker}, as the two take turns"
            raise message.error("speaker", problem)
        said.append((speaker == "user", message.spoken("text")))
    if len(said) % 2 == 0:
        raise record.error("input", "does not end with a question of the user")
    targets = record.records("targets")
    if not targets:
        raise record.error("targets", "is empty; expected the reference answer")
    contexts = [_passage(context, "document_id") for context in record.records("contexts")]
    turn = Turn(said[-1][1].strip(), targets[0].text("text").strip())
    return _Task(conversation, number, turn, said[:-1], contexts)


def _attributes(record: Record) -> dict[str, str]:
    """What the annotators said of a turn, in lower case."""
    found = {}
    for name, fields in _LABELS.items():
        texts = [text for field in fields for text in record.texts(field)]
        value = ", ".join(text.strip().lower() for text in texts)
        if value and value != "n/a":
            found[name] = "follow-up" if value == "follow up" else value
    return found


def _domain(record: Record, field: str) -> str:
    """The collection, also where it is a longer name, such as ``mt-rag-govt-elser-512``."""
    name = record.text(field)
    return next((domain for domain in DOMAINS if domain in name), name)


def _judged(path: Path, tasks: Mapping[str, _Task]) -> dict[str, tuple[str, ...]]:
    """The relevant passages of the turns that are judged."""
    qrels = read_qrels(path)
    absent = next((id for id in qrels if id not in tasks), None)
    if absent is not None:
        raise DataError(path, None, f"query '{absent}' is no turn of the tasks")
    return {
        id: tuple(passage for passage, grade in grades.items() if grade > 0)
        for id, grades in qrels.items()
    }


def _conversations(
    path: Path, tasks: Mapping[str, _Task], positives: Mapping[str, tuple[str, ...]]
) -> list[Conversation]:
    """Puts together the tasks of each conversation.

    Turns that have no task of their own are those that the last task tells of.
    """
    groups: dict[str, dict[int, Turn]] = {}
    last: dict[str, _Task] = {}
    for id, task in tasks.items():
        turn = replace(task.turn, positives=positives.get(id, ()))
        groups.setdefault(task.conversation, {})[task.number] = turn
        if task.number >= last.setdefault(task.conversation, task).number:
            last[task.conversation] = task
    conversations = []
    for id, turns in groups.items():
        told = dict(enumerate(dialogue(last[id].before or ()), start=1))
        spoken = told | turns
        numbers = sorted(spoken)
        if numbers != list(range(1, last[id].number + 1)):
            problem = f"conversation '{id}' has turns {numbers}, expected all from 1"
            raise DataError(path, None, problem)
        conversations.append(Conversation(id, tuple(spoken[number] for number in numbers)))
    return conversations


def _corpus(domain: str, source: Path) -> tuple[Path, Iterable[Passage]]:
    """The passages of a collection: streamed from the release, or from the pool."""
    name, member = f"corpora/passage_level/{domain}", f"{domain}.jsonl"
    packed = (f"{name}.jsonl.zip/{member}", f"{name}.json.zip/{member}")
    full = find_any(source, f"{name}.jsonl", *packed)
    if full is not None:
        return full, read_jsonl(full, partial(_passage, id="_id"))
    pool = find(source, "mtrag_passages_pooled.jsonl", f"{name}.jsonl.zip")

    def parse(record: Record) -> Passage | None:
        return _passage(record, "_id") if record.text("domain") == domain else None

    return pool, [one for one in read_jsonl(pool, parse, unique="_id") if one]


def _passage(record: Record, id: str) -> Passage:
    title = (record.optional_text("title") or "").strip()
    return Passage(record.identifier(id), record.text("text"), title)
