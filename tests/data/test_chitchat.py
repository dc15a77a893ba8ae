"""CMU DoG, Topical-Chat, WoW++ and MedQuAD, on a few lines in their native formats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from native import put_json, put_jsonl, read_twisted

from uniconv.data.beir import read_corpus
from uniconv.data.catalogue import convert
from uniconv.data.conversations import read_conversations
from uniconv.errors import DataError
from uniconv.types import Conversation, Passage, Turn

HISTORY = [["user1", 0, "Hi. "], ["user2", 0, "Seen it?"], ["user1", 1, "Yes."]]


def dog(id: str, split: str, who: list[str], history: list[Any]) -> dict[str, Any]:
    return {"id": id, "split": split, "who": who, "wiki": 0, "rating": 1, "history": history}


def test_cmu_dog_answers_as_the_one_who_read(tmp_path: Path) -> None:
    put_jsonl(
        tmp_path / "conversations.jsonl",
        dog("a", "train", ["user1"], HISTORY),
        dog("b", "train", ["user1", "user2"], HISTORY),
        dog("b", "test", ["user2", "user1"], HISTORY),
        dog("c", "valid", ["user1"], HISTORY[:1]),
    )
    about = convert("cmu_dog", tmp_path, tmp_path / "out")
    assert list(read_conversations(tmp_path / "out/train.jsonl")) == [
        Conversation("a", (Turn("Seen it?", "Yes."),))
    ]
    assert list(read_conversations(tmp_path / "out/test.jsonl")) == [
        Conversation("b", (Turn("Hi.", "Seen it?"), Turn("Yes.")))
    ]
    assert about["counts"]["left out of train, dialogues that are in another split"] == 1
    assert about["counts"]["left out, dialogues without a turn of the user"] == 1


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (dog("a", "dev", [], HISTORY), "split': is 'dev'; expected train, valid, test"),
        (dog("a", "test", [], [["user1", "Hi."]]), r"history\[0\]': is not a speaker"),
    ],
)
def test_cmu_dog_names_what_is_malformed(tmp_path: Path, row: dict[str, Any], says: str) -> None:
    put_jsonl(tmp_path / "conversations.jsonl", row)
    with pytest.raises(DataError, match=f"conversations.jsonl:1: field '{says}"):
        convert("cmu_dog", tmp_path, tmp_path / "out")


def test_topical_chat_reads_the_splits_that_are_there(tmp_path: Path) -> None:
    content = [
        {"agent": "agent_1", "message": "Do you like chess?"},
        {"agent": "agent_2", "message": "I do."},
        {"agent": "agent_1", "message": "Me too!"},
    ]
    put_json(tmp_path / "conversations/train.json", {"t_1": {"content": content}})
    put_json(tmp_path / "conversations_test_rare.json", {"t_2": {"content": []}})
    about = convert("topical_chat", tmp_path, tmp_path / "out")
    assert list(read_conversations(tmp_path / "out/train.jsonl")) == [
        Conversation("t_1", (Turn("Do you like chess?", "I do."), Turn("Me too!")))
    ]
    assert about["counts"]["left out, dialogues without words"] == 1
    assert list(read_conversations(tmp_path / "out/test_rare.jsonl")) == []


def test_wowpp_judges_sentences_for_the_last_turn(tmp_path: Path) -> None:
    labels = {
        "Ski <knowledge_separator> Skis are long.": "relevant",
        "Snow <knowledge_separator> Snow is cold.": "notRelevant",
    }
    row = {
        "turns": ["Hello.", "I ski.", "Nice.", "How old is it?"],
        "topic": "Skiing",
        "start_speaker": "Assistant",
        "annotated_sentences": [
            {"label": label, "relevance": relevance} for label, relevance in labels.items()
        ],
    }
    put_json(tmp_path / "full_test_topic_augmented_wow.json", {"w": row})
    convert("wowpp", tmp_path, tmp_path / "out")
    skis, snow = read_corpus(tmp_path / "out/corpus.jsonl")
    assert (skis.title, skis.text, snow.title) == ("Ski", "Skis are long.", "Snow")
    last = Turn("How old is it?", None, None, (skis.id,), (snow.id,), {"topic": "Skiing"})
    assert list(read_conversations(tmp_path / "out/topic.jsonl")) == [
        Conversation("w", (Turn("I ski.", "Nice."), last))
    ]
    row["turns"] = ["Hello."]
    put_json(tmp_path / "full_test_topic_augmented_wow.json", {"w": row})
    with pytest.raises(DataError, match=r"'w.turns': does not end with what the human says"):
        convert("wowpp", tmp_path, tmp_path / "out")


def test_medquad_asks_a_question_once(tmp_path: Path) -> None:
    rows = [
        {"source": "NIH", "focus": "Gout", "question": "What is Gout ?", "answer": "A disease. "},
        {"source": "CDC", "focus": "Gout", "question": "What is Gout?", "answer": "It hurts."},
        {"source": "CDC", "focus": "Gout", "question": "Is it bad?", "answer": "It hurts."},
    ]
    put_jsonl(tmp_path / "medquad.jsonl", *rows)
    about = convert("medquad", tmp_path, tmp_path / "out")
    assert list(read_corpus(tmp_path / "out/corpus.jsonl")) == [
        Passage("medquad:0", "A disease.", "Gout", {"source": "NIH"}),
        Passage("medquad:1", "It hurts.", "Gout", {"source": "CDC"}),
    ]
    assert list(read_conversations(tmp_path / "out/train.jsonl")) == [
        Conversation("medquad_0", (Turn("What is Gout?", positives=("medquad:0", "medquad:1")),)),
        Conversation("medquad_1", (Turn("Is it bad?", positives=("medquad:1",)),)),
    ]
    assert about["counts"]["rows of a question that was there before"] == 1
    put_jsonl(tmp_path / "medquad.jsonl", {**rows[0], "answer": " "})
    with pytest.raises(DataError, match=r"medquad.jsonl:1: field 'answer': is empty"):
        convert("medquad", tmp_path, tmp_path / "out")


def test_odd_values_are_refused_or_read(tmp_path: Path) -> None:
    content = [{"agent": "agent_1", "message": "Hi."}, {"agent": "agent_2", "message": "Yes?"}]
    sentence = {"label": "Ski <knowledge_separator> Long.", "relevance": "relevant"}
    words = {"turns": ["I ski."], "topic": "Ski", "start_speaker": "Human"}
    files = {
        "cmu_dog": ("conversations.jsonl", dog("a", "train", ["user1"], HISTORY)),
        "topical_chat": ("conversations/train.json", {"t": {"content": content}}),
        "wowpp": (
            "full_train_augmented_wow.json",
            {"w": {**words, "annotated_sentences": [sentence]}},
        ),
        "medquad": (
            "medquad.jsonl",
            {"source": "NIH", "focus": "Gout", "question": "What?", "answer": "A disease."},
        ),
    }
    for name, (file, value) in files.items():
        put_json(tmp_path / name / file, value)
        tried, refused = read_twisted(name, tmp_path / name)
        assert 0 < refused < tried
