"""Single questions with passages and answers, as conversations of one turn.

Natural Questions through QED, SQuAD 1.1 and 2.0, CLAPNQ, OTT-QA and HybridQA. Questions without
an answer are left out. They warm up retrieval and teach grounded answers.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from urllib.parse import unquote

from uniconv.data.beir import read_corpus
from uniconv.data.dataset import DataSet, Reader, find
from uniconv.data.lines import read_jsonl, read_object
from uniconv.data.records import Record
from uniconv.errors import DataError, UniConvError
from uniconv.types import Conversation, Passage, Turn

Question = tuple[str, str, tuple[str, ...], Passage]
"""Id, question, answers (best first) and the passage that holds them."""


def _answered(record: Record, field: str) -> tuple[str, ...]:
    """Answers without blanks and repetitions, in their order."""
    return tuple(dict.fromkeys(text.strip() for text in record.texts(field) if text.strip()))


def _data_set(split: str, path: Path, questions: Iterable[Question | None]) -> DataSet:
    """Passages of the same title and text become one."""
    passages: dict[tuple[str, str], Passage] = {}
    conversations, references, unanswered = [], {}, 0
    for question in questions:
        if question is None:
            unanswered += 1
            continue
        id, query, answers, passage = question
        passage = passages.setdefault((passage.title, passage.text), passage)
        one = Conversation(id, (Turn(query, answers[0], positives=(passage.id,)),))
        conversations.append(one)
        if len(answers) > 1:
            references[one.query_id(1)] = answers
    return DataSet(
        {split: conversations},
        (path,),
        list(passages.values()),
        references=references,
        counts={"left out, without an answer": unanswered},
    )


def read_qed(source: Path, corpus: Path | None = None) -> DataSet:
    """Natural Questions with the paragraphs that QED annotated (``qed_nq.jsonl``)."""
    del corpus
    path = find(source, "qed_nq.jsonl")

    def parse(record: Record) -> Question | None:
        id = f"qed_{record.integer('id')}"
        answers = _answered(record, "answers")
        passage = Passage(id, record.spoken("paragraph"), record.text("title"))
        return (id, record.spoken("question"), answers, passage) if answers else None

    return _data_set("train", path, read_jsonl(path, parse))


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

    return _data_set("dev", path, questions())


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

    return _data_set("dev", path, read_jsonl(path, parse, unique="id"))


def linked(name: str) -> Reader:
    """The reader of ``ottqa`` or ``hybridqa``, whose passages are Wikipedia links."""
    return partial(_read_linked, name)


def _read_linked(name: str, source: Path, corpus: Path | None = None) -> DataSet:
    """Links become the passages of those titles in the shared corpus."""
    if corpus is None:
        raise UniConvError(f"{name} names its passages by title; give the corpus that holds them")
    path = find(source, f"{name}_dev.jsonl")
    by_title: dict[str, str] = {}
    for passage in read_corpus(corpus):
        by_title.setdefault(passage.title, passage.id)
    missing = 0

    def parse(record: Record) -> Conversation | None:
        nonlocal missing
        titles = [
            unquote(link.removeprefix("/wiki/")).replace("_", " ")
            for link in record.texts("passages")
        ]
        positives = dict.fromkeys(by_title[title] for title in titles if title in by_title)
        missing += not positives
        if not positives:
            return None
        turn = Turn(record.spoken("question"), record.spoken("answer"), positives=tuple(positives))
        return Conversation(f"{name}_{record.identifier('id')}", (turn,))

    conversations = [one for one in read_jsonl(path, parse, unique="id") if one]
    if not conversations:
        raise DataError(path, None, f"none of its passages is in {corpus}")
    return DataSet(
        {"dev": conversations}, (path,), counts={"left out, no passage in the corpus": missing}
    )
