"""Response evaluation: what is responded to, with which passages, and going on after a stop."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from uniconv.citations import without_marks
from uniconv.data.beir import write_corpus
from uniconv.data.conversations import write_conversations
from uniconv.data.lines import write_jsonl
from uniconv.errors import ConfigError, DataError, UniConvError
from uniconv.evaluation.response import ResponseEvaluation, evaluate_responses
from uniconv.types import Answer, Conversation, Passage, ScoredPassage, Turn

TOWER = Passage("tower", "The tower stands near the harbour.", "Tower")
CONVERSATION = Conversation(
    "c",
    (
        Turn("Where is it?", "Near the harbour.", positives=("tower",)),
        Turn("Thanks.", "Welcome."),
        Turn("How high?"),
    ),
)


class FakeSearch:
    """Answers with the last question and a mark; stops like a person at the n-th question."""

    def __init__(self, stop_at: int | None = None, found: bool = True) -> None:
        self.asked: list[Conversation] = []
        self.stop_at = stop_at
        self.found = found

    def ask(self, conversation: Conversation) -> Answer:
        if len(self.asked) + 1 == self.stop_at:
            raise KeyboardInterrupt
        self.asked.append(conversation)
        text = {1: "It is near the harbour [1].", 2: "Welcome."}[len(conversation.turns)]
        passages = tuple(ScoredPassage(Passage(id, id), 1.0) for id in ("p", "q", "r", "s"))
        return Answer(text, (), passages, self.found, {})


class FakeModel:
    """Responds with the texts of the passages it was given."""

    def __init__(self) -> None:
        self.given: list[list[str]] = []

    def generate(
        self, conversation: Conversation, passages: Sequence[Passage], max_new_tokens: int
    ) -> Iterator[str]:
        assert conversation.waits
        assert max_new_tokens == 128
        self.given.append([passage.id for passage in passages])
        yield from (passage.text for passage in passages)


@pytest.fixture
def conversations(tmp_path: Path) -> Path:
    path = tmp_path / "dev.jsonl"
    write_conversations(path, [CONVERSATION])
    return path


def run(settings: ResponseEvaluation, **opened: Any) -> dict[str, Any]:
    return evaluate_responses(settings, console=Console(file=io.StringIO(), width=120), **opened)


def predictions(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]


def test_every_turn_with_a_reference_is_answered(conversations: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    search = FakeSearch()
    result = run(ResponseEvaluation(conversations, out, index=tmp_path), search=search)
    assert search.asked == [CONVERSATION.context(1), CONVERSATION.context(2)]
    assert predictions(out) == [
        {"_id": "c_1", "prediction": "It is near the harbour [1].", "passages": ["p", "q", "r"]},
        {"_id": "c_2", "prediction": "Welcome.", "passages": ["p", "q", "r"]},
    ]
    assert result["by_depth"]["1"]["f1"] == pytest.approx(2 * 2 / (4 + 2))
    assert result["by_depth"]["2"]["em"] == 1.0
    assert result["metrics"]["em"]["mean"] == 0.5
    assert result == json.loads((out / "result.json").read_text())


def test_an_interrupted_evaluation_goes_on_where_it_stopped(
    conversations: Path, tmp_path: Path
) -> None:
    whole = run(
        ResponseEvaluation(conversations, tmp_path / "whole", index=tmp_path), search=FakeSearch()
    )
    settings = ResponseEvaluation(conversations, tmp_path / "out", index=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run(settings, search=FakeSearch(stop_at=2))
    with (settings.out / "predictions.jsonl").open("a") as file:
        file.write('{"_id": "c_2", "predic')  # killed in the middle of a line
    search = FakeSearch()
    resumed = run(settings, search=search)
    assert search.asked == [CONVERSATION.context(2)]
    assert predictions(settings.out) == predictions(tmp_path / "whole")
    assert resumed["metrics"] == whole["metrics"]
    run(settings, search=FakeSearch(stop_at=1))  # nothing is left to ask


def test_predictions_of_other_settings_are_not_gone_on_with(
    conversations: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(ResponseEvaluation(conversations, out, index=tmp_path, limit=1), search=FakeSearch())
    run(ResponseEvaluation(conversations, out, index=tmp_path), search=FakeSearch())
    with pytest.raises(UniConvError, match="made with other read and max_new_tokens"):
        run(ResponseEvaluation(conversations, out, index=tmp_path, read=1, max_new_tokens=9))
    write_conversations(conversations, [CONVERSATION, Conversation("d", (Turn("q", "r"),))])
    with pytest.raises(UniConvError, match="made with other conversations"):
        run(ResponseEvaluation(conversations, out, index=tmp_path))


def test_passages_are_not_named_where_nothing_was_found(
    conversations: Path, tmp_path: Path
) -> None:
    settings = ResponseEvaluation(conversations, tmp_path / "out", index=tmp_path, limit=1)
    run(settings, search=FakeSearch(found=False))
    assert predictions(tmp_path / "out")[0]["passages"] == []


def test_relevant_passages_are_for_turns_that_have_them(
    conversations: Path, tmp_path: Path
) -> None:
    corpus = tmp_path / "corpus.jsonl"
    write_corpus(corpus, [TOWER, Passage("other", "Other.")])
    settings = ResponseEvaluation(
        conversations, tmp_path / "out", passages="relevant", corpus=corpus, model="m"
    )
    model = FakeModel()
    result = run(settings, model=model)
    assert model.given == [["tower"]]
    assert result["queries"] == 1
    assert predictions(tmp_path / "out")[0]["prediction"] == TOWER.text
    write_corpus(corpus, [Passage("other", "Other.")])
    other = ResponseEvaluation(
        conversations, tmp_path / "other", passages="relevant", corpus=corpus, model="m"
    )
    with pytest.raises(DataError, match="lacks 1 relevant passages, such as 'tower'"):
        run(other, model=model)


def test_without_passages_the_model_answers_alone(conversations: Path, tmp_path: Path) -> None:
    model = FakeModel()
    settings = ResponseEvaluation(conversations, tmp_path / "out", passages="none", model="m")
    assert run(settings, model=model)["queries"] == 2
    assert model.given == [[], []]
    judged = ResponseEvaluation(
        conversations, tmp_path / "judged", passages="none", model="m", judged=True
    )
    assert run(judged, model=model)["queries"] == 1


def test_further_references_count(conversations: Path, tmp_path: Path) -> None:
    references = tmp_path / "dev.references.jsonl"
    write_jsonl(
        references,
        [
            {"_id": "c_1", "references": ["It is near the harbour", "elsewhere"]},
            {"_id": "c_3", "references": ["So high."]},
        ],
    )
    settings = ResponseEvaluation(
        conversations, tmp_path / "out", index=tmp_path, references=references, limit=2
    )
    result = run(settings, search=FakeSearch())
    assert result["metrics"]["em"]["mean"] == 1.0


def test_settings_that_make_no_sense_are_refused(conversations: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="retrieved passages need an index"):
        ResponseEvaluation(conversations, tmp_path)
    with pytest.raises(ConfigError, match="need the corpus"):
        ResponseEvaluation(conversations, tmp_path, passages="relevant", model="m")
    with pytest.raises(ConfigError, match="give the model"):
        ResponseEvaluation(conversations, tmp_path, passages="none")
    write_conversations(conversations, [Conversation("c", (Turn("q"),))])
    with pytest.raises(DataError, match="has no turn with a response"):
        run(ResponseEvaluation(conversations, tmp_path / "out", index=tmp_path))


def test_citation_marks_are_no_part_of_a_response() -> None:
    assert without_marks("It is near [1], not far [2, 3].[4]") == "It is near, not far."
    assert without_marks("in [brackets] and [1999]") == "in [brackets] and [1999]"
