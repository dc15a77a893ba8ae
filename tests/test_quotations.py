"""Quotations: whatever an LM prefers, a response says nothing that no passage says."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from threading import Thread
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiny import tiny_uniconv
from tiny_tokenizers import sentencepiece_uniconv
from uniconv.conversational import Reading
from uniconv.decoding import Decoding, Generation
from uniconv.engine import Engine
from uniconv.model import Settings, UniConv
from uniconv.quotations import Quotation, quotations, respond
from uniconv.templates import Limits
from uniconv.types import Conversation, Passage, Turn
from waiting import until

PASSAGES = [
    Passage("tower", "The tower was built in 1893.[7] The tower fell. Who built it? A family."),
    Passage("ice", "Ice deforms under its own weight. The tower fell."),
    Passage("list", "first\nsecond one\n- third"),
]
TALK = Conversation.start("Who built the tower?")


@cache
def models() -> Sequence[UniConv]:
    return tiny_uniconv(), sentencepiece_uniconv(Limits())


def quoting(
    model: Any, passages: Sequence[Passage], talk: Conversation = TALK, **options: Any
) -> Generation:
    return respond(model, talk, model.read(talk), passages, Decoding(**options), quotes=True)


def quote(
    model: Any, passages: Sequence[Passage], talk: Conversation = TALK, **options: Any
) -> str:
    return "".join(quoting(model, passages, talk, **options)).strip()


def test_quotations_are_sentences_once_each_with_their_marks() -> None:
    assert [one.written for one in quotations(PASSAGES)] == [
        "The tower was built in 1893. [1]",
        "The tower fell. [1]",
        "A family. [1]",
        "Ice deforms under its own weight. [2]",
        "first [3]",
        "second one [3]",
        "- third [3]",
    ]


def test_what_would_be_read_as_a_mark_is_not_quoted() -> None:
    passage = Passage("code", "The median([1, 3, 5]) is 3. An odd one.\n|---|--:|")
    assert quotations([passage]) == [Quotation("An odd one.", 1, 1)]


def test_what_heads_or_asks_is_not_quoted() -> None:
    text = "# Costs\nWhat is it?\n这是什么？\nTitle\n=====\n"
    text += "| what | how much |\n|---|--:|\n| tea | 3 |\nAn end.\n---"
    assert [one.text for one in quotations([Passage("page", text)])] == ["| tea | 3 |", "An end."]


@pytest.mark.parametrize("which", [0, 1], ids=["bytes", "sentencepiece"])
@settings(max_examples=15, deadline=None)
@given(
    question=st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=20),
    texts=st.lists(st.text("aB1é .!\n", min_size=1, max_size=40), min_size=1, max_size=3),
)
def test_whatever_is_asked_a_sentence_is_said_as_it_stands(
    which: int, question: str, texts: list[str]
) -> None:
    passages = [Passage(str(place), text) for place, text in enumerate(texts)]
    said = quote(models()[which], passages, Conversation.start(question))
    assert said in ([one.written for one in quotations(passages)] or [""])


def test_without_a_word_in_common_the_nearest_embedding_is_said() -> None:
    model, talk = models()[0], Conversation.start("xyz?")
    (query,) = model.encode_conversations([talk])
    for passage in PASSAGES:
        near = {
            one.written: model.encode([model.template.response_document(one.text)])[0] @ query
            for one in quotations([passage])
        }
        said = quote(model, [passage], talk)
        assert near[said] == pytest.approx(max(near.values()), abs=1e-6)
        assert quote(model, [passage], talk, temperature=2.0, seed=1) == said


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("What does ice do under weight?", "Ice deforms under its own weight. [2]"),
        ("What was built in 1893?", "The tower was built in 1893. [1]"),
        ("Tell me of a family", "A family. [1]"),
    ],
)
def test_words_of_the_last_question_decide_where_embeddings_are_alike(
    question: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = models()[0]
    same = np.ones((len(quotations(PASSAGES)), model.dimension), np.float32)
    monkeypatch.setattr(model, "encode_now", lambda _: same)
    talk = Conversation.start("first or second?").answer("Neither.").ask(question)
    assert quote(model, PASSAGES, talk) == said


@pytest.mark.parametrize(
    ("texts", "question", "similarities", "expected"),
    [
        (("One.", "Two.", "Three."), "xyz?", (0.5, 0.6, 0.1), "One. [1]"),
        (("One.", "Two.", "Three."), "xyz?", (0.1, 0.6, 0.5), "Two. [2]"),
        (("One.", "Two.", "Three."), "Three?", (0.1, 0.5, 0.6), "Three. [3]"),
        (("One. Two. Three.",), "xyz?", (0.5, 0.6, 0.1), "One. [1]"),
        (("One. Two. Three.",), "xyz?", (0.1, 0.9, 0.1), "Two. [1]"),
        (("One. Two. Three.",), "Three?", (0.1, 0.1, 0.6), "Three. [1]"),
    ],
)
def test_better_passages_and_earlier_sentences_decide_where_sentences_are_nearly_alike(
    texts: Sequence[str],
    question: str,
    similarities: Sequence[float],
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = models()[0]
    monkeypatch.setattr(model, "read", lambda _: Reading([5], np.ones(1)))
    monkeypatch.setattr(model, "encode_now", lambda _: np.array(similarities)[:, None])
    passages = [Passage(text, text) for text in texts]
    assert quote(model, passages, Conversation.start(question)) == expected


def test_what_was_answered_before_is_not_said_again_while_there_is_more_to_say() -> None:
    model, turns = models()[0], list[Turn]()
    for _ in quotations(PASSAGES):
        said = quote(model, PASSAGES, Conversation("c", (*turns, Turn("And the tower?"))))
        turns.append(Turn("And the tower?", said))
    everything = [one.written for one in quotations(PASSAGES)]
    assert sorted(turn.response or "" for turn in turns) == sorted(everything)
    assert quote(model, PASSAGES, Conversation("c", (*turns, Turn("More?")))) in everything


def test_sentences_that_do_not_fit_are_left_out() -> None:
    model = models()[0]
    sizes = {
        one.written: len(model.template.content(one.written)) for one in quotations(PASSAGES[:1])
    }
    least = min(sizes.values())
    assert sizes[quote(model, PASSAGES[:1], max_new_tokens=least)] == least
    # Where none fits, the response is cut.
    generation = quoting(model, PASSAGES[:1], max_new_tokens=3)
    assert any(text.startswith("".join(generation).strip()) for text in sizes)
    assert (generation.completion_tokens, generation.finish_reason) == (3, "length")


def test_a_quotation_counts_and_ends_as_any_response_does() -> None:
    model = models()[0]
    whole = quoting(model, PASSAGES)
    text = "".join(whole)
    assert whole.completion_tokens == len(model.template.content(text))
    read = [model.template.response_document(one.text) for one in quotations(PASSAGES)]
    assert whole.prompt_tokens == len(model.template.conversation(TALK)) + sum(map(len, read))
    assert whole.finish_reason == "stop"
    assert quote(model, PASSAGES, stop=[text[3:6]]) == text[:3].strip()


def test_passages_without_a_sentence_say_nothing() -> None:
    generation = quoting(models()[0], [Passage("e", "[3]")])
    assert ("".join(generation), generation.finish_reason) == ("", "stop")


def test_engine_and_model_quote_the_same() -> None:
    model = models()[0]
    with Engine(model) as engine:
        assert quote(engine, PASSAGES) == quote(model, PASSAGES)


def test_a_quotation_does_not_wait_for_passages_that_are_encoded() -> None:
    model = models()[0]
    with Engine(model) as engine:
        many = [Passage(str(number), "harbour " * 30) for number in range(600)]
        encoding = Thread(target=engine.encode_passages, args=(many,))
        encoding.start()
        until(lambda: engine.statistics.steps)
        assert quote(engine, PASSAGES) == quote(model, PASSAGES)
        assert encoding.is_alive()
        encoding.join()


def test_embeddings_that_are_waited_for_are_the_same() -> None:
    model, (tokens,) = models()[0], [models()[0].template.passage(PASSAGES[0])]
    with Engine(model) as engine:
        found = engine.encode_now([tokens])
    np.testing.assert_allclose(found, model.encode_now([tokens]), atol=2e-6)


def test_the_models_settings_decide_where_nobody_else_does() -> None:
    tiny = models()[0]
    model = UniConv(tiny.network, tiny.tokenizer, tiny.template, Settings(quote=True))

    def said(passages: Sequence[Passage], quotes: bool | None) -> str:
        decoding = Decoding(max_new_tokens=60)
        return "".join(respond(model, TALK, model.read(TALK), passages, decoding, quotes)).strip()

    written = "".join(tiny.generate(TALK, PASSAGES, max_new_tokens=60)).strip()
    assert said(PASSAGES, None) == said(PASSAGES, True) == quote(tiny, PASSAGES) != written
    assert said(PASSAGES, False) == written
    assert said([], None) == "".join(tiny.generate(TALK, max_new_tokens=60)).strip()
