"""Response evaluation: parts, what each shows its generator, going on after a stop, and results."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from listed import ListedIndex
from uniconv.citations import without_marks
from uniconv.data.beir import write_corpus
from uniconv.data.conversations import write_conversations
from uniconv.data.lines import write_jsonl
from uniconv.decoding import Generation
from uniconv.errors import ConfigError, DataError, UniConvError
from uniconv.evaluation.response import evaluate_responses
from uniconv.evaluation.response_settings import ResponseEvaluation
from uniconv.search import AnswerStream
from uniconv.templates import Limits
from uniconv.types import UNANSWERABLE, Conversation, Passage, ScoredPassage, Turn

TOWER = Passage("tower", "The tower stands near the harbour.", "Tower")
OTHERS = [Passage(f"p{number}", f"Glacier number {number}.") for number in range(6)]
CONVERSATION = Conversation(
    "c",
    (
        Turn("Where is it?", "Near the harbour.", positives=("tower",)),
        Turn("Thanks.", "Welcome."),
        Turn("How high?"),
    ),
)


class FakeModel:
    """Responds with the texts of the passages it was given; stops like a person at the n-th."""

    def __init__(self, fingerprint: str = "one", stop_at: int | None = None) -> None:
        self.fingerprint = fingerprint
        self.template = SimpleNamespace(limits=Limits())
        self.settings = SimpleNamespace(threshold=None)
        self.name = "fake"
        self.quotes = False
        self.given: list[tuple[Conversation, list[str]]] = []
        self.stop_at = stop_at

    def read(self, conversation: Conversation) -> Conversation:
        assert conversation.waits
        return conversation

    def fitting(
        self, reading: Conversation, passages: Sequence[Passage], max_new_tokens: int
    ) -> Sequence[Passage]:
        assert reading.waits
        assert max_new_tokens == 128
        return passages

    def generate(
        self,
        reading: Conversation,
        passages: Sequence[Passage],
        *,
        max_new_tokens: int,
        stop_loops: bool,
        **_: object,
    ) -> Iterator[str]:
        assert stop_loops
        assert max_new_tokens == 128
        if len(self.given) + 1 == self.stop_at:
            raise KeyboardInterrupt
        self.given.append((reading, [passage.id for passage in passages]))
        yield from (passage.text for passage in passages)


class FakeSearch:
    """Finds the tower and two others; answers turn by turn, and can decline or be stopped."""

    texts = ("It is near the harbour [1].", "Welcome.")

    def __init__(
        self,
        stop_at: int | None = None,
        found: bool = True,
        fingerprint: str = "one",
        files: str = "files",
    ) -> None:
        self.asked: list[Conversation] = []
        self.stop_at = stop_at
        self.found = found
        self.model = FakeModel(fingerprint)
        self.index = ListedIndex([TOWER, *OTHERS], files=files)

    def stream(self, conversation: Conversation) -> AnswerStream:
        if len(self.asked) + 1 == self.stop_at:
            raise KeyboardInterrupt
        self.asked.append(conversation)
        passages = tuple(ScoredPassage(one, 1.0) for one in (TOWER, *OTHERS[:3]))
        read = [scored.passage for scored in passages[:3]] if self.found else []
        text = self.texts[len(conversation.turns) - 1] if self.found else "I found nothing."
        return AnswerStream(passages, self.found, 2.5, read, 0, Generation.fixed(text), {}, 0.0)


@pytest.fixture
def conversations(tmp_path: Path) -> Path:
    path = tmp_path / "dev.jsonl"
    write_conversations(path, [CONVERSATION])
    return path


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.jsonl"
    write_corpus(path, [TOWER, *OTHERS])
    return path


def run(settings: ResponseEvaluation, **opened: Any) -> dict[str, Any]:
    return evaluate_responses(settings, console=Console(file=io.StringIO(), width=120), **opened)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def predictions(part: Path) -> list[dict[str, Any]]:
    """Without the timings, which differ each time."""
    made = rows(part / "predictions.jsonl")
    assert all(row.pop("timings")["write"] >= 0 for row in made)
    return made


def passage_row(passage: Passage, relevant: bool | None) -> dict[str, Any]:
    return {
        "_id": passage.id,
        "title": passage.title,
        "text": passage.text,
        "relevant": relevant,
    }


def test_every_turn_with_a_reference_is_answered(conversations: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    search = FakeSearch()
    result = run(ResponseEvaluation(conversations, out, index=tmp_path), search=search)
    assert search.asked == [CONVERSATION.context(1), CONVERSATION.context(2)]
    assert predictions(out / "retrieved") == [
        {
            "_id": "c_1",
            "prediction": "It is near the harbour [1].",
            "found": True,
            "confidence": 2.5,
            "declined": False,
            "citations": [{"number": 1, "_id": "tower"}],
            "passages": [
                passage_row(TOWER, True),
                *(passage_row(one, False) for one in OTHERS[:2]),
            ],
            "tokens": {},
        },
        {
            "_id": "c_2",
            "prediction": "Welcome.",
            "found": True,
            "confidence": 2.5,
            "declined": False,
            "citations": [],
            "passages": [passage_row(one, None) for one in (TOWER, *OTHERS[:2])],
            "tokens": {},
        },
    ]
    part = result["parts"]["retrieved"]
    by_depth = part["breakdowns"]["depth"]
    assert by_depth["1"]["metrics"]["f1"]["mean"] == pytest.approx(2 * 2 / (4 + 2))
    assert by_depth["2"]["metrics"]["em"]["mean"] == 1.0
    assert part["metrics"]["em"]["mean"] == 0.5
    assert result == json.loads((out / "result.json").read_text())
    saved = json.loads((out / "retrieved" / "result.json").read_text())
    assert saved["metrics"] == part["metrics"]
    assert saved["made_with"]["generator"]["fingerprint"] == "one"
    assert saved["inputs"]["conversations"]["sha256"]
    assert saved["sacrebleu"]["signature"].startswith("nrefs:1")


def test_measures_by_turn(conversations: Path, tmp_path: Path) -> None:
    run(ResponseEvaluation(conversations, tmp_path / "out", index=tmp_path), search=FakeSearch())
    first, second = rows(tmp_path / "out" / "retrieved" / "queries.jsonl")
    assert first["_id"] == "c_1"
    assert first["k_precision"] == pytest.approx(2 / 4)  # it is near harbour
    assert first["k_precision_random"] == 0
    assert first["consistency"] == pytest.approx(2 / 4)
    assert first["citation_precision"] == first["citation_recall"] == 1
    assert first["cited_relevant"] == first["relevant_cited"] == 1
    assert second["citation_recall"] == 0
    assert not {"citation_precision", "cited_relevant"} & second.keys()
    table = (tmp_path / "out" / "retrieved" / "table.md").read_text()
    assert "| all | 2 | 0.833 (" in table
    assert "n=1" in table  # what only some turns have says how many


def test_an_interrupted_evaluation_goes_on_where_it_stopped(
    conversations: Path, tmp_path: Path
) -> None:
    whole = run(
        ResponseEvaluation(conversations, tmp_path / "whole", index=tmp_path), search=FakeSearch()
    )
    settings = ResponseEvaluation(conversations, tmp_path / "out", index=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run(settings, search=FakeSearch(stop_at=2))
    with (settings.out / "retrieved" / "predictions.jsonl").open("a") as file:
        file.write('{"_id": "c_2", "predic')  # killed in the middle of a line
    search = FakeSearch()
    resumed = run(settings, search=search)
    assert search.asked == [CONVERSATION.context(2)]
    assert predictions(settings.out / "retrieved") == predictions(tmp_path / "whole" / "retrieved")
    assert resumed["parts"]["retrieved"]["metrics"] == whole["parts"]["retrieved"]["metrics"]
    run(settings, search=FakeSearch(stop_at=1))  # nothing is left to ask


@pytest.mark.parametrize("stop_at", range(1, 6))
def test_every_part_goes_on_where_it_stopped(
    conversations: Path, corpus: Path, tmp_path: Path, stop_at: int
) -> None:
    def settings(out: str) -> ResponseEvaluation:
        return ResponseEvaluation(
            conversations,
            tmp_path / out,
            passages=("none", "relevant", "irrelevant"),
            corpus=corpus,
            model="fake",
        )

    whole = run(settings("whole"), model=FakeModel())
    with pytest.raises(KeyboardInterrupt):
        run(settings("out"), model=FakeModel(stop_at=stop_at))
    resumed = FakeModel()
    result = run(settings("out"), model=resumed)
    assert len(resumed.given) == 5 - (stop_at - 1)  # 2 + 1 + 2 turns
    for part in ("none", "relevant", "irrelevant"):
        assert predictions(tmp_path / "out" / part) == predictions(tmp_path / "whole" / part)
        assert result["parts"][part]["metrics"] == whole["parts"][part]["metrics"]


def test_predictions_of_other_settings_are_not_gone_on_with(
    conversations: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(ResponseEvaluation(conversations, out, index=tmp_path, limit=1), search=FakeSearch())
    run(ResponseEvaluation(conversations, out, index=tmp_path), search=FakeSearch())
    changed = ResponseEvaluation(conversations, out, index=tmp_path, read=1, max_new_tokens=9)
    with pytest.raises(UniConvError, match="made with other read and max_new_tokens"):
        run(changed, search=FakeSearch())
    write_conversations(conversations, [CONVERSATION, Conversation("d", (Turn("q", "r"),))])
    with pytest.raises(UniConvError, match="made with other conversations"):
        run(ResponseEvaluation(conversations, out, index=tmp_path), search=FakeSearch())


def test_a_model_is_known_by_its_weights_and_not_by_its_path(
    conversations: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    settings = ResponseEvaluation(conversations, out, index=tmp_path, model="here")
    run(settings, search=FakeSearch())
    moved = ResponseEvaluation(conversations, out, index=tmp_path / "moved", model="elsewhere")
    run(moved, search=FakeSearch(stop_at=1))  # the same weights: nothing is left to ask
    with pytest.raises(UniConvError, match="made with other generator and retriever"):
        run(settings, search=FakeSearch(fingerprint="two"))
    with pytest.raises(UniConvError, match="made with other retriever;"):
        run(settings, search=FakeSearch(files="others"))


def test_where_nothing_was_found_nothing_was_read(conversations: Path, tmp_path: Path) -> None:
    settings = ResponseEvaluation(conversations, tmp_path / "out", index=tmp_path, limit=1)
    run(settings, search=FakeSearch(found=False))
    [row] = predictions(tmp_path / "out" / "retrieved")
    assert (row["passages"], row["found"], row["declined"]) == ([], False, True)
    [values] = rows(tmp_path / "out" / "retrieved" / "queries.jsonl")
    assert values["declined"] == 1
    assert "k_precision" not in values


def test_relevant_passages_are_for_turns_that_have_them(
    conversations: Path, corpus: Path, tmp_path: Path
) -> None:
    settings = ResponseEvaluation(
        conversations, tmp_path / "out", passages=("relevant",), corpus=corpus, model="m"
    )
    model = FakeModel()
    result = run(settings, model=model)
    assert [given for _, given in model.given] == [["tower"]]
    assert result["parts"]["relevant"]["queries"] == 1
    assert predictions(tmp_path / "out" / "relevant")[0]["prediction"] == TOWER.text
    write_corpus(corpus, OTHERS)
    other = ResponseEvaluation(
        conversations, tmp_path / "other", passages=("relevant",), corpus=corpus, model="m"
    )
    with pytest.raises(DataError, match="lacks 1 relevant passages, such as 'tower'"):
        run(other, model=model)


def test_irrelevant_passages_are_never_positives(
    conversations: Path, corpus: Path, tmp_path: Path
) -> None:
    def given(out: str, seed: int, read: int = 6) -> list[list[str]]:
        model = FakeModel()
        settings = ResponseEvaluation(
            conversations,
            tmp_path / out,
            passages=("irrelevant",),
            corpus=corpus,
            model="m",
            read=read,
            seed=seed,
        )
        run(settings, model=model)
        return [ids for _, ids in model.given]

    first, second = given("six", 0)
    assert set(first) == {one.id for one in OTHERS}
    assert len(set(second)) == 6  # no positive is known for the second turn
    assert given("again", 0) == [first, second]
    assert given("other", 1) != [first, second]
    write_corpus(corpus, [TOWER])
    with pytest.raises(UniConvError, match="'c_1' has no irrelevant passage"):
        given("none left", 0)


def test_without_passages_the_model_answers_alone(conversations: Path, tmp_path: Path) -> None:
    def evaluate(out: str, judged: bool = False) -> tuple[int, FakeModel]:
        model = FakeModel()
        settings = ResponseEvaluation(
            conversations, tmp_path / out, passages=("none",), model="m", judged=judged
        )
        return run(settings, model=model)["parts"]["none"]["queries"], model

    queries, model = evaluate("out")
    assert queries == 2
    assert [ids for _, ids in model.given] == [[], []]
    assert evaluate("judged", judged=True)[0] == 1


def test_only_the_last_turns_of_history_are_shown(conversations: Path, tmp_path: Path) -> None:
    model = FakeModel()
    settings = ResponseEvaluation(
        conversations, tmp_path / "out", passages=("none",), history=(0, 1, "all"), model="m"
    )
    result = run(settings, model=model)
    assert list(result["parts"]) == ["none-history-0", "none-history-1", "none"]
    questions = [[turn.query for turn in talk.turns] for talk, _ in model.given]
    whole = [["Where is it?"], ["Where is it?", "Thanks."]]
    assert questions == [["Where is it?"], ["Thanks."], *whole, *whole]
    assert list(result["parts"]["none-history-0"]["breakdowns"]["depth"]) == ["1", "2"]


def test_parts_are_compared_on_the_turns_they_share(conversations: Path, tmp_path: Path) -> None:
    settings = ResponseEvaluation(
        conversations,
        tmp_path / "out",
        passages=("none", "retrieved", "relevant", "irrelevant"),
        index=tmp_path,
    )
    console = Console(file=io.StringIO(), width=160)
    result = evaluate_responses(settings, search=FakeSearch(), console=console)
    assert [part["queries"] for part in result["parts"].values()] == [2, 2, 1, 2]
    assert [part["queries"] for part in result["shared"].values()] == [1, 1, 1, 1]
    assert result["shared"]["retrieved"]["metrics"]["f1"]["mean"] == pytest.approx(4 / 6)
    assert "the 1 turns that all parts have" in (settings.out / "table.md").read_text()
    assert isinstance(console.file, io.StringIO)
    assert "irrelevant" in console.file.getvalue()


def test_declining_is_measured_where_answerability_is_known(tmp_path: Path) -> None:
    path = tmp_path / "dev.jsonl"
    talks = [
        Conversation("a", (Turn("q", "r", attributes={"answerability": UNANSWERABLE}),)),
        Conversation("b", (Turn("q", "r", attributes={"answerability": "answerable"}),)),
        Conversation("c", (Turn("q", "r", positives=("tower",)),)),
        Conversation("d", (Turn("q", "r"),)),
    ]
    write_conversations(path, talks)
    settings = ResponseEvaluation(path, tmp_path / "out", index=tmp_path)
    metrics = run(settings, search=FakeSearch(found=False))["parts"]["retrieved"]["metrics"]
    for name, mean, queries in (
        ("declined", 1, 4),
        ("abstention_recall", 1, 1),
        ("abstention_precision", 1 / 3, 3),
        ("false_abstention", 1, 2),
    ):
        assert metrics[name]["mean"] == pytest.approx(mean), name
        assert metrics[name]["queries"] == queries, name
    write_conversations(path, talks[1:])
    answerable = ResponseEvaluation(path, tmp_path / "answerable", index=tmp_path)
    metrics = run(answerable, search=FakeSearch(found=False))["parts"]["retrieved"]["metrics"]
    assert not {"abstention_precision", "abstention_recall"} & metrics.keys()


def test_several_references_and_their_definitions(conversations: Path, tmp_path: Path) -> None:
    references = tmp_path / "dev.references.jsonl"
    write_jsonl(
        references,
        [
            {"_id": "c_1", "references": ["It is near the harbour", "elsewhere"]},
            {"_id": "c_3", "references": ["So high."]},
        ],
    )

    def metrics(scoring: Any) -> Any:
        settings = ResponseEvaluation(
            conversations,
            tmp_path / scoring,
            index=tmp_path,
            references=references,
            scoring=scoring,
            limit=2,
        )
        return run(settings, search=FakeSearch())["parts"]["retrieved"]["metrics"]

    assert metrics("squad")["em"]["mean"] == 1.0
    assert metrics("coqa")["em"]["mean"] == pytest.approx((2 / 3 + 1) / 2)
    assert metrics("quac")["human_f1"]["queries"] == 2
    assert "em" not in metrics("quac")


def test_quac_takes_a_decline_for_no_answer(tmp_path: Path) -> None:
    path = tmp_path / "dev.jsonl"
    write_conversations(path, [Conversation("a", (Turn("q", "CANNOTANSWER"),))])
    settings = ResponseEvaluation(path, tmp_path / "out", index=tmp_path, scoring="quac")
    metrics = run(settings, search=FakeSearch(found=False))["parts"]["retrieved"]["metrics"]
    assert metrics["f1"]["mean"] == 1


def test_settings_that_make_no_sense_are_refused(conversations: Path, tmp_path: Path) -> None:
    def settings(**changed: Any) -> ResponseEvaluation:
        return ResponseEvaluation(conversations, tmp_path / "out", **changed)

    for changed, problem in (
        ({}, "retrieved passages need an index"),
        ({"passages": ("relevant",), "model": "m"}, "need the index or corpus"),
        ({"passages": ("none",)}, "give the model"),
        ({"passages": ()}, "at least one kind"),
        ({"history": (-1,), "index": tmp_path}, "0 or more turns"),
        ({"passages": ("none",), "generator": "extractive"}, "can't respond to none"),
        ({"index": tmp_path, "generator": "http://x/v1"}, "--generator-model names"),
        ({"index": tmp_path, "generator": "m", "generator_model": "n"}, "--generator-model names"),
        ({"index": tmp_path, "judge": "http://x/v1"}, "--judge-model names"),
        ({"index": tmp_path, "read": 0}, "1 or more"),
        ({"index": tmp_path, "support": 0.0}, "support must be"),
        ({"index": tmp_path, "timeout": 0.0}, "timeout must be"),
    ):
        with pytest.raises(ConfigError, match=problem):
            settings(**changed)
    write_conversations(conversations, [Conversation("c", (Turn("q"),))])
    with pytest.raises(DataError, match="has no turn with a response"):
        run(settings(index=tmp_path), search=FakeSearch())
    write_conversations(conversations, [Conversation("c", (Turn("q", "r"),))])
    with pytest.raises(DataError, match="has no turn with a response and positives"):
        run(settings(index=tmp_path, passages=("relevant",)), search=FakeSearch())


def test_citation_marks_are_no_part_of_a_response() -> None:
    assert without_marks("It is near [1], not far [2, 3].[4]") == "It is near, not far."
    assert without_marks("in [brackets] and [1999]") == "in [brackets] and [1999]"
