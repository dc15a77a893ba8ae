"""MTRAG's parts, on a few tasks in the formats of the release and of its flat files."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from native import put_jsonl, put_text, read_twisted

from uniconv.data.beir import read_corpus
from uniconv.data.catalogue import convert
from uniconv.data.conversations import read_conversations
from uniconv.errors import DataError
from uniconv.types import Conversation, Passage, Turn

SAID = ("What is a sluice?", "A gate for water.", "Who opens it?", "The keeper.")


def task(turn: int, collection: str, *contexts: str, **labels: str) -> dict[str, Any]:
    """A generation task whose dialogue is that of SAID."""
    messages = [
        {"speaker": "agent" if place % 2 else "user", "text": text}
        for place, text in enumerate(SAID)
    ]
    return {
        "conversation_id": "c0de",
        "task_id": f"c0de<::>{turn}",
        "turn": str(turn),
        "Collection": collection,
        "contexts": [{"document_id": id, "text": f"text of {id}"} for id in contexts],
        "input": messages[: 2 * turn - 1],
        "targets": [messages[2 * turn - 1]],
        **{name.replace("_", " "): [label] for name, label in labels.items()},
    }


def labelled(turn: int, collection: str, *contexts: str, answerability: str) -> dict[str, Any]:
    kind = {"Question_Type": "Factoid", "Answerability": answerability}
    return task(turn, collection, *contexts, **kind) | {
        "Multi-Turn": ["N/A", "Follow Up"][turn - 1 :][:1]
    }


def test_the_official_release(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    collection = "mt-rag-govt-elser-512-100-20240611"
    rows = [labelled(n, collection, "g-1", answerability="ANSWERABLE") for n in (2, 1)]
    other = {**rows[0], "task_id": "beef<::>1", "Collection": "mt-rag-fiqa-elser"}
    put_jsonl(source / "mtrag-human/generation_tasks/reference.jsonl", *rows, other)
    folder = source / "mtrag-human/retrieval_tasks/govt"
    put_jsonl(
        folder / "govt_rewrite.jsonl", {"_id": "c0de<::>2", "text": "|user|: Who opens a sluice?"}
    )
    put_text(folder / "qrels/dev.tsv", "query-id\tcorpus-id\tscore", "c0de<::>2\tg-2\t1")
    corpus = source / "corpora/passage_level"
    corpus.mkdir(parents=True)
    with zipfile.ZipFile(corpus / "govt.jsonl.zip", "w") as archive:
        row = {"_id": "g-2", "title": "Locks", "text": "A keeper opens it.", "url": ""}
        archive.writestr("govt.jsonl", json.dumps(row))
    about = convert("mtrag-govt", source, out)
    labels = {"type": "factoid", "answerability": "answerable"}
    follows = {**labels, "multi_turn": "follow-up"}
    assert list(read_conversations(out / "dev.jsonl")) == [
        Conversation(
            "c0de",
            (
                Turn(*SAID[:2], attributes=labels),
                Turn(*SAID[2:], "Who opens a sluice?", ("g-2",), attributes=follows),
            ),
        )
    ]
    assert list(read_corpus(out / "corpus.jsonl")) == [
        Passage("g-2", "A keeper opens it.", "Locks")
    ]
    assert about["evaluation_only"]
    put_text(folder / "qrels/dev.tsv", "beef<::>1\tg-2\t1")
    with pytest.raises(DataError, match="query 'beef<::>1' is no turn of the tasks"):
        convert("mtrag-govt", source, out)


def test_un_judges_the_last_turn(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    row = task(2, "ibmcloud", "m-1", Question_Type="Keyword", answerability="UNANSWERABLE")
    put_jsonl(source / "mtragun_reference.jsonl", row)
    put_text(source / "mtragun-human/retrieval_tasks/qrels/cloud.tsv", "c0de<::>2\tm-1\t1")
    pool = [
        {"_id": "m-1", "domain": "cloud", "title": "", "text": "Rows."},
        {"_id": "w-1", "domain": "clapnq", "title": "", "text": "Other."},
    ]
    put_jsonl(source / "mtrag_passages_pooled.jsonl", *pool)
    about = convert("mtragun-cloud", source, out)
    last = {"type": "keyword", "answerability": "unanswerable"}
    assert list(read_conversations(out / "test.jsonl")) == [
        Conversation("c0de", (Turn(*SAID[:2]), Turn(*SAID[2:], None, ("m-1",), (), last)))
    ]
    assert [passage.id for passage in read_corpus(out / "corpus.jsonl")] == ["m-1"]
    assert about["counts"]["test"] == {"conversations": 1, "turns": 2, "queries": 1}


def test_synthetic_conversations_may_be_trained_on(tmp_path: Path) -> None:
    rows = [
        labelled(1, "mt-rag-ibmcloud-elser", "a", "b", answerability="PARTIAL"),
        labelled(2, "mt-rag-ibmcloud-elser", answerability="UNANSWERABLE"),
    ]
    put_jsonl(tmp_path / "mtrag_synthetic_tasks.jsonl", *rows)
    about = convert("mtrag-synthetic", tmp_path, tmp_path / "out")
    (one,) = read_conversations(tmp_path / "out/train.jsonl")
    assert [turn.positives for turn in one.turns] == [("a", "b"), ()]
    assert [turn.response for turn in one.turns] == [SAID[1], SAID[3]]
    assert one.turns[1].attributes == {
        "type": "factoid",
        "multi_turn": "follow-up",
        "answerability": "unanswerable",
        "domain": "cloud",
    }
    assert list(read_corpus(tmp_path / "out/corpus.jsonl")) == [
        Passage("a", "text of a"),
        Passage("b", "text of b"),
    ]
    assert not about["evaluation_only"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"task_id": "c0de"}, "task_id': has no turn number"),
        ({"input": []}, "input': does not end with a question"),
        ({"input": [{"speaker": "Bob", "text": "Hi"}]}, r"input\[0\].speaker': is 'Bob'"),
        ({"targets": []}, "targets': is empty"),
        ({"contexts": [{"text": "t"}]}, r"contexts\[0\].document_id': is missing"),
        ({"task_id": "c0de<::>3"}, r"conversation 'c0de' has turns \[1, 3\]"),
    ],
)
def test_malformed_tasks_are_named(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    put_jsonl(tmp_path / "mtrag_synthetic_tasks.jsonl", {**task(2, "govt", "a"), **change})
    with pytest.raises(DataError, match=says):
        convert("mtrag-synthetic", tmp_path, tmp_path / "out")


def test_odd_values_are_refused_or_read(tmp_path: Path) -> None:
    source = tmp_path / "synthetic"
    rows = [labelled(n, "govt", "a", answerability="PARTIAL") for n in (1, 2)]
    put_jsonl(source / "mtrag_synthetic_tasks.jsonl", *rows)
    tried, refused = read_twisted("mtrag-synthetic", source)
    assert 0 < refused < tried
    source = tmp_path / "un"
    put_jsonl(source / "mtragun_reference.jsonl", {**rows[1], "Collection": "fiqa"})
    put_text(source / "mtragun-human/retrieval_tasks/qrels/fiqa.tsv", "c0de<::>2\ta\t1")
    passage = {"_id": "a", "title": "", "text": "Rows."}
    put_jsonl(source / "corpora/passage_level/fiqa.jsonl", passage)
    tried, refused = read_twisted("mtragun-fiqa", source)
    assert 0 < refused < tried
