"""What the engine says is what the model says, whatever it remembers and whoever else asks."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from threading import Event
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiny import FAMILIES, tiny_uniconv
from uniconv.engine import Engine, EngineBusy, EngineSettings
from uniconv.engine.sessions import WORTHWHILE
from uniconv.errors import ModelError, UniConvError
from uniconv.model import Settings, UniConv
from uniconv.templates import Limits
from uniconv.types import Conversation, Passage

PASSAGES = [
    Passage("tower", "The tower of the old harbour was built in 1893 by a family.", "Tower"),
    Passage("ice", "A glacier moves slowly because ice deforms under its own weight."),
    Passage("open", "It was opened in the spring of 1901 after the bridge was repaired."),
]
QUESTIONS = ("Who built the tower of the old harbour?", "When was that?", "Why does ice move?")
RESPONSES = ("A family of engineers built it [1].", "In 1893.", "I don't know, sorry about that.")


def conversation(numbers: list[int]) -> Conversation:
    """Questions and responses by their numbers, the last question open."""
    talk = Conversation.start(QUESTIONS[numbers[0] % 3])
    for number in numbers[1:]:
        talk = talk.answer(RESPONSES[number // 3 % 3]).ask(QUESTIONS[number % 3])
    return talk


def said(model: UniConv | Engine, talk: Conversation, **options: Any) -> tuple[np.ndarray, str]:
    reading = model.read(talk)
    number = len(talk.turns) % 3
    text = "".join(model.generate(reading, PASSAGES[:number], max_new_tokens=8, **options))
    return reading.embedding, text


def same(found: tuple[np.ndarray, str], expected: tuple[np.ndarray, str]) -> None:
    np.testing.assert_allclose(found[0], expected[0], atol=2e-6)
    assert found[1] == expected[1]


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest) -> UniConv:
    return tiny_uniconv(request.param)


@pytest.fixture
def llama() -> UniConv:
    return tiny_uniconv()


def engine_of(model: UniConv, **options: Any) -> Engine:
    return Engine(model, EngineSettings(**options))


TALKS = st.lists(st.lists(st.integers(0, 8), min_size=1, max_size=4), min_size=2, max_size=5)


@settings(max_examples=3, deadline=None)
@given(talks=TALKS, cache=st.sampled_from([0, 40_000, 1 << 30]), step=st.sampled_from([7, 64, 512]))
def test_cached_equals_uncached(
    model: UniConv, talks: list[list[int]], cache: int, step: int
) -> None:
    """Conversations that go on, branch off, are edited and repeated, with and without evictions."""
    with engine_of(model, cache_bytes=cache, step_tokens=step) as engine:
        for numbers in talks:
            for turns in range(1, len(numbers) + 1):
                talk = conversation(numbers[:turns])
                same(said(engine, talk), said(model, talk))
        assert engine.statistics.cache_bytes <= cache or engine.statistics.running


@settings(max_examples=2, deadline=None)
@given(seed=st.integers(0, 1000), running=st.sampled_from([1, 3, 32]))
def test_requests_at_once_equal_requests_alone(model: UniConv, seed: int, running: int) -> None:
    chance = random.Random(seed)
    talks = [
        conversation([chance.randrange(9) for _ in range(chance.randint(1, 4))]) for _ in range(10)
    ]
    expected = [said(model, talk) for talk in talks]
    with (
        engine_of(model, running=running, step_tokens=24) as engine,
        ThreadPoolExecutor(5) as pool,
    ):
        embedded = pool.submit(engine.encode_passages, PASSAGES)
        for found, one in zip(
            pool.map(lambda talk: said(engine, talk), talks), expected, strict=True
        ):
            same(found, one)
        np.testing.assert_allclose(embedded.result(), model.encode_passages(PASSAGES), atol=2e-6)


def test_a_turn_costs_its_new_tokens_only(llama: UniConv) -> None:
    talk = conversation([0])
    with engine_of(llama) as engine:
        reading = engine.read(talk)
        assert reading.cached == 0
        before = reading.tokens
        answered = talk.answer("".join(engine.generate(reading, PASSAGES, max_new_tokens=12)))
        again = engine.read(answered.ask("And then?"))
        assert again.cached == len(before)
        counts = engine.statistics.counts
        assert (counts.hits, counts.misses) == (1, 1)
        assert counts.reused == len(before)
        assert counts.read == len(again.tokens)
        assert counts.written == 12


def test_an_edited_question_keeps_what_came_before_it(llama: UniConv) -> None:
    with engine_of(llama) as engine:
        first = conversation([0, 1, 2])
        engine.read(first)
        edited = conversation([0, 1, 4])
        common = llama.template.conversation(conversation([0, 1]))
        assert engine.read(edited).cached >= len(common)
        assert engine.read(first.answer("Yes.").ask("Why?")).cached == len(
            llama.template.conversation(first)
        )


@pytest.mark.parametrize("pooling", ["mean", "weighted_mean"])
def test_poolings_over_all_states_are_exact_too(pooling: Any) -> None:
    model = tiny_uniconv(settings=Settings(pooling=pooling))
    with engine_of(model, step_tokens=5) as engine:
        for numbers in ([0], [0, 1], [0, 1, 2]):
            same(said(engine, conversation(numbers)), said(model, conversation(numbers)))


def test_sampling_is_the_models_with_the_same_seed(llama: UniConv) -> None:
    talk = conversation([0, 4])
    options = {"temperature": 0.9, "top_p": 0.9, "seed": 3}
    with engine_of(llama) as engine:
        same(said(engine, talk, **options), said(llama, talk, **options))


class Oracle:
    """Guesses what the model will write, the fourth of five tokens wrong."""

    expected: Sequence[int] = ()

    def __init__(self, prompt: Sequence[int]) -> None:
        assert prompt

    def guess(self, written: Sequence[int], most: int) -> list[int]:
        right = self.expected[len(written) : len(written) + min(5, most)]
        return [token + (place == 3) for place, token in enumerate(right)]

    def learn(self, guessed: int, right: int) -> None:
        assert guessed == 0 or right == min(guessed - 1, 3)


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_guesses_change_nothing_and_save_passes(
    llama: UniConv, temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"max_new_tokens": 40, "temperature": temperature, "seed": 1}
    alone = llama.generate(conversation([0]), PASSAGES, **options)
    expected = "".join(alone)
    monkeypatch.setattr(Oracle, "expected", list(alone._writer.tokens))  # type: ignore[union-attr]
    monkeypatch.setattr("uniconv.engine.engine.PromptLookup", Oracle)
    found = {}
    for tokens in (0, 32):
        with engine_of(llama, draft_tokens=tokens) as engine:
            assert "".join(engine.generate(conversation([0]), PASSAGES, **options)) == expected
        found[tokens] = engine.statistics
    assert found[32].counts.written == found[0].counts.written == 40
    assert found[32].counts.guessed_right == 29
    assert found[32].steps == found[0].steps - 29


def test_a_format_without_assistant_header_can_answer_closed_book() -> None:
    model = tiny_uniconv(
        chat_template="{% for m in messages %}{% if m['role'] == 'user' %}"
        "[Q]{{ m['content'] }}[/Q]{% else %}{{ m['content'] }}</s>{% endif %}{% endfor %}"
    )
    expected = "".join(model.generate(conversation([0]), max_new_tokens=8))
    with engine_of(model) as engine:
        reading = engine.read(conversation([0]))
        for _ in range(2):
            assert "".join(engine.generate(reading, max_new_tokens=8)) == expected


def test_whoever_stops_listening_frees_the_place(llama: UniConv) -> None:
    with engine_of(llama, running=1) as engine:
        reading = engine.read(conversation([0]))
        endless = engine.generate(reading, max_new_tokens=100_000)
        next(endless)
        endless.close()
        assert list(endless) == []
        unheard = engine.generate(reading, max_new_tokens=100_000)
        del unheard
        assert "".join(engine.generate(reading, max_new_tokens=4))


def test_another_thread_may_end_an_answer_that_is_waited_for(llama: UniConv) -> None:
    with engine_of(llama, running=1) as engine, ThreadPoolExecutor(2) as threads:
        reading = engine.read(conversation([0]))
        endless = engine.generate(reading, max_new_tokens=100_000)
        next(endless)
        queued = engine.generate(reading, max_new_tokens=100_000)
        listening = [threads.submit(list, one) for one in (queued, endless)]
        queued.close()  # before it was begun
        assert listening[0].result(timeout=20) == []
        endless.close()
        listening[1].result(timeout=20)


def test_a_reading_that_is_cancelled_ends_at_the_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_uniconv(limits=Limits(conversation=480))
    long = Conversation.start("word " * 400)
    cancelled, forward = Event(), model.lm.model.forward

    def after_three(*given: Any, **options: Any) -> Any:
        if engine.statistics.steps == 2:
            cancelled.set()
        return forward(*given, **options)

    with engine_of(model, step_tokens=16) as engine:
        monkeypatch.setattr(model.lm.model, "forward", after_three)
        with pytest.raises(CancelledError):
            engine.read(long, cancelled)
        statistics = engine.statistics
        assert (statistics.steps, statistics.running) == (3, 0)
        monkeypatch.setattr(model.lm.model, "forward", forward)
        again = engine.read(long)  # goes on where the other stopped
        assert again.cached == 48
        np.testing.assert_allclose(again.embedding, model.read(long).embedding, atol=2e-6)


def test_a_reading_that_is_cancelled_before_its_turn_is_never_begun(llama: UniConv) -> None:
    cancelled = Event()
    cancelled.set()
    with engine_of(llama) as engine:
        with pytest.raises(CancelledError):
            engine.read(conversation([0]), cancelled)
        assert engine.statistics.steps == 0


def test_more_than_may_wait_are_refused_but_not_what_was_begun(llama: UniConv) -> None:
    with engine_of(llama, running=1, waiting=0) as engine:
        with pytest.raises(EngineBusy, match="wait already"):
            engine.read(conversation([0]))
        reading = llama.read(conversation([0]))
        assert "".join(engine.generate(reading, max_new_tokens=4))


def test_a_closed_engine_finishes_and_takes_nothing_more(llama: UniConv) -> None:
    engine = engine_of(llama)
    pieces = engine.generate(conversation([0]), max_new_tokens=30)
    engine.close()
    assert "".join(pieces) == "".join(llama.generate(conversation([0]), max_new_tokens=30))
    with pytest.raises(UniConvError, match="closed"):
        engine.read(conversation([0]))


def test_a_failed_step_fails_its_requests_and_no_others(
    llama: UniConv, monkeypatch: pytest.MonkeyPatch
) -> None:
    with engine_of(llama) as engine:
        forward = llama.lm.model.forward
        monkeypatch.setattr(llama.lm.model, "forward", _out_of_memory)
        with pytest.raises(RuntimeError, match="memory"):
            engine.read(conversation([0]))
        monkeypatch.setattr(llama.lm.model, "forward", forward)
        same(said(engine, conversation([0, 1])), said(llama, conversation([0, 1])))


def test_a_failure_in_the_middle_of_an_answer_reaches_whoever_listens(
    llama: UniConv, monkeypatch: pytest.MonkeyPatch
) -> None:
    with engine_of(llama) as engine:
        pieces = engine.generate(conversation([0]), max_new_tokens=100_000)
        next(pieces)
        monkeypatch.setattr(llama.lm.model, "forward", _out_of_memory)
        with pytest.raises(RuntimeError, match="memory"):
            for _ in pieces:
                pass
        assert list(pieces) == []


def test_what_nobody_waits_for_any_more_is_never_begun(llama: UniConv) -> None:
    with engine_of(llama, running=1) as engine:
        reading = engine.read(conversation([0]))
        first = engine.generate(reading, max_new_tokens=100_000)
        next(first)
        engine.generate(reading, max_new_tokens=100_000).close()
        first.close()
    assert engine.statistics.waiting == engine.statistics.running == 0


def _out_of_memory(*_: Any, **__: Any) -> None:
    raise RuntimeError("out of memory")


def test_a_long_prompt_holds_nobody_up() -> None:
    """While it is read in small steps, another answer is written from beginning to end."""
    model = tiny_uniconv(limits=Limits(conversation=480))
    long = Conversation.start("word " * 400)
    order: list[str] = []
    with engine_of(model, step_tokens=8) as engine:
        short = engine.read(conversation([0]))

        def read_long() -> None:
            engine.read(long)
            order.append("long")

        reader = threading.Thread(target=read_long)
        pieces = _begun(engine.generate(short, max_new_tokens=10))
        reader.start()
        assert "".join(pieces)
        order.append("short")
        reader.join()
    assert order == ["short", "long"]


def _begun(pieces: Iterator[str]) -> Iterator[str]:
    first = next(pieces)
    return iter([first, *pieces])


def test_the_cache_is_bounded(llama: UniConv) -> None:
    limit = 60_000
    with engine_of(llama, cache_bytes=limit) as engine:
        for number in range(12):
            engine.read(Conversation.start(f"{number} " * 40))
        last = engine.read(Conversation.start("11 " * 40))
    assert last.cached == len(last.tokens) > WORTHWHILE
    found = engine.statistics
    assert 0 < found.cache_bytes <= limit
    assert 1 < found.sessions < 12


def test_a_backbone_that_cannot_is_refused(llama: UniConv) -> None:
    llama.reader.__dict__["way"] = "separate"
    with pytest.raises(ModelError, match="attention interface"):
        Engine(llama)
