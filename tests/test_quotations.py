"""Responses of whole sentences: whatever an LM prefers, it says nothing that no passage says."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiny import tiny_uniconv
from tiny_tokenizers import sentencepiece_uniconv
from uniconv.citations import without_marks
from uniconv.engine import Engine, EngineSettings
from uniconv.model import Settings, UniConv
from uniconv.quotations import Quotations
from uniconv.sentences import sentences
from uniconv.templates import Limits
from uniconv.types import Conversation, Passage

PASSAGES = [
    Passage("tower", "The tower was built in 1893.[7] The tower fell. Who built it? A family."),
    Passage("ice", "Ice deforms under its own weight. The tower fell."),
    Passage("list", "first\nsecond one\n- third"),
]
TALK = Conversation.start("Who built the tower?")


@cache
def models() -> Sequence[UniConv]:
    return tiny_uniconv(), sentencepiece_uniconv(Limits())


def said_by_chance(model: UniConv, passages: Sequence[Passage], longest: int, seed: int) -> str:
    """A response of allowed tokens; what is guessed must be what follows."""
    quotations = Quotations(model.template, passages, longest)
    chance, written = random.Random(seed), list[int]()
    expected: list[int] = []
    while len(written) < longest:
        expected = expected or quotations.guess(written, chance.randint(1, 8))
        allowed = quotations.allowed
        token = chance.choice(allowed)
        if expected:
            assert allowed == [expected.pop(0)]
        if token in model.template.stop:
            break
        quotations.push(token)
        written.append(token)
    return str(model.tokenizer.decode(written, skip_special_tokens=True)).strip()


def quoted(text: str, passages: Sequence[Passage]) -> list[str]:
    """The sentences that the text is made of, taken off its beginning one by one."""
    found = []
    while text:
        for number, passage in enumerate(passages, start=1):
            for sentence in map(str.strip, map(without_marks, sentences(passage.text))):
                if text.startswith(f"{sentence} [{number}]"):
                    found.append(sentence)
                    text = text.removeprefix(f"{sentence} [{number}]").lstrip()
                    break
            else:
                continue
            break
        else:
            raise AssertionError(f"no passage says {text!r}")
    return found


@pytest.mark.parametrize("which", [0, 1], ids=["bytes", "sentencepiece"])
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 3))
def test_only_whole_sentences_with_their_marks(which: int, seed: int, count: int) -> None:
    found = quoted(said_by_chance(models()[which], PASSAGES[:count], 500, seed), PASSAGES[:count])
    assert found and len(set(found)) == len(found)


def test_sentences_that_do_not_fit_are_left_out() -> None:
    model = models()[0]
    sizes = {
        sentence: len(model.template.content(f"{sentence} [1]"))
        for sentence in map(without_marks, sentences(PASSAGES[0].text))
    }
    least = min(sizes.values())
    for seed in range(5):
        found = quoted(said_by_chance(model, PASSAGES[:1], least, seed), PASSAGES[:1])
        assert [sizes[sentence] for sentence in found] == [least]
    # Where none fits, the response is cut.
    assert said_by_chance(model, PASSAGES[:1], 3, 0)


def test_what_would_be_read_as_a_mark_is_not_quoted() -> None:
    passage = Passage("code", "The median([1, 3, 5]) is 3. An odd one.\n|---|--:|")
    for seed in range(5):
        assert said_by_chance(models()[0], [passage], 60, seed) == "An odd one. [1]"


def test_passages_without_a_sentence_say_nothing() -> None:
    model = models()[0]
    quotations = Quotations(model.template, [Passage("e", "[3]")], 20)
    assert quotations.allowed == sorted(model.template.stop)
    assert quotations.guess([], 4) == []


@pytest.mark.parametrize("draft_tokens", [0, 16])
def test_engine_and_model_quote_the_same(draft_tokens: int) -> None:
    model = models()[0]
    options = {"quote": True, "max_new_tokens": 100}
    expected = "".join(model.generate(TALK, PASSAGES, **options))
    assert quoted(expected.strip(), PASSAGES)
    with Engine(model, EngineSettings(draft_tokens=draft_tokens)) as engine:
        assert "".join(engine.generate(TALK, PASSAGES, **options)) == expected
    assert bool(engine.statistics.counts.guessed_right) == bool(draft_tokens)


def test_the_models_settings_decide_where_nobody_else_does() -> None:
    tiny = models()[0]
    model = UniConv(tiny.network, tiny.tokenizer, tiny.template, Settings(quote=True))
    assert quoted("".join(model.generate(TALK, PASSAGES, max_new_tokens=60)).strip(), PASSAGES)
    free = "".join(tiny.generate(TALK, PASSAGES, max_new_tokens=60))
    assert "".join(model.generate(TALK, PASSAGES, max_new_tokens=60, quote=False)) == free
    closed = "".join(tiny.generate(TALK, max_new_tokens=60))
    assert "".join(model.generate(TALK, max_new_tokens=60)) == closed


def test_quotations_are_sampled() -> None:
    model, options = models()[0], {"quote": True, "max_new_tokens": 60, "temperature": 2.0}
    said = {"".join(model.generate(TALK, PASSAGES, seed=seed, **options)) for seed in range(8)}
    assert len(said) > 1
    assert all(quoted(text.strip(), PASSAGES) for text in said)
