from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tiny import tiny_tokenizer
from uniconv.decoding import Decoding, Generation, Sampler, TextStream, Writer, is_loop

CPU = torch.device("cpu")


def test_temperature_zero_takes_the_likeliest() -> None:
    assert Sampler(Decoding(), CPU)(torch.tensor([0.1, 2.0, 1.9])) == 1


def test_nucleus_leaves_out_the_tail() -> None:
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    sample = Sampler(Decoding(temperature=1.0, top_p=0.7, seed=0), CPU)
    assert {sample(logits) for _ in range(200)} == {0, 1}


def test_sampling_follows_the_probabilities_and_the_seed() -> None:
    logits = torch.tensor([0.75, 0.25]).log()
    first, second = (Sampler(Decoding(temperature=1.0, seed=7), CPU) for _ in range(2))
    draws = [first(logits) for _ in range(2000)]
    assert draws == [second(logits) for _ in range(2000)]
    assert 0.20 < sum(draws) / 2000 < 0.30


@pytest.mark.parametrize(("temperature", "top_p"), [(-1.0, 1.0), (1.0, 0.0), (1.0, 1.5)])
def test_impossible_settings_are_refused(temperature: float, top_p: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        Decoding(temperature=temperature, top_p=top_p)


@settings(max_examples=80, deadline=None)
@given(text=st.text(max_size=60), stop=st.lists(st.text(min_size=1, max_size=3), max_size=2))
def test_pieces_join_to_the_text_before_the_first_stop(text: str, stop: list[str]) -> None:
    tokenizer = tiny_tokenizer()
    tokens = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    whole = tokenizer.decode(tokens)
    stream, pieces = TextStream(tokenizer, stop), []
    for token in tokens:
        pieces.append(stream.push(token))
        if stream.ended:
            break
    pieces.append(stream.rest())
    ends = [whole.find(word) for word in stop if word in whole]
    assert "".join(pieces) == (whole[: min(ends)] if ends else whole)
    # A real replacement character may be held back, half of a character never shows.
    if "\ufffd" not in whole:
        assert not any("\ufffd" in piece for piece in pieces)


@pytest.mark.parametrize(
    ("tokens", "loops"),
    [
        ([7] * 12, True),
        ([7] * 11, False),
        ([1, 2, 3] + [4, 5, 6, 7] * 4, True),
        ([4, 5, 6, 7] * 3 + [4, 5, 6], False),
        ([5, 6] * 5, False),
        ([5, 6] * 6, True),
        (list(range(40)), False),
        ([7] * 12 + [8], False),
        ([], False),
    ],
)
def test_loops_are_recognised_at_the_end_of_what_was_written(
    tokens: list[int], loops: bool
) -> None:
    assert is_loop(tokens) is loops


def written(text: str, decoding: Decoding) -> tuple[str, Writer]:
    tokenizer = tiny_tokenizer()
    writer, pieces = Writer(tokenizer, frozenset({0}), decoding), ""
    for token in [*tokenizer(text, add_special_tokens=False)["input_ids"], 0]:
        pieces += writer.push(token)
        if writer.finish_reason:
            break
    return pieces, writer


@pytest.mark.parametrize(
    ("decoding", "text", "reason"),
    [
        (Decoding(), "one two three", "stop"),
        (Decoding(stop=(" three",)), "one two", "stop"),
        (Decoding(max_new_tokens=1000, stop_loops=True), None, "stop"),
        (Decoding(max_new_tokens=3), None, "length"),
    ],
)
def test_a_writer_tells_why_a_response_ended(
    decoding: Decoding, text: str | None, reason: str
) -> None:
    given = "one two three" if text else "ab " * 40
    found, writer = written(given, decoding)
    assert writer.finish_reason == reason
    if text:
        assert found == text
    else:
        assert given.startswith(found)
        assert len(writer.tokens) < 40


def test_a_writer_without_room_has_ended() -> None:
    assert Writer(tiny_tokenizer(), frozenset(), Decoding(max_new_tokens=0)).finish_reason


def test_a_fixed_text_is_a_generation() -> None:
    generation = Generation.fixed("Nothing.", 5)
    assert "".join(generation) == "Nothing."
    assert (generation.prompt_tokens, generation.completion_tokens) == (5, 0)
    assert generation.finish_reason == "stop"
    Generation.fixed("Nothing.").close()
