"""TopiOCQA, with matched gold passages and in the official full form."""

from __future__ import annotations

import csv
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from native import put_json, put_jsonl, read_twisted

from uniconv.data.beir import read_corpus, read_qrels
from uniconv.data.catalogue import convert
from uniconv.data.conversations import read_conversations
from uniconv.data.lines import read_jsonl
from uniconv.errors import DataError
from uniconv.types import Conversation, Passage, Turn

HARBOUR = {"topic": "Harbour", "section": "Introduction", "answerability": "answerable"}


def row(conversation: int, turn: int, question: str, answer: str, **more: Any) -> dict[str, Any]:
    unknown = answer == "UNANSWERABLE"
    return {
        "Context": [],
        "Conversation_no": conversation,
        "Turn_no": turn,
        "Question": question,
        "is_nq": turn == 1,
        "Answer": answer,
        "Topic": "" if unknown else "Harbour",
        "Topic_section": "" if unknown else "Introduction",
        **more,
    }


TRAIN = [row(1, 1, "who built the harbour?", "Ada Quay")]
DEV = [
    row(7, 1, "when was it built?", "1902"),
    row(7, 2, "by whom?", "Ada Quay"),
    row(7, 3, "how deep is it?", "UNANSWERABLE"),
    row(9, 1, "what is a quay?", "a wall for ships"),
]


@pytest.fixture
def matched(tmp_path: Path) -> Path:
    source = tmp_path / "topiocqa"
    source.mkdir()
    with zipfile.ZipFile(source / "topiocqa.zip", "w") as archive:
        archive.writestr("topiocqa_train.json", json.dumps(TRAIN))
        archive.writestr("topiocqa_dev.json", json.dumps(DEV))
    put_jsonl(source / "train_gold.jsonl", {"id": "train_1_1", "pid": "w:1", "use": True})
    put_jsonl(
        source / "dev_gold.jsonl",
        {"id": "dev_7_1", "pid": "w:2", "use": True},
        {"id": "dev_7_2", "pid": "w:1", "use": True},
        {"id": "dev_7_3", "pid": "w:1", "use": False},
        {"id": "dev_9_1", "pid": "gone", "use": True},
        {"id": "dev_9_2", "pid": "w:1", "use": True},
    )
    put_jsonl(
        tmp_path / "wiki.jsonl",
        *({"_id": f"w:{number}", "title": "Harbour", "text": "text"} for number in (1, 2)),
    )
    return source


def test_matched_gold_is_joined_if_it_is_in_use_and_in_the_corpus(
    matched: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    about = convert("topiocqa", matched, out, corpus=tmp_path / "wiki.jsonl")
    unknown = {"answerability": "unanswerable"}
    assert list(read_conversations(out / "dev.jsonl")) == [
        Conversation(
            "dev_7",
            (
                Turn("when was it built?", "1902", positives=("w:2",), attributes=HARBOUR),
                Turn("by whom?", "Ada Quay", positives=("w:1",), attributes=HARBOUR),
                Turn("how deep is it?", "UNANSWERABLE", attributes=unknown),
            ),
        ),
        Conversation("dev_9", (Turn("what is a quay?", "a wall for ships", attributes=HARBOUR),)),
    ]
    assert read_qrels(out / "dev.qrels.tsv") == {"dev_7_1": {"w:2": 1}, "dev_7_2": {"w:1": 1}}
    assert read_qrels(out / "dev_unseen.qrels.tsv") == {"dev_7_1": {"w:2": 1}}
    assert not (out / "corpus.jsonl").exists()
    assert about["counts"]["dropped, positives that the corpus lacks"] == 1
    assert about["counts"]["left out, gold of turns that are not there"] == 1
    assert about["licence"] == "CC BY-NC-SA 4.0"
    assert json.loads((out / "dataset.json").read_text())["counts"] == about["counts"]
    assert set(about["sources"]) == {"topiocqa.zip", "train_gold.jsonl", "dev_gold.jsonl"}


def test_turns_out_of_order_are_refused(matched: Path, tmp_path: Path) -> None:
    put_json(matched / "topiocqa_dev.json", [row(7, 2, "by whom?", "Ada Quay")])
    with pytest.raises(DataError, match=r"field '\[0\].Turn_no': is 2 after turn 0 of 'dev_7'"):
        convert("topiocqa", matched, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def official(tmp_path: Path) -> Path:
    source = tmp_path / "official"
    put_jsonl(source / "data/topiocqa_train.jsonl", *TRAIN)
    more = {"Additional_answers": [{"Answer": "1902"}, {"Answer": "In 1902."}]}
    put_jsonl(source / "data/topiocqa_valid.jsonl", row(7, 1, "when?", "1902", **more))
    gold = source / "data/retriever/all_history"
    passage = {"title": "Harbour [SEP] History", "text": "Ada built it.", "passage_id": "1"}
    other = {"title": "Quay", "text": 'A "wall".', "passage_id": 2}
    train = {"conv_id": 1, "turn_id": 1, "question": "who built the harbour", "answers": ["Ada"]}
    put_json(gold / "train.json", [{**train, "positive_ctxs": [passage], "negative_ctxs": []}])
    dev = {"conv_id": "7", "turn_id": "1", "positive_ctxs": [other]}
    put_json(gold / "dev.json", [{**dev, "hard_negative_ctxs": [passage, other]}])
    wiki = source / "data/wikipedia_split/full_wiki_segments.tsv"
    wiki.parent.mkdir()
    with wiki.open("w", newline="") as file:
        rows = [("1", "Ada built it.", "Harbour [SEP] History"), ("2", 'A "wall".', "Quay")]
        csv.writer(file, delimiter="\t").writerows([("id", "text", "title"), *rows])
    return source


def test_the_official_gold_comes_with_all_passages(official: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    convert("topiocqa", official, out)
    train = Turn("who built the harbour?", "Ada Quay", positives=("1",), attributes=HARBOUR)
    dev = Turn("when?", "1902", positives=("2",), negatives=("1",), attributes=HARBOUR)
    assert list(read_conversations(out / "train.jsonl")) == [Conversation("train_1", (train,))]
    assert list(read_conversations(out / "dev.jsonl")) == [Conversation("dev_7", (dev,))]
    assert list(read_corpus(out / "corpus.jsonl")) == [
        Passage("1", "Ada built it.", "Harbour > History"),
        Passage("2", 'A "wall".', "Quay"),
    ]
    assert list(read_jsonl(out / "dev.references.jsonl", lambda record: record.fields)) == [
        {"_id": "dev_7_1", "references": ["1902", "In 1902."]}
    ]


def test_a_row_of_the_passages_with_too_few_columns_is_named(
    official: Path, tmp_path: Path
) -> None:
    wiki = official / "data/wikipedia_split/full_wiki_segments.tsv"
    wiki.write_text("id\ttext\ttitle\n1\ta\tb\n2\tc\n")
    with pytest.raises(DataError, match=r"full_wiki_segments.tsv:3: has 2 columns; expected id"):
        convert("topiocqa", official, tmp_path / "out")


def test_odd_values_are_refused_or_read(official: Path) -> None:
    tried, refused = read_twisted("topiocqa", official)
    assert tried > refused > 300
