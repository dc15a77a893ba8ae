"""Doc2Dial and MultiDoc2Dial: dialogues about pages of public services.

Reads the release: ``<name>_doc.json`` (pages with numbered spans of text) and those of
``<name>_dial_{train,validation,test}.json`` that are there, by themselves or in ``<name>/``; or,
for Doc2Dial, the flat form of its validation split (``doc2dial_flat``).

Pages are cut into passages along their headings. A turn's positives are the passages of the spans
that the agent's utterance refers to; what the user's refers to is not used. ``type`` is the
user's dialogue act, ``response_type`` the agent's. A turn is ``unanswerable`` where the agent's
act is ``respond_no_solution`` or it refers to nothing; it has no positives. What one side says in
a row is one utterance; what the agent says before the first question is left out, and so are
dialogues without a question.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from uniconv.data import doc2dial_flat
from uniconv.data.dataset import DataSet, dialogue, find, find_any
from uniconv.data.lines import read_object
from uniconv.data.pages import cut
from uniconv.data.records import Record
from uniconv.types import UNANSWERABLE, Conversation, Passage, Turn

SPLITS = {"train": "train", "validation": "val", "test": "test"}
"""The release's names of splits and ours."""

Spans = dict[tuple[str, str], str]
"""The passage of a page's span."""


def read(source: Path, corpus: Path | None = None) -> DataSet:
    """Doc2Dial: every dialogue is about one page."""
    del corpus  # the pages are its own
    if find_any(source, f"doc2dial_{doc2dial_flat.SPLIT}_docs.json"):
        return doc2dial_flat.read(source)
    return _read("doc2dial", source)


def read_multi(source: Path, corpus: Path | None = None) -> DataSet:
    """MultiDoc2Dial: a dialogue goes through several pages."""
    del corpus  # the pages are its own
    return _read("multidoc2dial", source)


def _read(name: str, source: Path) -> DataSet:
    pages = find(source, f"{name}_doc.json", f"{name}/{name}_doc.json")
    places = {split: f"{name}_dial_{split}.json" for split in SPLITS}
    found = {split: find_any(source, place, f"{name}/{place}") for split, place in places.items()}
    files = {split: path for split, path in found.items() if path}
    if not files:
        find(source, *places.values())
    passages, spans = _passages(name, pages)
    splits: dict[str, list[Conversation]] = {}
    empty = 0
    for split, path in files.items():
        talks = [_conversation(one, spans) for one in _dialogues(path)]
        splits[SPLITS[split]] = [one for one in talks if one]
        empty += talks.count(None)
    counts = {"left out, dialogues without a question": empty}
    return DataSet(splits, (pages, *files.values()), passages, counts=counts)


def _passages(name: str, path: Path) -> tuple[list[Passage], Spans]:
    passages: list[Passage] = []
    passage_of: Spans = {}
    for domain, pages in read_object(path).record("doc_data").items():
        for page, record in pages.items():
            texts = {span: one.text("text_sp") for span, one in record.record("spans").items()}
            for passage, spans in cut(name, page, texts, {"domain": domain}):
                passages.append(passage)
                passage_of |= {(page, span): passage.id for span in spans}
    return passages, passage_of


def _dialogues(path: Path) -> Iterator[tuple[Record, str | None]]:
    """Dialogues with their page: by domain and page in Doc2Dial, by domain in MultiDoc2Dial."""
    data = read_object(path).record("dial_data")
    for domain in data.fields:
        if isinstance(data.fields[domain], list):
            yield from ((one, None) for one in data.records(domain))
        else:
            pages = data.record(domain)
            yield from ((one, page) for page in pages.fields for one in pages.records(page))


def _conversation(found: tuple[Record, str | None], spans: Spans) -> Conversation | None:
    record, page = found
    said: list[tuple[bool, str]] = []
    marks: dict[int, list[Record]] = {}
    for row in record.records("turns"):
        if row.text("role") not in ("user", "agent"):
            raise row.error("role", "is neither user nor agent")
        said.append((row.text("role") == "user", row.text("utterance")))
        marks.setdefault(len(dialogue(said)), []).append(row)
    turns = [
        _marked(turn, marks.get(number, ()), page, spans)
        for number, turn in enumerate(dialogue(said), start=1)
    ]
    return Conversation(record.identifier("dial_id"), tuple(turns)) if turns else None


def _marked(turn: Turn, rows: Sequence[Record], page: str | None, spans: Spans) -> Turn:
    """A turn with what is annotated on the utterances that it is made of."""
    attributes: dict[str, str] = {}
    positives: dict[str, None] = {}
    for row in rows:
        act = (row.optional_text("da") or "").lower()
        agent = row.text("role") == "agent"
        if act:
            attributes["response_type" if agent else "type"] = act
        if agent and act != "respond_no_solution":
            positives |= dict.fromkeys(
                _passage(reference, page, spans) for reference in row.records("references")
            )
    if turn.response is not None and not positives:
        attributes["answerability"] = UNANSWERABLE
    return replace(turn, positives=tuple(positives), attributes=attributes)


def _passage(reference: Record, page: str | None, spans: Spans) -> str:
    field = "sp_id" if reference.has("sp_id") else "id_sp"
    place = reference.text("doc_id") if page is None else page
    span = reference.text(field)
    if (place, span) not in spans:
        raise reference.error(field, f"'{span}' is no span of page '{place}'")
    return spans[place, span]
