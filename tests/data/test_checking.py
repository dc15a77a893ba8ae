"""Folders with one thing wrong at a time, and what the check says of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from uniconv.data.beir import write_corpus
from uniconv.data.checking import check
from uniconv.data.conversations import write_conversations
from uniconv.data.dataset import DataSet
from uniconv.data.report import Report
from uniconv.errors import DataError
from uniconv.types import Conversation, Passage, Turn

CORPUS = [Passage(f"p{n}", f"The tower number {n}.", "Tower") for n in range(6)]


def talk(id: str, *topics: str, positives: tuple[str, ...] = ("p0",)) -> Conversation:
    return Conversation(
        id, tuple(Turn(f"Who built {one}?", f"Ada built {one}.", None, positives) for one in topics)
    )


def write(folder: Path, corpus: list[Passage] | None = CORPUS, **splits: Any) -> Path:
    DataSet(splits, (), corpus).write(folder, corpus=None)
    return folder


def errors(report: Report) -> list[str]:
    """Errors without the folder before them."""
    return [f"{error.path.name}{str(error)[len(str(error.path)) :]}" for error in report.errors]


def kinds(report: Report) -> dict[str, list[str]]:
    return {
        kind: [f"{one.path.name}{str(one)[len(str(one.path)) :]}" for one in warnings]
        for kind, warnings in report.warnings.items()
    }


def edit(path: Path, line: int, text: str) -> None:
    """Puts another line in the place of one, counted from 1; one past the end is added."""
    lines = path.read_text().splitlines()
    lines[line - 1 : line] = [text]
    path.write_text("\n".join(lines) + "\n")


def test_a_sound_folder_has_nothing_to_say(tmp_path: Path) -> None:
    folder = write(tmp_path, dev=[talk("a", "this", "that"), talk("b", "those")])
    report = check(folder)
    assert (report.errors, report.warnings) == ([], {})
    assert report.passages == 6
    uses = {"conversations": 2, "turns": 3, "retrieval": 3, "generation": 3, "joint": 3}
    assert report.uses == {"dev": uses}


def test_ids_that_do_not_resolve_are_all_named(tmp_path: Path) -> None:
    wrong = Turn("How?", "So.", positives=("p1", "q1"), negatives=("q2",))
    talks = [talk("a", "this"), Conversation("b", (Turn("When?", "Now."), wrong))]
    report = check(write(tmp_path, dev=talks))
    assert errors(report) == [
        "dev.qrels.tsv:4: field 'corpus-id': 'q1' is not in the corpus",
        "dev.jsonl:2: field 'turns[1].positives[1]': 'q1' is not in the corpus",
        "dev.jsonl:2: field 'turns[1].negatives[0]': 'q2' is not in the corpus",
    ]


def test_judgements_and_references_belong_to_turns(tmp_path: Path) -> None:
    folder = write(tmp_path, dev=[talk("a", "this")])
    rows = ["query-id\tcorpus-id\tscore", "a_1\tp0\t0", "a_1\tp0\t1", "a_2\tp1\t1", "a_1\tp1"]
    (folder / "dev.qrels.tsv").write_text("\n".join(rows))
    (folder / "some.qrels.tsv").write_text("z_1\tp1\t1\n")
    references = [
        {"_id": "a_1", "references": ["Yes."]},
        {"_id": "a_9", "references": [" "]},
        {"_id": "a_1", "references": ["No."]},
        {"references": ["No."]},
    ]
    (folder / "dev.references.jsonl").write_text("\n".join(map(json.dumps, references)))
    assert errors(check(folder)) == [
        "dev.qrels.tsv:3: 'p0' is judged 1 for 'a_1', but 0 on line 2",
        "dev.qrels.tsv:4: field 'query-id': 'a_2' is no turn of the conversations",
        "dev.qrels.tsv:5: has 2 columns; expected query, passage and grade (BEIR) or query, 0, "
        "passage and grade (TREC)",
        "some.qrels.tsv:1: field 'query-id': 'z_1' is no turn of the conversations",
        "dev.references.jsonl:2: field '_id': 'a_9' is no turn of the conversations",
        "dev.references.jsonl:2: field 'references': is empty; expected at least one response",
        "dev.references.jsonl:3: field '_id': 'a_1' was already used on line 1",
        "dev.references.jsonl:4: field '_id': is missing; expected a string",
    ]


def test_a_positive_that_is_judged_irrelevant_is_an_error(tmp_path: Path) -> None:
    folder = write(tmp_path, dev=[talk("a", "this"), talk("b", "that")])
    (folder / "dev.qrels.tsv").write_text("query-id\tcorpus-id\tscore\na_1\tp0\t0\nb_1\tp0\t3\n")
    assert errors(check(folder)) == [
        "dev.jsonl:1: field 'turns[0].positives': 'p0' is not judged relevant in dev.qrels.tsv"
    ]


def test_malformed_lines_are_all_named_with_the_rest(tmp_path: Path) -> None:
    folder = write(tmp_path, dev=[talk("a", "this"), talk("b", "that"), talk("c", "those")])
    edit(folder / "dev.jsonl", 1, "{broken")
    edit(folder / "dev.jsonl", 3, '{"id": "c", "turns": []}')
    edit(folder / "corpus.jsonl", 4, '{"_id": "p3", "text": 3}')
    found = errors(check(folder))
    assert found[0].startswith("dev.jsonl:1: is not JSON")
    assert found[1] == "dev.jsonl:3: field 'turns': is empty; expected at least one turn"
    assert "corpus.jsonl:4: field 'text': is a number; expected a string" in found
    assert "dev.qrels.tsv:2: field 'query-id': 'a_1' is no turn of the conversations" in found
    assert found[-1] == "dataset.json: field 'counts.passages': is 6, but corpus.jsonl has 5"
    assert len(found) == 8


def test_passages_that_repeat(tmp_path: Path) -> None:
    folder = write(tmp_path, dev=[talk("a", "this")])
    edit(folder / "corpus.jsonl", 5, json.dumps({"_id": "p1", "text": "another"}))
    copy = {"_id": "x", "title": "TOWER", "text": "The  tower number 2."}
    edit(folder / "corpus.jsonl", 6, f"\n\n{json.dumps(copy)}")
    report = check(folder)
    assert errors(report) == ["corpus.jsonl:5: field '_id': 'p1' was already used on line 2"]
    assert kinds(report) == {
        "passages of the same text": ["corpus.jsonl:8: passage 'x' has the text of line 3"]
    }


def test_conversations_that_repeat(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        dev=[talk("a", "this", "that"), talk("b", "This", "that"), talk("c", "this", "those")],
    )
    repeated = {
        "conversations that repeat": ["dev.jsonl:2: the conversation is the same as on line 1"],
        "questions that repeat, with their history": [
            "dev.jsonl:3: field 'turns[0].query': was asked after the same history on line 1, "
            "turn 1"
        ],
    }
    assert kinds(check(folder)) == repeated
    edit(folder / "dev.jsonl", 2, (folder / "dev.jsonl").read_text().splitlines()[0])
    report = check(folder)
    assert "dev.jsonl:2: field 'id': 'a' was already used on line 1" in errors(report)
    assert kinds(report) == repeated


def test_turns_show_what_is_wrong_with_them(tmp_path: Path) -> None:
    turns = (
        Turn("Why?", "So.", positives=("p1", "p1"), negatives=("p1", "p2")),
        Turn("How?", " "),
        Turn("And?", "", rewrite="And how?"),
        Turn("When?"),
    )
    report = check(write(tmp_path, dev=[Conversation("a", turns)]))
    assert errors(report) == ["dev.jsonl:1: field 'turns[0].negatives': 'p1' is positive as well"]
    assert kinds(report)["passages listed twice"] == [
        "dev.jsonl:1: field 'turns[0].positives': 'p1' is listed twice"
    ]
    useless = kinds(report)["turns without response, positives and rewrite"]
    assert [one.split("'")[1] for one in useless] == ["turns[1]", "turns[3]"]
    assert report.uses["dev"] == {
        "conversations": 1,
        "turns": 4,
        "retrieval": 1,
        "generation": 1,
        "joint": 1,
    }


def test_tests_share_nothing_with_training(tmp_path: Path) -> None:
    train = [talk("a", "this", "that"), talk("b", "those", positives=("p1",))]
    dev = [
        talk("x", "this", "that", positives=("p2",)),
        talk("y", "this", "these", positives=("p1", "p2")),
        talk("z", "which", positives=("p0", "p1")),
    ]
    report = check(write(tmp_path / "both", train=train, dev=dev))
    place = tmp_path / "both/train.jsonl:1"
    assert errors(report) == [f"dev.jsonl:1: the conversation is in training too ({place})"]
    assert kinds(report) == {
        "questions, with their history, that training has": [
            f"dev.jsonl:2: field 'turns[0].query': was asked in training too ({place})"
        ],
        "turns whose relevant passages are all relevant in training": [
            "dev.jsonl:3: field 'turns[0].positives': 'p0' is relevant to a turn of training"
        ],
    }
    write(tmp_path / "train", train=train, dev=dev)
    alone = write(tmp_path / "alone", dev=dev)
    apart = check(alone, train=tmp_path / "train")
    assert [text.split(" (")[0] for text in errors(apart)] == [
        "dev.jsonl:1: the conversation is in training too"
    ]
    assert kinds(apart).keys() == kinds(report).keys()
    assert check(alone).errors == []


def test_passages_of_another_corpus_are_known_by_their_texts(tmp_path: Path) -> None:
    renamed = [Passage(f"other{n}", one.text, one.title) for n, one in enumerate(CORPUS)]
    train = write(tmp_path / "train", renamed, train=[talk("a", "this", positives=("other3",))])
    seen = talk("x", "that", positives=("p3",))
    dev = write(tmp_path / "dev", dev=[seen, talk("y", "those", positives=("p4",))])
    report = check(dev, train=train)
    assert kinds(report) == {
        "turns whose relevant passages are all relevant in training": [
            "dev.jsonl:1: field 'turns[0].positives': 'p3' is relevant to a turn of training"
        ]
    }


def test_the_corpus_may_lie_elsewhere(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", None, dev=[talk("a", "this")])
    assert list(kinds(check(folder))) == ["no corpus"]
    shared = tmp_path / "wiki.jsonl"
    write_corpus(shared, CORPUS[1:])
    found = errors(check(folder, corpus=shared))
    assert found[-1] == "dev.jsonl:1: field 'turns[0].positives[0]': 'p0' is not in the corpus"
    DataSet({"dev": [talk("a", "this")]}, ()).write(folder, corpus="../wiki.jsonl")
    assert errors(check(folder)) == found
    with pytest.raises(DataError, match="no such corpus"):
        check(folder, corpus=tmp_path / "none.jsonl")


def test_counts_tell_of_lost_conversations(tmp_path: Path) -> None:
    folder = write(tmp_path, dev=[talk("a", "this"), talk("b", "that")])
    lines = (folder / "dev.jsonl").read_text().splitlines(keepends=True)
    (folder / "dev.jsonl").write_text(lines[0])
    assert errors(check(folder))[-2:] == [
        "dataset.json: field 'counts.dev.conversations': is 2, but dev.jsonl has 1",
        "dataset.json: field 'counts.dev.turns': is 2, but dev.jsonl has 1",
    ]
    (folder / "dataset.json").write_text("{}")
    assert errors(check(folder))[-1].startswith("dataset.json: field 'counts': is missing")
    (folder / "dataset.json").unlink()
    assert list(kinds(check(folder))) == ["no dataset.json"]


def test_a_file_of_conversations_and_folders_without(tmp_path: Path) -> None:
    write_conversations(tmp_path / "talks.jsonl", [Conversation("a", (Turn("Hi?", "Yes."),))])
    report = check(tmp_path / "talks.jsonl")
    assert (report.errors, report.warnings, report.uses["talks"]["turns"]) == ([], {}, 1)
    (tmp_path / "empty").mkdir()
    for place in (tmp_path / "empty", tmp_path / "absent"):
        with pytest.raises(DataError, match="no conversations here"):
            check(place)


def test_progress_is_told(tmp_path: Path) -> None:
    talks = [talk(f"c{n}", f"tower {n}") for n in range(2001)]
    told: list[tuple[str, int]] = []
    check(write(tmp_path, dev=talks), progress=lambda *seen: told.append(seen))
    assert [count for name, count in told if name == "dev.jsonl"] == [1000, 2000, 2001]
