"""Chat logs: UltraChat and OpenAI's messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from native import put_jsonl, put_text, read_twisted

from uniconv.data.catalogue import convert
from uniconv.data.conversations import read_conversations
from uniconv.errors import DataError
from uniconv.types import Conversation, Turn


def said(role: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


LOG = [
    said("system", "Be kind."),
    said("assistant", "Hello!"),
    said("user", [{"type": "text", "text": "Look:"}, {"type": "image_url", "image_url": {}}]),
    said("user", "what is it?"),
    said("assistant", None, tool_calls=[{"id": "c1"}]),
    said("tool", "a mill", tool_call_id="c1"),
    said("assistant", "A mill."),
    said("user", "Whose?"),
    said("assistant", None, refusal="I can't say."),
    said("user", "Please"),
]


def test_messages_become_turns_and_the_rest_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "support.jsonl"
    put_jsonl(path, {"messages": LOG}, {"id": 17, "messages": LOG[2:3]}, {"messages": LOG[:2]})
    about = convert("openai-messages", path, tmp_path / "out")
    assert list(read_conversations(tmp_path / "out/support.jsonl")) == [
        Conversation(
            "support_1",
            (
                Turn("Look: what is it?", "A mill."),
                Turn("Whose?", "I can't say."),
                Turn("Please"),
            ),
        ),
        Conversation("17", (Turn("Look:"),)),
    ]
    assert {name: count for name, count in about["counts"].items() if name != "support"} == {
        "left out, system messages": 2,
        "left out, tool messages": 1,
        "left out, calls of tools": 1,
        "left out, parts that are no text": 2,
        "left out, messages before the user's first": 2,
        "left out, logs in which the user says nothing": 1,
    }


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        (said("bot", "hi"), r"messages\[0\].role': is 'bot'; expected one of user, assistant"),
        ({"role": "user"}, r"messages\[0\].content': is missing; expected a string or a list"),
        (said("user", 3), r"messages\[0\].content': is a number"),
        (said("user", [{"type": "text"}]), r"messages\[0\].content\[0\].text': is missing"),
    ],
)
def test_faults_are_named(message: dict[str, Any], problem: str, tmp_path: Path) -> None:
    put_jsonl(tmp_path / "in/a.jsonl", {"messages": LOG}, {"messages": [message]})
    with pytest.raises(DataError, match=r"a.jsonl:2: field '" + problem):
        convert("openai-messages", tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out/a.jsonl").exists()


def test_ids_and_splits_do_not_repeat(tmp_path: Path) -> None:
    put_jsonl(tmp_path / "in/a.jsonl", *({"id": "x", "messages": LOG} for _ in range(2)))
    with pytest.raises(DataError, match=r"a.jsonl:2: field 'id': 'x' was already used on line 1"):
        convert("openai-messages", tmp_path / "in", tmp_path / "out")
    put_jsonl(tmp_path / "in/b/a.jsonl", {"messages": LOG})
    with pytest.raises(DataError, match="has the name of another file"):
        convert("openai-messages", tmp_path / "in", tmp_path / "out")


def test_ultrachat_files_become_one_split(tmp_path: Path) -> None:
    put_jsonl(tmp_path / "in/train_0.jsonl", {"id": "0", "data": ["hi", "Hello.", "bye"]})
    put_jsonl(tmp_path / "in/train_1.jsonl", {"id": "0", "data": ["a", " "]}, {"id": 1, "data": []})
    put_jsonl(tmp_path / "in/train_2.jsonl", {"id": "0", "data": ["a", "b"]})
    about = convert("ultrachat", tmp_path / "in", tmp_path / "out")
    assert list(read_conversations(tmp_path / "out/train.jsonl")) == [
        Conversation("train_0_0", (Turn("hi", "Hello."), Turn("bye"))),
        Conversation("train_2_0", (Turn("a", "b"),)),
    ]
    assert about["counts"]["train"] == {"conversations": 2, "turns": 3, "queries": 0}
    assert about["counts"]["left out, dialogues with an empty utterance or none"] == 2
    put_jsonl(tmp_path / "in/train_1.jsonl", *({"id": "0", "data": ["a", "b"]} for _ in range(2)))
    with pytest.raises(DataError, match="id 'train_1_0' is used more than once"):
        convert("ultrachat", tmp_path / "in", tmp_path / "twice")
    assert not (tmp_path / "twice/train.jsonl").exists()
    put_text(tmp_path / "in/train_1.jsonl", '{"id": "0", "data": ["a", 3]}')
    with pytest.raises(DataError, match=r"train_1.jsonl:1: field 'data\[1\]': is a number"):
        convert("ultrachat", tmp_path / "in", tmp_path / "out")


def test_odd_values_are_refused_or_read(tmp_path: Path) -> None:
    put_jsonl(tmp_path / "in/a.jsonl", {"messages": LOG})
    tried, refused = read_twisted("openai-messages", tmp_path / "in")
    assert tried > refused > 200
    put_jsonl(tmp_path / "chat/train_0.jsonl", {"id": "0", "data": ["hi", "Hello."]})
    tried, refused = read_twisted("ultrachat", tmp_path / "chat")
    assert tried > refused > 20


parts = st.lists(st.builds(lambda text: {"type": "text", "text": text}, st.text(max_size=5)))
messages = st.lists(
    st.builds(
        said,
        st.sampled_from(["user", "assistant", "system", "tool"]),
        st.one_of(st.text(max_size=5), parts),
    )
)


@given(st.lists(messages, max_size=4))
def test_nothing_that_was_said_is_lost(
    tmp_path_factory: pytest.TempPathFactory, logs: list[list[dict[str, Any]]]
) -> None:
    folder = tmp_path_factory.mktemp("logs")
    last = [{"role": "user", "content": "a log without a question is none"}]
    put_jsonl(folder / "a.jsonl", *({"messages": log} for log in [*logs, last]))
    convert("openai-messages", folder / "a.jsonl", folder / "out")
    read = {one.id: one for one in read_conversations(folder / "out/a.jsonl")}
    for line, log in enumerate(logs, start=1):
        spoken = []
        for message in log:
            content = message["content"]
            if isinstance(content, list):
                content = "\n".join(part["text"] for part in content)
            if message["role"] in ("user", "assistant") and content.strip():
                spoken.append((message["role"], content.split()))
        while spoken and spoken[0][0] == "assistant":
            del spoken[0]
        words = [word for _, text in spoken for word in text]
        one = read.get(f"a_{line}")
        turns = one.turns if one else ()
        kept = " ".join(f"{turn.query} {turn.response or ''}" for turn in turns)
        assert kept.split() == words
