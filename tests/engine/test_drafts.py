from __future__ import annotations

from uniconv.engine.drafts import PromptLookup

PROMPT = [*range(100), 5, 6, 7, 200, 201]


def test_a_guess_is_what_follows_the_last_tokens_in_the_prompt() -> None:
    assert PromptLookup(PROMPT).guess([1, 20, 21, 22], 3) == [23, 24, 25]


def test_the_latest_occurrence_counts() -> None:
    assert PromptLookup(PROMPT).guess([5, 6, 7], 8) == [200, 201]


def test_nothing_is_guessed_where_nothing_is_repeated() -> None:
    drafts = PromptLookup(PROMPT)
    assert drafts.guess([20, 22, 21], 3) == []
    assert drafts.guess([20, 21], 3) == []
    assert drafts.guess([7, 200, 201], 3) == []
    assert PromptLookup([1, 2]).guess([1, 2, 3], 4) == []


def test_right_guesses_grow_and_wrong_ones_shrink() -> None:
    drafts = PromptLookup(PROMPT)
    lengths = []
    for right in (4, 8, 16, 0, 0, 0, 0, 0):
        guess = drafts.guess([20, 21, 22], 100)
        lengths.append(len(guess))
        drafts.learn(len(guess), right)
    assert lengths == [4, 8, 16, 16, 8, 4, 2, 1]
