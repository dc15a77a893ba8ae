from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiny import tiny_uniconv
from uniconv.citations import Marks
from uniconv.decoding import Generation
from uniconv.errors import ConfigError, UniConvError
from uniconv.model import Settings, UniConv
from uniconv.retrieval.building import build_index
from uniconv.retrieval.interface import Index
from uniconv.search import ConversationalSearch, SearchSettings
from uniconv.types import Conversation, Passage, ScoredPassage, Turn

TEXTS = {
    "tower.md": "# Tower\n\nThe tower of the old harbour was built in 1893 by engineers.\n",
    "ice.md": "# Glacier\n\nA glacier moves slowly because ice deforms under its own weight.\n",
    "bread.md": "# Bread\n\nBread rises because yeast makes gas while the dough rests.\n",
    "moon.md": "# Moon\n\nThe moon pulls the sea, and so the tides come and go twice a day.\n",
}


class Scripted(UniConv):
    """A model that says what the test wants, and remembers what it was given to read."""

    said: Sequence[str] = ("Engineers built it [1].",)
    read_passages: Sequence[Passage] = ()
    options: dict[str, Any]

    def generate(
        self, conversation: Any, passages: Sequence[Passage] = (), **options: Any
    ) -> Generation:
        assert conversation.tokens and options["stop_loops"]
        self.options = options
        self.read_passages = passages
        return Generation(iter(self.said), None, len(conversation.tokens))


@pytest.fixture(scope="module")
def model() -> Scripted:
    tiny = tiny_uniconv()
    return Scripted(tiny.network, tiny.tokenizer, tiny.template, tiny.settings)


@pytest.fixture(scope="module")
def index(model: Scripted, tmp_path_factory: pytest.TempPathFactory) -> Index:
    folder = tmp_path_factory.mktemp("documents")
    for name, text in TEXTS.items():
        (folder / name).write_text(text)
    out = folder.parent / "index"
    build_index([folder], out, model)
    return Index.open(out)


def searching(model: UniConv, index: Index, **settings: Any) -> ConversationalSearch:
    return ConversationalSearch(model, index, SearchSettings(**settings))


def test_an_answer_cites_the_passages_that_it_marks(model: Scripted, index: Index) -> None:
    model.said = (" ", " Engineers ", "built it [", "2", "][7]. In 18", "93 [1, 2, 9].")
    answer = searching(model, index, read=2).ask("Who built the harbour tower?")
    assert answer.text == "Engineers built it [2]. In 1893 [1][2]."
    assert answer.found
    assert len(answer.passages) == 4
    assert [citation.number for citation in answer.citations] == [1, 2]
    assert [c.passage for c in answer.citations] == [p.passage for p in answer.passages[:2]]
    assert list(model.read_passages) == [p.passage for p in answer.passages[:2]]
    assert {"read", "retrieve", "first_text", "write", "total"} == set(answer.timings)


def test_settings_of_one_question_come_before_those_of_the_search(
    model: Scripted, index: Index
) -> None:
    search = searching(model, index, retrieve=4)
    own = SearchSettings(retrieve=2, read=1, temperature=0.5, stop=("X",), max_new_tokens=7)
    assert len(search.stream("Why does bread rise?", own).passages) == 2
    expected = {"temperature": 0.5, "stop": ("X",), "max_new_tokens": 7, "top_p": 1.0}
    assert expected.items() <= model.options.items()
    assert len(search.stream("Why does bread rise?").passages) == 4
    assert model.options["max_new_tokens"] == 128


def test_usage_counts_what_was_read_and_written(index: Index) -> None:
    model = tiny_uniconv()
    search = searching(model, index, read=1, max_new_tokens=5)
    asked = Conversation.start("Why does bread rise?")
    answer = search.ask(asked)
    suffix = model.template.answer_suffix([answer.passages[0].passage])
    assert answer.usage.prompt_tokens == len(model.template.conversation(asked)) + len(suffix)
    assert (answer.usage.cached_tokens, answer.usage.completion_tokens) == (0, 5)
    assert answer.finish_reason == "length"


def test_a_closed_stream_is_answered_by_what_was_written(index: Index) -> None:
    stream = searching(tiny_uniconv(), index, read=1).stream("Why does bread rise?")
    first = next(iter(stream))
    stream.close()
    assert stream.answer.text == first.strip()
    assert stream.answer.finish_reason == "stop"


def test_the_stream_shows_what_the_answer_says(model: Scripted, index: Index) -> None:
    model.said = ("Yes [", "1] and [5", "] no [x] [")
    stream = searching(model, index, read=1).stream("Why does bread rise?")
    assert len(stream.passages) == 4
    shown = "".join(stream)
    assert shown == "Yes [1] and no [x] ["
    assert stream.answer.text == shown


def test_nothing_found_is_said_instead_of_inventing(model: Scripted, index: Index) -> None:
    search = searching(model, index, threshold=50.0, nothing_found="Nothing.")
    answer = search.ask("Who won?")
    assert (answer.text, answer.found, answer.citations) == ("Nothing.", False, ())
    assert answer.passages
    assert searching(model, index, threshold=-50.0).ask("Who won?").found


def test_the_models_threshold_is_the_default(index: Index, model: Scripted) -> None:
    strict = Scripted(model.network, model.tokenizer, model.template, Settings(threshold=50.0))
    assert not searching(strict, index).ask("Who won?").found
    assert searching(strict, index, threshold=-50.0).ask("Who won?").found


@pytest.mark.parametrize("question", ["harbour tower", "glacier ice", "bread dough", "moon tides"])
def test_confidence_is_the_models_own_score_of_the_first_passage(
    model: Scripted, index: Index, question: str
) -> None:
    search = searching(model, index, retriever="bm25", threshold=-50.0)
    stream = search.stream(question)
    embedding = model.read(Conversation.start(question)).embedding
    own = {one.passage.id: one.score for one in index.search(embedding[None], 4)[0]}
    assert stream.confidence == pytest.approx(own[stream.passages[0].passage.id])


def test_a_passage_that_the_model_does_not_find_has_its_lowest_score(
    model: Scripted, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uniconv.search.fused_depth", lambda _: 1)
    search = searching(model, index, retriever="bm25")
    embedding = model.read(Conversation.start("Anything?")).embedding
    (nearest,) = index.search(embedding[None], 1)[0]
    for question in ("tower", "glacier", "bread", "moon"):
        found = search.ranked(Conversation.start(question), embedding, search.settings)
        assert found[1] == [nearest.score] * len(found[0])
        assert found[0]


@pytest.mark.parametrize("retriever", ["dense", "bm25", "hybrid"])
def test_each_retriever_ranks_as_it_should(retriever: str, model: Scripted, index: Index) -> None:
    conversation = Conversation("c", (Turn("ice?", "Ice deforms."), Turn("Under its weight?")))
    dense = index.search(model.encode_conversations([conversation]), 4)[0]
    sparse = index.search_text(["ice? Ice deforms. Under its weight?"], 4)[0]
    ranked = searching(model, index, retriever=retriever, read=1).retrieve(conversation)
    if retriever == "dense":
        assert _ids(ranked) == _ids(dense)
    elif retriever == "bm25":
        assert _ids(ranked) == _ids(sparse)
        assert ranked[0].passage.text.startswith("A glacier")
    else:
        last = index.search_text(["Under its weight?"], 4)[0]
        best = {_ids(dense)[0], _ids(sparse)[0], _ids(last)[0]}
        assert _ids(ranked)[0] in best
        assert set(_ids(ranked)) == set(_ids(dense)) | set(_ids(sparse))


def test_an_index_of_another_model_is_refused(index: Index) -> None:
    with pytest.raises(UniConvError, match="another model"):
        ConversationalSearch(tiny_uniconv(seed=5), index)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"retriever": "best"}, "retriever 'best' is unknown"),
        ({"read": 11}, "read must be from 1 to retrieve"),
        ({"read": 0}, "read must be from 1 to retrieve"),
        ({"max_new_tokens": 0}, "max_new_tokens must be 1 or more"),
        ({"temperature": -1.0}, "temperature must be 0 or more"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SearchSettings(**changes)


@given(
    text=st.text(alphabet="ab [],19\n", max_size=30),
    cuts=st.lists(st.integers(0, 30), max_size=6),
)
def test_marks_are_cleaned_the_same_however_text_is_cut(text: str, cuts: list[int]) -> None:
    places = sorted({0, *(min(cut, len(text)) for cut in cuts), len(text)})
    pieces = [text[a:b] for a, b in itertools.pairwise(places)]
    assert "".join(Marks(3).clean(pieces)) == "".join(Marks(3).clean([text]))


def _ids(passages: Sequence[ScoredPassage]) -> list[str]:
    return [scored.passage.id for scored in passages]


def test_filters_leave_only_what_they_ask_for(model: Scripted, index: Index) -> None:
    talk = Conversation.start("Why does the glacier move?")
    for retriever in ("dense", "bm25", "hybrid"):
        settings = SearchSettings(retriever=retriever, filters={"file": ["moon.md", "ice.md"]})
        found = ConversationalSearch(model, index, settings).retrieve(
            talk.answer("Ice.").ask("Why?")
        )
        assert {one.passage.metadata["file"] for one in found} <= {"moon.md", "ice.md"}
        assert found
    answer = ConversationalSearch(
        model, index, SearchSettings(filters={"file": "absent.md"}, threshold=None)
    ).ask(talk)
    assert (answer.found, answer.passages) == (False, ())
    with pytest.raises(ConfigError, match="'file' names no value"):
        SearchSettings(filters={"file": []})
