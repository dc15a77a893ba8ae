"""The judge: grades from a real server on this machine, kept, counted, never made up."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chat_server import ChatServer, Reply, chat_server
from rich.console import Console

from uniconv.errors import UniConvError
from uniconv.evaluation.chat_api import ChatClient
from uniconv.evaluation.judge import judge, parse_verdict
from uniconv.evaluation.predictions import Prediction
from uniconv.evaluation.protocols import Question
from uniconv.types import Conversation, Passage, Turn

TOWER = Passage("tower", "It was built in 1893.", "Tower")


def question(id: str) -> Question:
    return Question(id, Conversation(id, (Turn(f"When, {id}?"),)), ("In 1893.",), (), None)


QUESTIONS = [question("a"), question("b")]
PREDICTIONS = {
    "a": Prediction("a", "1893 [1]", True, False, (TOWER,), {}),
    "b": Prediction("b", "1900", True, False, (), {}),
}


def run(
    server: ChatServer, folder: Path, predictions: dict[str, Prediction] = PREDICTIONS
) -> tuple[dict[str, int], dict[str, Any]]:
    client = ChatClient(server.url, "strict", retries=0)
    return judge(folder, QUESTIONS, predictions, client, Console(file=io.StringIO()))


def verdict(score: Any, reason: str = "Because.") -> Reply:
    return Reply(json.dumps({"score": score, "reason": reason}))


def judgements(folder: Path) -> Sequence[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "judgements.jsonl").read_text().splitlines()]


def test_grades_with_reasons_and_their_cost(tmp_path: Path) -> None:
    with chat_server(lambda number, _: verdict(5 - number, f"Reason {number}.")) as server:
        scores, report = run(server, tmp_path)
    assert scores == {"a": 5, "b": 4}
    assert [row["reason"] for row in judgements(tmp_path)] == ["Reason 0.", "Reason 1."]
    assert report["judged"] == 2
    assert report["failures"] == 0
    assert report["replies"] == 2
    assert (report["prompt_tokens"], report["completion_tokens"]) == (14, 6)
    assert report["seconds"] > 0
    told = server.requests[0][2]["messages"][1]["content"]
    for part in ("User: When, a?", "[1] Tower\nIt was built in 1893.", "- In 1893.", "1893 [1]"):
        assert part in told


def test_nothing_is_judged_twice_unless_it_changed(tmp_path: Path) -> None:
    with chat_server(lambda *_: verdict(3)) as server:
        run(server, tmp_path)
        run(server, tmp_path)
        assert len(server.requests) == 2
        changed = {**PREDICTIONS, "b": replace(PREDICTIONS["b"], text="1893")}
        scores, report = run(server, tmp_path, changed)
        assert len(server.requests) == 3
    assert scores == {"a": 3, "b": 3}
    assert report["replies"] == 3  # what was paid for stays counted


def test_an_interrupted_judgement_goes_on(tmp_path: Path) -> None:
    def broken(number: int, body: dict[str, Any]) -> Reply:
        return verdict(4) if number == 0 else Reply(status=400, body=b"no such model")

    with chat_server(broken) as server, pytest.raises(UniConvError, match="no such model"):
        run(server, tmp_path)
    with (tmp_path / "judgements.jsonl").open("a") as file:
        file.write('{"_id": "b", "ke')  # killed in the middle of a line
    with chat_server(lambda *_: verdict(2)) as server:
        scores, _ = run(server, tmp_path)
        assert len(server.requests) == 1
    assert scores == {"a": 4, "b": 2}


def test_a_judge_that_gives_no_grade_is_asked_again_and_then_counted(tmp_path: Path) -> None:
    def answer(number: int, body: dict[str, Any]) -> Reply:
        if "When, a?" in body["messages"][1]["content"]:
            return Reply("I would say four.")
        return Reply("Hmm.") if number < 3 else verdict(2)

    with chat_server(answer) as server:
        scores, report = run(server, tmp_path)
        assert len(server.requests) == 4
        assert "JSON object alone" in server.requests[1][2]["messages"][-1]["content"]
        assert scores == {"b": 2}
        assert (report["judged"], report["failures"], report["replies"]) == (1, 1, 4)
        assert judgements(tmp_path)[0]["failure"] == "I would say four."
    with chat_server(lambda *_: verdict(1)) as server:
        scores, report = run(server, tmp_path)  # failures are tried again
        assert len(server.requests) == 1
    assert scores == {"a": 1, "b": 2}
    assert report["failures"] == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"score": 4, "reason": "Good."}', (4, "Good.")),
        ('```json\n{"score": 1, "reason": ""}\n```', (1, "")),
        ('{"score": 6, "reason": "x"}', None),
        ('{"score": 0, "reason": "x"}', None),
        ('{"score": true, "reason": "x"}', None),
        ('{"score": 4.0, "reason": "x"}', None),
        ('{"score": "4", "reason": "x"}', None),
        ('{"score": 4}', None),
        ('{"score": 4, "reason": "x", "more": 1}', None),
        ('Sure: {"score": 4, "reason": "x"}', None),
        ("[4]", None),
        ("4", None),
        ("", None),
        ("[" * 100_000, None),
    ],
)
def test_only_strict_verdicts_count(text: str, expected: tuple[int, str] | None) -> None:
    assert parse_verdict(text) == expected
