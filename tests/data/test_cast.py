"""TREC CAsT, on small topics in the formats of its four years."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from native import put_json, put_jsonl, put_text, read_twisted

from uniconv.data.beir import read_corpus, read_qrels
from uniconv.data.catalogue import convert
from uniconv.data.conversations import read_conversations
from uniconv.errors import DataError
from uniconv.types import Conversation, Passage, Turn


def topic(number: int, *turns: dict[str, Any], **more: str) -> dict[str, Any]:
    numbered = [{"number": place, **turn} for place, turn in enumerate(turns, start=1)]
    return {"number": number, "turn": numbered, **more}


@pytest.fixture
def year_one(tmp_path: Path) -> Path:
    source = tmp_path / "cast"
    questions = ({"raw_utterance": "What is rust? "}, {"raw_utterance": "Why?"})
    base = source / "2019/data"
    put_json(base / "evaluation/evaluation_topics_v1.0.json", [topic(31, *questions, title="rust")])
    put_text(
        base / "evaluation/evaluation_topics_annotated_resolved_v1.0.tsv",
        "31_1\tWhat is rust?",
        "31_2\tWhy does iron rust?",
    )
    put_text(base / "2019qrels.txt", "31_1 Q0 CAR_a 2", "31_1 Q0 CAR_b 0", "31_2 Q0 CAR_c 1")
    put_json(base / "training/train_topics_v1.0.json", [topic(1, *questions)])
    put_text(base / "training/train_topics_mod.qrel", "1_1 0 CAR_a 1", "1_1 0 CAR_a 1")
    saac = source / "saac_cast19"
    put_text(
        saac / "cast.answer",
        "#context_id\t#query_id\t#passage_id\t#answer",
        "\t31_1\tCAR_a\tIron oxide.",
        "\t31_1\tCAR_c\tIt is oxide of iron.",
        "\t31_1\tCAR_d\tIron oxide.",
    )
    put_text(
        saac / "cast.reformulation.query",
        "#query_id\t#reformulated_query",
        "1_2\tWhy is there rust?",
        "31_2\tanother wording",
    )
    return source


def test_2019_takes_peoples_answers_and_keeps_grades(year_one: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    about = convert("cast19", year_one, out)
    named = {"topic": "rust"}
    assert list(read_conversations(out / "test.jsonl")) == [
        Conversation(
            "31",
            (
                Turn("What is rust?", "Iron oxide.", "What is rust?", ("CAR_a",), (), named),
                Turn("Why?", None, "Why does iron rust?", ("CAR_c",), (), named),
            ),
        )
    ]
    assert list(read_conversations(out / "train.jsonl")) == [
        Conversation(
            "1",
            (
                Turn("What is rust?", "", None, ("CAR_a",)),
                Turn("Why?", None, "Why is there rust?"),
            ),
        )
    ]
    graded = {"31_1": {"CAR_a": 2, "CAR_b": 0}, "31_2": {"CAR_c": 1}}
    assert read_qrels(out / "test.qrels.tsv") == graded
    (row,) = (json.loads(line) for line in (out / "test.references.jsonl").open())
    assert row == {"_id": "31_1", "references": ["Iron oxide.", "It is oxide of iron."]}
    assert about["counts"]["turns without a response"] == 3
    assert about["counts"]["turns without a rewrite"] == 1
    assert about["counts"]["test"] == {"conversations": 1, "turns": 2, "queries": 2}
    assert about["evaluation_only"]


def test_2019_keeps_what_a_corpus_holds(year_one: Path, tmp_path: Path) -> None:
    put_jsonl(
        tmp_path / "corpus.jsonl", {"_id": "CAR_b", "text": "b"}, {"_id": "CAR_c", "text": "c"}
    )
    out = tmp_path / "out"
    about = convert("cast19", year_one, out, corpus=tmp_path / "corpus.jsonl")
    assert read_qrels(out / "test.qrels.tsv") == {"31_1": {"CAR_b": 0}, "31_2": {"CAR_c": 1}}
    (one,) = read_conversations(out / "test.jsonl")
    assert [turn.positives for turn in one.turns] == [(), ("CAR_c",)]
    assert about["counts"]["dropped, positives that the corpus lacks"] == 2
    assert about["counts"]["dropped, judgements of passages that the corpus lacks"] == 2


def test_malformed_topics_and_judgements_are_named(year_one: Path, tmp_path: Path) -> None:
    qrels = year_one / "2019/data/2019qrels.txt"
    put_text(qrels, "31_3 Q0 CAR_a 2")
    with pytest.raises(DataError, match=r"2019qrels.txt: query '31_3' is no turn"):
        convert("cast19", year_one, tmp_path / "out")
    put_text(year_one / "saac_cast19/cast.answer", "31_1\tonly two")
    with pytest.raises(DataError, match=r"cast.answer:1: has 2 columns; expected #context_id"):
        convert("cast19", year_one, tmp_path / "out")
    topics = year_one / "2019/data/evaluation/evaluation_topics_v1.0.json"
    (year_one / "saac_cast19/cast.answer").unlink()
    put_json(topics, [{"number": 31, "turn": [{"number": 2, "raw_utterance": "Why?"}]}])
    with pytest.raises(DataError, match=r"field '\[0\].turn\[0\].number': is 2; expected 1"):
        convert("cast19", year_one, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_2020_answers_with_canonical_results_of_known_text(tmp_path: Path) -> None:
    source, out = tmp_path / "cast", tmp_path / "out"
    asked = ("How do gates open?", "And close?", "Why?")
    known = ("MARCO_1", "MARCO_8", "MARCO_9")
    manual = [
        {
            "raw_utterance": text,
            "manual_rewritten_utterance": text,
            "manual_canonical_result_id": id,
        }
        for text, id in zip(asked, known, strict=True)
    ]
    automatic = [
        {"raw_utterance": text, "automatic_canonical_result_id": "MARCO_2"} for text in asked
    ]
    put_json(source / "2020_2020_manual_evaluation_topics_v1.0.json", [topic(81, *manual)])
    put_text(source / "2020_2020qrels.txt", "81_1 0 MARCO_1 1", "81_1 0 MARCO_2 2", "81_2 0 X 4")
    conversations = out / "test.jsonl"
    convert("cast20", source, out)
    (one,) = read_conversations(conversations)
    assert [turn.response for turn in one.turns] == ["", "", None]
    assert [turn.positives for turn in one.turns] == [("MARCO_2",), ("X",), ()]
    assert not (out / "corpus.jsonl").exists()

    put_json(source / "2020_2020_automatic_evaluation_topics_v1.0.json", [topic(81, *automatic)])
    held = {"MARCO_1": "By motor.", "MARCO_2": "By hand."}
    put_json(source / "cast20_snippets.json", {"pairs": [], "passages": held})
    about = convert("cast20", source, out)
    (one,) = read_conversations(conversations)
    assert [turn.response for turn in one.turns] == ["By motor.", "By hand.", "By hand."]
    assert [turn.rewrite for turn in one.turns] == list(asked)
    assert list(read_corpus(out / "corpus.jsonl")) == [Passage(id, held[id]) for id in held]
    assert read_qrels(out / "test.qrels.tsv") == {"81_1": {"MARCO_1": 1, "MARCO_2": 2}}
    assert about["counts"]["dropped, judgements of passages that the corpus lacks"] == 1


def test_2021_answers_with_the_canonical_passage(tmp_path: Path) -> None:
    turn = {
        "raw_utterance": "Tell me about locks.",
        "manual_rewritten_utterance": "Tell me about canal locks.",
        "passage": "A lock lifts boats.",
        "canonical_result_id": "KILT_5",
        "passage_id": 2,
    }
    put_json(tmp_path / "2021_manual_evaluation_topics_v1.0.json", [topic(106, turn)])
    put_text(tmp_path / "trec-cast-qrels-docs.2021.qrel", "106_1 0 KILT_5 3", "106_1 0 KILT_6 1")
    convert("cast21", tmp_path, tmp_path / "out")
    rewrite = "Tell me about canal locks."
    turns = (Turn("Tell me about locks.", "A lock lifts boats.", rewrite, ("KILT_5",)),)
    assert list(read_conversations(tmp_path / "out/test.jsonl")) == [Conversation("106", turns)]


def user(number: str, parent: str | None, text: str) -> dict[str, Any]:
    turn = {"number": number, "participant": "User", "utterance": text}
    turn["manual_rewritten_utterance"] = f"{text} (in full)"
    return turn if parent is None else {**turn, "parent": parent}


def system(number: str, parent: str, text: str, *provenance: str) -> dict[str, Any]:
    turn = {"number": number, "parent": parent, "participant": "System", "response": text}
    return {**turn, "provenance": list(provenance)}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    source = tmp_path / "2022"
    turns = [
        user("1-1", None, "Can I make soap?"),
        system("1-2", "1-1", "Yes, with lye.", "P-1"),
        user("1-3", "1-2", "How long?"),
        system("1-4", "1-3", "A day.", "P-2"),
        system("2-1", "1-1", "Which kind?"),
        user("2-2", "2-1", "Liquid."),
    ]
    put_json(source / "2022_evaluation_topics_tree_v1.0.json", [{"number": 132, "turn": turns}])
    put_text(source / "cast2022.qrel", "132_1-1 0 Q-1 3", "132_1-1 0 Q-2 1", "132_2-2 0 Q-3 2")
    return source


def test_2022_makes_a_conversation_of_every_path_and_judges_a_turn_once(
    tree: Path, tmp_path: Path
) -> None:
    annotation = {"number": "1-3", "sub_topic": "Curing", "utterance_type": "Question"}
    put_json(
        tree / "2022_annotated_evaluation_topics_flattened_duplicated_v1.0.json",
        [{"number": 132, "turn": [{"number": "1-1"}, annotation]}],
    )
    out = tmp_path / "out"
    about = convert("cast22", tree, out)
    first = Turn(
        "Can I make soap?",
        "Yes, with lye.",
        "Can I make soap? (in full)",
        ("Q-1",),
        attributes={"turn": "132_1-1"},
    )
    curing = {"topic": "Curing", "type": "question", "turn": "132_1-3"}
    asks = {"turn": "132_1-1", "initiative": "system"}
    assert list(read_conversations(out / "test.jsonl")) == [
        Conversation(
            "132_1-4",
            (
                first,
                Turn("How long?", "A day.", "How long? (in full)", ("P-2",), (), curing),
            ),
        ),
        Conversation(
            "132_2-2",
            (
                Turn("Can I make soap?", "Which kind?", first.rewrite, attributes=asks),
                Turn("Liquid.", None, "Liquid. (in full)", ("Q-3",), (), {"turn": "132_2-2"}),
            ),
        ),
    ]
    assert read_qrels(out / "test.qrels.tsv") == {
        "132_1-4_1": {"Q-1": 3, "Q-2": 1},
        "132_2-2_2": {"Q-3": 2},
    }
    assert about["counts"]["turns that repeat an earlier path's"] == 1


@pytest.mark.parametrize(
    ("turn", "says"),
    [
        (system("1-1", "9-9", "Hm?"), r"turn\[0\].parent': '9-9' is no earlier turn"),
        ({**user("1-1", None, "a"), "participant": "Bot"}, "neither User nor System"),
        ({**system("1-1", "", "a"), "parent": None}, "a path begins with the user"),
        (user("1-1", None, " "), "utterance': is empty"),
    ],
)
def test_2022_names_what_is_malformed(
    tree: Path, tmp_path: Path, turn: dict[str, Any], says: str
) -> None:
    put_json(tree / "2022_evaluation_topics_tree_v1.0.json", [{"number": 132, "turn": [turn]}])
    with pytest.raises(DataError, match=says):
        convert("cast22", tree, tmp_path / "out")


@pytest.mark.parametrize(("name", "made"), [("cast19", "year_one"), ("cast22", "tree")])
def test_odd_values_are_refused_or_read(
    name: str, made: str, request: pytest.FixtureRequest
) -> None:
    tried, refused = read_twisted(name, request.getfixturevalue(made))
    assert 0 < refused < tried
