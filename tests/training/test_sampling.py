"""The stream of examples: a function of the seed, fair to every turn, split without gaps."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uniconv.config import Optimisation, Source
from uniconv.training.examples import Example, Examples
from uniconv.training.sampling import Stream, places, total_steps, visits
from uniconv.types import Conversation, Turn


def _examples(*sizes_and_weights: tuple[int, float]) -> Examples:
    one = Conversation("c", (Turn("q", "r"),))
    examples = [
        Example(one, 1, source)
        for source, (size, _) in enumerate(sizes_and_weights)
        for _ in range(size)
    ]
    sources = [Source((Path("c"),), weight=weight) for _, weight in sizes_and_weights]
    return Examples(sources, examples, [{} for _ in sources], [[] for _ in sources])


def test_an_epoch_visits_turns_as_their_source_weighs() -> None:
    stream = Stream(_examples((4, 1.0), (4, 2.0), (4, 0.5)), seed=0)
    assert stream.epoch_length == 4 + 8 + 2
    visits = Counter(stream[place][0] for place in range(stream.epoch_length))
    assert [visits[n] for n in range(8)] == [1, 1, 1, 1, 2, 2, 2, 2]
    assert sum(visits[n] for n in range(8, 12)) == 2


def test_the_stream_is_a_function_of_the_seed() -> None:
    def read(seed: int, order: range) -> dict[int, tuple[int, float]]:
        stream = Stream(_examples((5, 1.3)), seed)
        return {place: (stream[place][0], stream[place][1].random()) for place in order}

    assert read(1, range(30)) == read(1, range(29, -1, -1))
    assert read(1, range(30)) != read(2, range(30))


def test_epochs_differ_in_order() -> None:
    stream = Stream(_examples((20, 1.0)), seed=0)
    first, second = ([stream[20 * epoch + n][0] for n in range(20)] for epoch in (0, 1))
    assert first != second
    assert sorted(first) == sorted(second) == list(range(20))


def _talks(*lengths: int, weight: float = 1.0) -> Examples:
    examples = []
    for number, length in enumerate(lengths):
        talk = Conversation(f"c{number}", (Turn("q", "r"),) * length)
        examples += [Example(talk, turn, 0) for turn in range(1, length + 1)]
    return Examples([Source((Path("c"),), weight=weight)], examples, [{}], [[]])


@given(st.lists(st.integers(1, 6), min_size=1, max_size=8), st.floats(0.1, 2.5), st.integers(0, 9))
def test_turns_of_a_conversation_stay_together(
    lengths: list[int], weight: float, seed: int
) -> None:
    talks = _talks(*lengths, weight=weight)
    stream = Stream(talks, seed, together=True)
    epoch = [talks.examples[stream[place][0]] for place in range(stream.epoch_length)]
    counts = Counter((one.conversation.id, one.number) for one in epoch)
    least = stream.epoch_length // len(talks)
    assert all(counts[(o.conversation.id, o.number)] - least in (0, 1) for o in talks.examples)
    for before, after in itertools.pairwise(epoch):
        follows = after.conversation is before.conversation and after.number == before.number + 1
        assert follows or after.number == 1


def test_conversations_follow_each_other_by_chance() -> None:
    talks = _talks(*[2] * 12)
    first, second = (
        [Stream(talks, seed, together=True)[place][0] for place in range(24)] for seed in (0, 1)
    )
    assert first != second
    assert first != sorted(first)


def _shared(*shares: float) -> list[Source]:
    return [Source((Path("c"),), share=share) for share in shares]


@pytest.mark.parametrize(
    ("shares", "sizes", "expected"),
    [
        ((0.5, 0.5), (10, 30), [20, 20]),
        ((1, 3), (10, 30), [10, 30]),
        ((0.1, 0.2, 0.7), (30, 30, 40), [10, 20, 70]),
        ((1, 1, 1), (1, 1, 98), [34, 33, 33]),
        ((1, 999), (5, 5), [1, 10]),
    ],
)
def test_shares_divide_an_epoch_exactly(
    shares: tuple[float, ...], sizes: tuple[int, ...], expected: list[int]
) -> None:
    assert visits(_shared(*shares), sizes) == expected


@given(st.lists(st.tuples(st.integers(1, 200), st.floats(0.01, 1)), min_size=1, max_size=6))
def test_shares_are_off_by_less_than_one_turn(mixture: list[tuple[int, float]]) -> None:
    sizes, shares = [size for size, _ in mixture], [share for _, share in mixture]
    counts = visits(_shared(*shares), sizes)
    length = sum(sizes)
    for count, share in zip(counts, shares, strict=True):
        exact = length * share / sum(shares)
        assert abs(count - exact) < 1 + 1e-6
    if min(counts) > 1:
        assert sum(counts) == length


def test_a_temperature_favours_small_sources() -> None:
    sources = [Source((Path("c"),)), Source((Path("c"),), weight=0.5)]
    assert visits(sources, (100, 800), 1) == [100, 400]
    assert visits(sources, (100, 800), 2) == [167, 333]  # roots 10 and 20 of 500
    assert visits(sources, (100, 800), 1e9) == [250, 250]


def test_a_share_visits_all_turns_before_any_comes_again() -> None:
    one = Conversation("c", (Turn("q", "r"),))
    examples = [Example(one, 1, source) for source, size in enumerate((3, 9)) for _ in range(size)]
    mixture = Examples(_shared(2, 1), examples, [{}, {}], [[], []])
    stream = Stream(mixture, seed=0)
    seen = Counter(stream[place][0] for place in range(stream.epoch_length))
    assert stream.visits == [8, 4]
    assert sorted(seen[n] for n in range(3)) == [2, 3, 3]
    assert sorted(seen[n] for n in range(3, 12)) == [0, 0, 0, 0, 0, 1, 1, 1, 1]
    again = Stream(mixture, seed=0)  # as a resumed run makes it
    order = [stream[place][0] for place in range(60)]
    assert [again[place][0] for place in range(59, -1, -1)] == order[::-1]
    assert [Stream(mixture, seed=1)[place][0] for place in range(60)] != order


@given(st.integers(1, 5), st.integers(1, 3), st.integers(1, 4))
def test_passes_and_processes_cover_the_stream_without_gaps(
    batch: int, accumulation: int, processes: int
) -> None:
    settings = Optimisation(batch_size=batch, accumulation=accumulation)
    read = [
        place
        for step in range(3)
        for number in range(accumulation)
        for process in range(processes)
        for place in places(settings, step, number, process, processes)
    ]
    assert read == list(range(3 * batch * accumulation * processes))


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        (Optimisation(batch_size=4, epochs=2.0), 5),
        (Optimisation(batch_size=4, accumulation=2, epochs=1.0), 2),
        (Optimisation(batch_size=64, epochs=0.1), 1),
        (Optimisation(steps=7, epochs=2.0), 7),
    ],
)
def test_the_length_of_a_run(settings: Optimisation, steps: int) -> None:
    assert total_steps(settings, epoch_length=10, processes=1) == steps
