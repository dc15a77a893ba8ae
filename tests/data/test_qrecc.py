"""QReCC, in its three forms, and its passages in folders and archives."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest
from native import put_json, put_jsonl, read_twisted

from uniconv.data.beir import read_corpus
from uniconv.data.catalogue import convert
from uniconv.data.conversations import read_conversations
from uniconv.errors import DataError
from uniconv.types import Conversation, Passage, Turn

PAGE = "http://web.archive.org/web/2019/https://example.org/mill_p0"


def turn(conversation: int, number: int, question: str, answer: str) -> dict[str, Any]:
    return {
        "Context": [],
        "Question": question,
        "Rewrite": f"{question} (the mill)",
        "Answer": answer,
        "Answer_URL": "https://example.org",
        "Conversation_no": conversation,
        "Turn_no": number,
        "Conversation_source": "quac",
    }


def shared_task(conversation: int, number: int, question: str, answer: str) -> dict[str, Any]:
    fields = turn(conversation, number, question, answer)
    renamed = {f"Truth_{name.lower()}": fields.pop(name) for name in ("Rewrite", "Answer")}
    return {**fields, **renamed, "Truth_passages": [PAGE]}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "qrecc"
    put_json(
        folder / "scai-qrecc21-training-turns.json",
        [shared_task(3, 1, "who built it?", "Ada"), shared_task(3, 2, "why?", "")],
    )
    put_json(
        folder / "qrecc_test.json", [turn(3, 1, "when?", "1902"), turn(3, 3, "where?", "Here")]
    )
    put_json(
        folder / "scai-qrecc21-ground-truth.json",
        [
            {"Conversation_no": 3, "Turn_no": 1, "Truth_passages": []},
            {"Conversation_no": 3, "Turn_no": 2, "Truth_passages": [PAGE]},
        ],
    )
    put_jsonl(folder / "collection-paragraph/wayback/a/00.jsonl", {"id": PAGE, "contents": "Ada."})
    put_jsonl(
        folder / "collection-paragraph/commoncrawl/00.jsonl",
        {"id": "x_p0", "contents": "Other."},
        {"id": "x_p1", "contents": ""},
    )
    return folder


def test_turns_gold_and_passages(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    counts = convert("qrecc", source, out)["counts"]
    yes = {"source": "quac", "answerability": "answerable"}
    no = {"source": "quac", "answerability": "unanswerable"}
    assert list(read_conversations(out / "train.jsonl")) == [
        Conversation(
            "train_3",
            (
                Turn("who built it?", "Ada", "who built it? (the mill)", (PAGE,), attributes=yes),
                Turn("why?", "", "why? (the mill)", (PAGE,), attributes=no),
            ),
        )
    ]
    (test,) = read_conversations(out / "test.jsonl")
    assert [turn.positives for turn in test.turns] == [(), (PAGE,)]
    assert list(read_corpus(out / "corpus.jsonl")) == [
        Passage("x_p0", "Other."),
        Passage(PAGE, "Ada."),
    ]
    assert counts["left out, passages without text"] == 1
    assert counts["turns without a response"] == 1
    put_jsonl(tmp_path / "shared.jsonl", {"_id": "x_p0", "text": "Other."})
    counts = convert("qrecc", source, tmp_path / "with", tmp_path / "shared.jsonl")["counts"]
    assert counts["dropped, positives that the corpus lacks"] == 3
    assert not (tmp_path / "with/corpus.jsonl").exists()


def test_archives_are_read_as_folders_are(source: Path, tmp_path: Path) -> None:
    convert("qrecc", source, tmp_path / "unpacked")
    packed = tmp_path / "packed"
    packed.mkdir()
    with zipfile.ZipFile(packed / "passages.zip", "w") as archive:
        for path in sorted((source / "collection-paragraph").rglob("*.jsonl")):
            archive.write(path, path.relative_to(source))
    with zipfile.ZipFile(packed / "turns.zip", "w") as archive:
        archive.write(next(source.glob("*training*")), "scai-qrecc21-training-turns.json")
    about = convert("qrecc", packed, tmp_path / "from-packed")
    for name in ("corpus.jsonl", "train.jsonl", "train.qrels.tsv"):
        unpacked = (tmp_path / "unpacked" / name).read_bytes()
        assert (tmp_path / "from-packed" / name).read_bytes() == unpacked
    assert set(about["sources"]) == {"turns.zip", "passages.zip"}


def test_the_subset_is_joined_by_its_histories(tmp_path: Path) -> None:
    put_jsonl(
        tmp_path / "in/qrecc_train_subset_turns.jsonl",
        {"history": ["who?", "Ada"], "question": "when?", "rewrite": "when did Ada build it?"},
        {"history": ["who?", "Ada", "when?", "1902", "how?", "By hand"], "question": "really?"},
        {"history": [], "question": "what?", "answer": "a mill"},
    )
    convert("qrecc", tmp_path / "in", tmp_path / "out")
    assert list(read_conversations(tmp_path / "out/train.jsonl")) == [
        Conversation(
            "train_1",
            (
                Turn("who?", "Ada"),
                Turn("when?", "1902", "when did Ada build it?"),
                Turn("how?", "By hand"),
                Turn("really?"),
            ),
        ),
        Conversation("train_3", (Turn("what?", "a mill"),)),
    ]


def test_faults_are_named_with_file_line_and_field(source: Path, tmp_path: Path) -> None:
    shard = source / "collection-paragraph/commoncrawl/00.jsonl"
    put_jsonl(shard, {"id": "x_p0", "contents": "a"}, {"id": 3, "contents": "b"})
    with pytest.raises(DataError, match=r"00.jsonl:2: field 'id': is a number"):
        convert("qrecc", source, tmp_path / "out")
    put_json(source / "qrecc_test.json", [turn(3, 2, "a?", "b"), turn(3, 2, "c?", "d")])
    with pytest.raises(DataError, match=r"\[1\].Turn_no': is 2 after 2"):
        convert("qrecc", source, tmp_path / "out")
    assert not (tmp_path / "out/dataset.json").exists()


def test_odd_values_are_refused_or_read(source: Path) -> None:
    tried, refused = read_twisted("qrecc", source)
    assert tried > refused > 300
