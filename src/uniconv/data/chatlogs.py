"""Chat logs: UltraChat, and whatever has messages as in OpenAI's chat format.

- ``ultrachat``: every ``*.jsonl`` or ``*.json`` file of the folder (``train_0.jsonl`` and so on),
  an object a line with ``id`` and ``data``, what user and assistant say by turns. All become the
  split ``train``.
- ``openai-messages``: a file, or every ``*.jsonl`` or ``*.jsonl.gz`` file of a folder or a zip
  archive, a split each; an object a line with ``messages`` (``role``, ``content``) and, if there
  is one, ``id``. Content is a string or a list of parts, whose texts are joined by line breaks.
  Messages of one side in a row are joined by a space.

There are no passages. Conversations are streamed. System and tool messages, calls of tools, parts
that are no text, and what is said before the user's first message are left out and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from uniconv.data.archives import files_under
from uniconv.data.dataset import DataSet, dialogue
from uniconv.data.lines import read_jsonl
from uniconv.data.records import Record
from uniconv.errors import DataError
from uniconv.types import Conversation

_UNSPOKEN = {"system", "developer", "tool", "function"}


def read_ultrachat(source: Path, corpus: Path | None = None) -> DataSet:
    """All dialogues, with the name of their file before their id."""
    del corpus
    paths = _files(source, ".jsonl", ".json")
    counts: Counter[str] = Counter()

    def conversations() -> Iterator[Conversation]:
        for path in paths:
            for record in read_jsonl(path, lambda record: record):
                utterances = record.texts("data")
                if not utterances or any(not text.strip() for text in utterances):
                    counts["left out, dialogues with an empty utterance or none"] += 1
                    continue
                spoken = [(place % 2 == 0, text) for place, text in enumerate(utterances)]
                yield Conversation(f"{_stem(path)}_{record.key('id')}", tuple(dialogue(spoken)))

    return DataSet({"train": conversations()}, paths, counts=counts)


def read_messages(source: Path, corpus: Path | None = None) -> DataSet:
    """A split a file."""
    del corpus
    paths = [source] if source.is_file() and source.suffix != ".zip" else []
    paths = paths or _files(source, ".jsonl", ".jsonl.gz")
    counts: Counter[str] = Counter()
    splits: dict[str, Iterator[Conversation]] = {}
    for path in paths:
        if _stem(path) in splits:
            raise DataError(path, None, "has the name of another file; expected a split a name")
        splits[_stem(path)] = _conversations(path, counts)
    return DataSet(splits, paths, counts=counts)


def _files(source: Path, *suffixes: str) -> list[Path]:
    paths = files_under(source, *suffixes)
    if not paths:
        problem = f"has no file *{' or *'.join(suffixes)}; is this the right folder?"
        raise DataError(source, None, problem)
    return paths


def _stem(path: Path) -> str:
    return path.name.split(".")[0]


def _conversations(path: Path, counts: Counter[str]) -> Iterator[Conversation]:
    lines: dict[str, int] = {}
    for record in read_jsonl(path, lambda record: record):
        id = record.key("id") if record.has("id") else f"{_stem(path)}_{record.line}"
        if id in lines:
            raise record.error("id", f"'{id}' was already used on line {lines[id]}")
        lines[id] = record.line or 0
        spoken = [said for row in record.records("messages") for said in _said(row, counts)]
        first = next((place for place, (by_user, _) in enumerate(spoken) if by_user), len(spoken))
        counts["left out, messages before the user's first"] += first
        turns = dialogue(spoken)
        if turns:
            yield Conversation(id, tuple(turns))
        else:
            counts["left out, logs in which the user says nothing"] += 1


def _said(row: Record, counts: Counter[str]) -> Iterator[tuple[bool, str]]:
    """Whether the user spoke, and what was said; nothing for messages that are left out."""
    role = row.text("role")
    if role in _UNSPOKEN:
        counts[f"left out, {role} messages"] += 1
        return
    if role not in ("user", "assistant"):
        known = ", ".join(("user", "assistant", *sorted(_UNSPOKEN)))
        raise row.error("role", f"is '{role[:40]}'; expected one of {known}")
    calls = row.has("tool_calls") or row.has("function_call")
    counts["left out, calls of tools"] += calls
    refusal = row.optional_text("refusal") if not row.has("content") else None
    if refusal is None and not row.has("content"):
        if not calls:
            raise row.error("content", "is missing; expected a string or a list of parts")
        return
    text = refusal if refusal is not None else _text(row, counts)
    if text.strip():
        yield role == "user", text
    elif not calls:
        counts["left out, messages without text"] += 1


def _text(row: Record, counts: Counter[str]) -> str:
    """The content of a message, whether a string or a list of parts."""
    if not isinstance(row.fields["content"], list):
        return row.text("content")
    texts = []
    for part in row.records("content"):
        kind = part.text("type")
        if kind in ("text", "refusal"):
            texts.append(part.text(kind))
        else:
            counts["left out, parts that are no text"] += 1
    return "\n".join(texts)
