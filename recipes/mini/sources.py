"""The data sets of the mini recipe as examples: a conversation, its passage, the sentence that
answers it.

Every source is a generator over a folder of the data, so that one that is absent can be skipped.
Evaluation sets (TopiOCQA dev, MTRAG human, CAsT, INSCIT) are not read here.
"""

from __future__ import annotations

import json
import random
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from documentation import standard_library
from text import STOP_WORDS, clean, content_words, overlap, read_lines, sentences

WIKI = "wiki_corpus/corpus.jsonl"
"""The Wikipedia passages, in the folder of the data."""


@dataclass(frozen=True, slots=True)
class Example:
    """``turns`` alternate question and response and end with a question.

    ``answer`` is a sentence of ``text`` or None; ``rewrite`` is the last question made
    self-contained, or None. ``group`` names what must be held out together.
    """

    source: str
    group: str
    turns: list[str]
    title: str
    text: str
    answer: str | None = None
    rewrite: str | None = None


def examples(data: Path, library: Path | None = None) -> Iterator[Example]:
    """All examples in an order that is shuffled once; a set that is absent is skipped."""
    corpus = data / WIKI
    readers: dict[str, Callable[[], Iterator[Example]]] = {
        "squad": lambda: squad(data / "squad"),
        "qed_nq": lambda: qed(data / "qed_nq"),
        "clapnq": lambda: clapnq(data / "clapnq"),
        "medquad": lambda: medquad(data / "medquad"),
        "topiocqa": lambda: topiocqa(data / "topiocqa", corpus),
        "doc2dial": lambda: doc2dial(data / "doc2dial"),
        "dstc": lambda: dstc(data / "dstc"),
        "mtrag": lambda: mtrag_synthetic(data / "mtrag"),
        "canard": lambda: canard(data / "canard", data / "qrecc"),
    }
    found = [one for name, read in readers.items() if (data / name).is_dir() for one in read()]
    found += docstrings(library)
    random.Random(0).shuffle(found)
    yield from found


def answer_sentence(text: str, answers: list[str], question: str) -> str | None:
    """The sentence of ``text`` that holds an answer and shares most with the question."""
    holding = [s for s in sentences(text) if any(a and a.lower() in s.lower() for a in answers)]
    return max(holding, key=lambda s: overlap(question, s), default=None)


def best_sentence(text: str, response: str, least: float) -> str | None:
    """The sentence of ``text`` that a free response rests on, if it covers enough of it."""
    best = max(sentences(text), key=lambda s: overlap(response, s), default=None)
    return best if best and content_words(response) and overlap(response, best) >= least else None


def squad(folder: Path) -> Iterator[Example]:
    for name in ("dev-v2.0.from_explore_html.json", "dev-1.1.from_explore_html.json"):
        for article in json.loads((folder / name).read_text("utf-8"))["data"]:
            title = article["title"].replace("_", " ")
            for paragraph in article["paragraphs"]:
                text = clean(paragraph["context"])
                for qa in paragraph["qas"]:
                    answers = qa["answers"]
                    question = clean(qa["question"])
                    if answers:
                        answer = answer_sentence(text, answers, question)
                        yield Example("squad", title, [question], title, text, answer, question)


def qed(folder: Path) -> Iterator[Example]:
    for row in read_lines(folder / "qed_nq.jsonl"):
        text, question = clean(row["paragraph"]), clean(row["question"])
        answer = answer_sentence(text, [clean(a) for a in row["answers"]], question)
        yield Example("qed", row["title"], [question], row["title"], text, answer, question)


def clapnq(folder: Path) -> Iterator[Example]:
    for row in read_lines(folder / "annotated_data/dev/clapnq_dev_answerable.jsonl"):
        passage, question = row["passages"][0], clean(row["input"])
        text = clean(passage["text"])
        chosen = [clean(s) for s in row["output"][0].get("selected_sentences", [])]
        answer = max(chosen, key=lambda s: overlap(question, s), default=None)
        title = passage["title"]
        yield Example("clapnq", title, [question], title, text, answer, question)


def medquad(folder: Path) -> Iterator[Example]:
    for row in read_lines(folder / "medquad.jsonl"):
        text = clean(row["answer"])
        if len(text) > 60:
            question = clean(row["question"])
            # Many answers begin with the question in other words.
            told = (one for one in sentences(text[:700]) if not one.endswith("?"))
            first = next(told, None)
            title = row["focus"] or ""
            yield Example("medquad", title, [question], title, text[:900], first, question)


def topiocqa(folder: Path, corpus: Path) -> Iterator[Example]:
    """Training turns with a usable gold passage; for the others the topic with the answer."""
    gold = {
        (g["conv"], g["turn"]): g["pid"]
        for g in read_lines(folder / "train_gold.jsonl")
        if g["use"]
    }
    wanted = set(gold.values())
    passages = {p["_id"]: p for p in read_lines(corpus) if p["_id"] in wanted}
    with zipfile.ZipFile(folder / "topiocqa.zip") as archive:
        turns = json.loads(archive.read("topiocqa_train.json"))
    for turn in turns:
        if turn["Answer"] == "UNANSWERABLE" or not turn["Topic"]:
            continue
        key = (turn["Conversation_no"], turn["Turn_no"])
        said = [*turn["Context"], turn["Question"]]
        group, rewrite = f"topiocqa{key[0]}", f"{turn['Question']} {turn['Topic']}"
        passage = passages.get(gold.get(key, ""))
        if passage:
            text = clean(passage["text"])
            answer = best_sentence(text, turn["Answer"], 0.6)
            yield Example("topiocqa", group, said, passage["title"], text, answer, rewrite)
        else:
            text = f"{turn['Topic_section']}. {turn['Answer']}"
            yield Example("topiocqa_topic", group, said, turn["Topic"], text, None, rewrite)


def doc2dial(folder: Path) -> Iterator[Example]:
    documents = json.loads((folder / "doc2dial_val_docs.json").read_text("utf-8"))
    for turn in json.loads((folder / "doc2dial_val_turns.json").read_text("utf-8")):
        speakers = [speaker for speaker, _ in turn["history"]]
        if speakers != ["user", "agent"] * (len(speakers) // 2) + ["user"]:
            continue
        document = documents[turn["doc"]]["text"]
        start = max(0, document.rfind("\n", 0, max(0, turn["start"] - 250)))
        text = clean(document[start : turn["start"] + 500])
        answer = best_sentence(text, turn["grounding"], 0.6)
        title = turn["doc"].split("#")[0]
        said = [clean(text) for _, text in turn["history"]]
        yield Example("doc2dial", turn["doc"], said, title, text, answer)


def dstc(folder: Path) -> Iterator[Example]:
    for year in ("10", "11"):
        knowledge, logs, labels = (
            json.loads((folder / f"dstc{year}_{name}.json").read_text("utf-8"))
            for name in ("knowledge", "val_logs", "val_labels")
        )
        for number, (log, label) in enumerate(zip(logs, labels, strict=True)):
            said = _alternate(log)
            if label["target"] and said:
                snippet = _snippet(knowledge, label["knowledge"][0])
                if snippet:
                    name, text, answer = snippet
                    group = f"dstc{year}{number // 20}"
                    yield Example("dstc", group, said, name, text, answer)


def _snippet(knowledge: Any, at: dict[str, Any]) -> tuple[str, str, str] | None:
    entity = knowledge[at["domain"]][str(at["entity_id"])]
    name, number = (entity["name"] or at["domain"]).title(), str(at["doc_id"])
    if "docs" in entity:
        document = entity["docs"][number]
        return name, f"{document['title']} {document['body']}", document["body"]
    if at.get("doc_type") == "faq":
        document = entity["faqs"][number]
        return name, f"{document['question']} {document['answer']}", document["answer"]
    said = entity["reviews"][number]["sentences"]
    return name, " ".join(said.values()), said[str(at["sent_id"])]


def _alternate(log: list[dict[str, str]]) -> list[str]:
    speakers = [turn["speaker"] for turn in log]
    expected = ["U", "S"] * (len(log) // 2) + ["U"]
    return [turn["text"] for turn in log] if speakers == expected else []


def mtrag_synthetic(folder: Path) -> Iterator[Example]:
    for row in read_lines(folder / "mtrag_synthetic_tasks.jsonl"):
        said = [clean(turn["text"]) for turn in row["input"]]
        context = row["contexts"][0] if row["contexts"] else None
        if context and len(said) % 2 and len(row["targets"][0]["text"]) > 30:
            text = clean(context["text"])[:1200]
            title = clean(context.get("title") or "")
            answer = best_sentence(text, row["targets"][0]["text"], 0.5)
            yield Example("mtrag_synthetic", row["conversation_id"], said, title, text, answer)


def canard(folder: Path, qrecc: Path) -> Iterator[Example]:
    """QReCC conversations whose questions CANARD rewrites, for the meaning of follow-ups."""
    rewrites = {}
    questions, texts = (
        dict(
            line.rstrip("\n").split("\t", 1)
            for line in (folder / name).open(encoding="utf-8")
            if "\t" in line
        )
        for name in ("canard_train_questions.tsv", "canard_train_rewrites.tsv")
    )
    for key, question in questions.items():
        dialogue, number = key.rsplit("#", 1)
        previous = questions.get(f"{dialogue}#{int(number) - 1}", "")
        rewrites[(_key(previous), _key(question))] = texts.get(key)
    for row in read_lines(qrecc / "qrecc_train_subset_turns.jsonl"):
        history = row["history"]
        rewrite = rewrites.get((_key(history[-2] if history else ""), _key(row["question"])))
        if rewrite and len(history) % 2 == 0 and row.get("answer"):
            group = f"qrecc {history[0] if history else row['question']}"
            said = [*history, row["question"]]
            yield Example("canard", group, said, "", f"{rewrite} {row['answer']}", None, rewrite)


def _key(text: str) -> str:
    return " ".join(content_words(text))


def docstrings(library: Path | None = None) -> Iterator[Example]:
    """Documented functions and classes of Python's standard library: name and docstring."""
    for document in standard_library(library):
        if len(document.paragraphs) < 2:
            continue  # a module's overview of one line
        signature, said = document.paragraphs[0], " ".join(document.paragraphs[1:])[:900]
        name = document.title.rsplit(".", 1)[-1]
        if not re.match(rf"(class )?{re.escape(name)}\b", signature):
            continue  # a module's overview
        first = sentences(said)[0]
        for question in _questions(document.title, name, first):
            text = f"{signature}: {said}"
            title = document.title
            yield Example("docstrings", title, [question], title, text, first, question)


def _questions(full: str, name: str, first: str) -> list[str]:
    verb = first.rstrip(".").strip()
    do = verb[:1].lower() + verb[1:]
    begin = verb.split()[0].lower() if verb.split() else ""
    if not begin.isalpha():
        return [f"What does {full} do?"]
    asked = [f"What does {full} do?", f"What is {name} for?"]
    if not begin.endswith("s") and begin not in STOP_WORDS:  # an imperative, most likely
        asked.append(f"How do I {do}?")
    return asked
