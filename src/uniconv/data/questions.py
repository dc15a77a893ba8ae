"""Single questions with passages and answers, as conversations of one turn.

Natural Questions through QED, SQuAD 1.1 and 2.0, CLAPNQ, OTT-QA and HybridQA. Questions without
an answer are left out. They warm up retrieval and teach grounded answers. Of OTT-QA and HybridQA,
the questions are read whose answers lie in passages that their tables link to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import unquote

from uniconv.data.beir import read_corpus
from uniconv.data.dataset import DataSet, Reader, find, find_any
from uniconv.data.lines import read_jsonl, read_object, read_records
from uniconv.data.records import Record
from uniconv.errors import DataError, UniConvError
from uniconv.types import Conversation, Passage, Turn

_RELEASED = {
    "ottqa": ("released_data/dev.traced.json", "dev.traced.json"),
    "hybridqa": ("released_data/dev.json", "dev.json"),
}
"""The files of the releases in which the nodes of the answers are."""

Question = tuple[str, str, tuple[str, ...], Passage]
"""Id, question, answers (best first) and the passage that holds them."""


def _answered(record: Record, field: str) -> tuple[str, ...]:
    """Answers without blanks and repetitions, in their order."""
    return tuple(dict.fromkeys(text.strip() for text in record.texts(field) if text.strip()))


def _data_set(splits: Mapping[str, tuple[Path, Iterable[Question | None]]]) -> DataSet:
    """Passages of the same title and text become one."""
    passages: dict[tuple[str, str], Passage] = {}
    conversations: dict[str, list[Conversation]] = {split: [] for split in splits}
    references: dict[str, tuple[str, ...]] = {}
    unanswered = 0
    for split, (_, questions) in splits.items():
        for question in questions:
            if question is None:
                unanswered += 1
                continue
            id, query, answers, passage = question
            passage = passages.setdefault((passage.title, passage.text), passage)
            one = Conversation(id, (Turn(query, answers[0], positives=(passage.id,)),))
            conversations[split].append(one)
            if len(answers) > 1:
                references[one.query_id(1)] = answers
    return DataSet(
        conversations,
        [path for path, _ in splits.values()],
        list(passages.values()),
        references=references,
        counts={"left out, without an answer": unanswered},
    )


def read_qed(source: Path, corpus: Path | None = None) -> DataSet:
    """Natural Questions with the paragraphs that QED annotated.

    ``qed-train.jsonlines`` and ``qed-dev.jsonlines``, or ``qed_nq.jsonl``, both as one with
    shorter names of the fields.
    """
    del corpus
    flat = find_any(source, "qed_nq.jsonl")
    if flat is not None:
        return _data_set({"train": (flat, read_jsonl(flat, _qed_flat))})
    paths = {split: find(source, f"qed-{split}.jsonlines") for split in ("train", "dev")}
    return _data_set({split: (path, read_jsonl(path, _qed)) for split, path in paths.items()})


def _qed_flat(record: Record) -> Question | None:
    id = f"qed_{record.integer('id')}"
    answers = _answered(record, "answers")
    passage = Passage(id, record.spoken("paragraph"), record.text("title"))
    return (id, record.spoken("question"), answers, passage) if answers else None


def _qed(record: Record) -> Question | None:
    """An answer is a list of spans, which are joined by commas."""
    id = f"qed_{record.integer('example_id')}"
    joined = []
    for number, spans in enumerate(record.list("original_nq_answers")):
        within = f"original_nq_answers[{number}]"
        answer = Record(record.path, record.line, {"spans": spans}, within)
        joined.append(", ".join(span.text("string").strip() for span in answer.records("spans")))
    answers = tuple(dict.fromkeys(filter(None, joined)))
    passage = Passage(id, record.spoken("paragraph_text"), record.text("title_text"))
    return (id, record.spoken("question_text"), answers, passage) if answers else None


def squad(version: str, *names: str) -> Reader:
    """The reader of SQuAD's development questions in version ``1.1`` or ``2.0``."""
    return partial(_read_squad, version, names)


def _read_squad(
    version: str, names: tuple[str, ...], source: Path, corpus: Path | None = None
) -> DataSet:
    del corpus
    path = find(source, *names)

    def questions() -> Iterable[Question | None]:
        number = 0
        for page, article in enumerate(read_object(path).records("data")):
            for place, paragraph in enumerate(article.records("paragraphs")):
                passage = Passage(
                    f"squad{version}:{page}:{place}",
                    paragraph.spoken("context"),
                    article.text("title").replace("_", " "),
                )
                for question in paragraph.records("qas"):
                    number += 1
                    id = question.optional_text("id") or f"squad{version}_{number}"
                    answers = _squad_answers(question)
                    query = question.spoken("question").strip()
                    yield (id, query, answers, passage) if answers else None

    return _data_set({"dev": (path, questions())})


def _squad_answers(question: Record) -> tuple[str, ...]:
    """Answers are objects with ``text`` in the official files, plain strings in derived ones."""
    if any(isinstance(answer, dict) for answer in question.list("answers")):
        texts = [answer.text("text").strip() for answer in question.records("answers")]
        return tuple(dict.fromkeys(text for text in texts if text))
    return _answered(question, "answers")


def read_clapnq(source: Path, corpus: Path | None = None) -> DataSet:
    """CLAPNQ's answerable development questions: one passage, long cohesive answers."""
    del corpus
    name = "clapnq_dev_answerable.jsonl"
    path = find(source, f"annotated_data/dev/{name}", name)

    def parse(record: Record) -> Question | None:
        id = f"clapnq_{record.identifier('id')}"
        outputs = [output.text("answer").strip() for output in record.records("output")]
        answers = tuple(dict.fromkeys(answer for answer in outputs if answer))
        first = next(iter(record.records("passages")), None)
        if first is None:
            raise record.error("passages", "is empty; expected a passage")
        passage = Passage(id, first.spoken("text").strip(), first.text("title"))
        return (id, record.spoken("input"), answers, passage) if answers else None

    return _data_set({"dev": (path, read_jsonl(path, parse, unique="id"))})


def linked(name: str) -> Reader:
    """The reader of ``ottqa`` or ``hybridqa``, whose passages are Wikipedia links."""
    return partial(_read_linked, name)


def _read_linked(name: str, source: Path, corpus: Path | None = None) -> DataSet:
    """Links become the passages of those titles in the shared corpus."""
    if corpus is None:
        raise UniConvError(f"{name} names its passages by title; give the corpus that holds them")
    path = find(source, f"{name}_dev.jsonl", *_RELEASED[name])
    by_title: dict[str, str] = {}
    for passage in read_corpus(corpus):
        by_title.setdefault(passage.title, passage.id)
    counts = {"left out, no passage in the corpus": 0, "left out, answer in no passage": 0}
    conversations = []
    ids: set[str] = set()
    for record in read_records(path):
        question = _linked(record)
        titles = [unquote(link.removeprefix("/wiki/")).replace("_", " ") for link in question.links]
        positives = dict.fromkeys(by_title[title] for title in titles if title in by_title)
        counts["left out, answer in no passage"] += not titles
        counts["left out, no passage in the corpus"] += bool(titles and not positives)
        if question.id in ids:
            raise record.error(question.id_field, f"'{question.id}' was already used")
        ids.add(question.id)
        if positives:
            turn = Turn(question.query, question.answer, positives=tuple(positives))
            conversations.append(Conversation(f"{name}_{question.id}", (turn,)))
    if not conversations:
        raise DataError(path, None, f"none of its passages is in {corpus}")
    return DataSet({"dev": conversations}, (path,), counts=counts)


@dataclass(frozen=True, slots=True)
class _Linked:
    """A question whose passages are named by links such as ``/wiki/Ada_Lovelace``."""

    id: str
    query: str
    answer: str
    links: tuple[str, ...]
    id_field: str


def _linked(record: Record) -> _Linked:
    """The release has the answer's nodes, ``[text, place, link or null, passage or table]``."""
    if record.has("passages"):
        texts = (record.identifier("id"), record.spoken("question"), record.spoken("answer"))
        return _Linked(*texts, record.texts("passages"), "id")
    links: dict[str, None] = {}
    for number, node in enumerate(record.list("answer-node")):
        match node:
            case [_, _, str(link), "passage"]:
                links[link] = None
            case [_, _, str() | None, str()]:
                continue
            case _:
                problem = "is not text, place, link and kind"
                raise record.error(f"answer-node[{number}]", problem)
    id, query = record.identifier("question_id"), record.spoken("question")
    return _Linked(id, query, record.spoken("answer-text"), tuple(links), "question_id")
