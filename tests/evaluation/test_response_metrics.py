"""Response metrics against values worked out by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uniconv.evaluation.response_metrics import (
    CANNOT_ANSWER,
    corpus_bleu,
    exact_match,
    leave_one_out,
    normalise,
    quac_metrics,
    response_metrics,
    rouge_l,
    sentence_bleu,
    token_f1,
)


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        ("The  Eiffel-Tower, in Paris!", "eiffeltower in paris"),
        ("An apple a day", "apple day"),
        ("theatre", "theatre"),
        ("a. the, AN", ""),
        ("«Ça» va", "«ça» va"),
        ("", ""),
    ],
)
def test_normalisation(text: str, normalised: str) -> None:
    assert normalise(text) == normalised


@pytest.mark.parametrize(
    ("prediction", "reference", "f1"),
    [
        ("the cat sat", "a cat sat down", 2 * 2 / (2 + 3)),
        ("cat cat", "cat", 2 * 1 / (2 + 1)),
        ("cat", "dog", 0),
        ("", "", 1),
        ("the", "", 1),
        ("", "cat", 0),
        ("cat", "a", 0),
        ("In 1902.", "in 1902", 1),
    ],
)
def test_token_f1(prediction: str, reference: str, f1: float) -> None:
    assert token_f1(prediction, reference) == pytest.approx(f1)
    assert token_f1(reference, prediction) == pytest.approx(f1)


def test_exact_match() -> None:
    assert exact_match("The Cat!", "cat") == 1
    assert exact_match("cat sat", "sat cat") == 0
    assert exact_match("", "the") == 1


def test_rouge_l() -> None:
    # "the cat down" is the longest common subsequence: precision 3/4, recall 3/5.
    expected = 2 * (3 / 4) * (3 / 5) / (3 / 4 + 3 / 5)
    assert rouge_l("the cat lay down", "the black cat sat down") == pytest.approx(expected)
    assert rouge_l("", "cat") == 0


def test_each_metric_takes_its_best_reference() -> None:
    values = response_metrics("Ada Quay", ["it was Ada Quay", "Ada", "the Ada Quay"])
    assert values == {
        "f1": 1,
        "em": 1,
        "rouge_l": pytest.approx(0.8),
        "bleu": pytest.approx(
            sentence_bleu("Ada Quay", ["Ada", "the Ada Quay", "it was Ada Quay"])
        ),
    }
    with pytest.raises(ValueError, match="without a reference"):
        response_metrics("Ada", [])


# SQuAD's definition, worked out by hand: lower case, then ASCII punctuation away (nothing in its
# place), then whole-word English articles away (a blank in their place), then split at any blanks.
@pytest.mark.parametrize(
    ("prediction", "reference", "f1", "em"),
    [
        ("", "", 1, 1),
        ("a an the", "", 1, 1),
        ("!?.", "the", 1, 1),
        ("the", "theatre", 0, 0),
        ("the-cat", "thecat", 1, 1),  # a hyphen goes before the article is looked for
        ("the cat's", "cats", 1, 1),
        ("U.S.A.", "usa", 1, 1),
        ("U. S. A.", "u s", 1, 1),  # the last a is an article
        ("$1,000", "1000", 1, 1),
        ("É", "é", 1, 1),
        ("é", "e\u0301", 0, 0),  # no unicode normalisation
        ("“cat”", "cat", 0, 0),  # typographic quotes are not punctuation
        ("cat\u00a0sat", "cat sat", 1, 1),  # but all blanks are blanks
        ("cat\u3000sat\tthe\ndown", "cat sat down", 1, 1),
        ("東京 タワー", "東京", 2 / 3, 0),
        ("1 1 1", "1 1", 4 / 5, 0),
        ("İ", "i\u0307", 1, 1),
    ],
)
def test_edge_cases_of_squad(prediction: str, reference: str, f1: float, em: float) -> None:
    assert token_f1(prediction, reference) == pytest.approx(f1)
    assert exact_match(prediction, reference) == em


@given(st.text(), st.text())
def test_f1_is_symmetric_and_bounded(one: str, other: str) -> None:
    assert token_f1(one, other) == token_f1(other, one)
    assert exact_match(one, other) <= token_f1(one, other) <= 1
    assert token_f1(one, one) == exact_match(one, one) == 1


def test_bleu_of_a_sentence() -> None:
    # 3 of 4 words, 2 of 3 pairs, 1 of 2 triples, no quadruple (smoothed to 1/2), no brevity.
    expected = (3 / 4 * 2 / 3 * 1 / 2 * 1 / 2) ** (1 / 4)
    assert sentence_bleu("the cat sat up", ["the cat sat down"]) == pytest.approx(expected)
    assert sentence_bleu("", ["cat"]) == 0
    assert sentence_bleu("cat", ["dog", "cat"]) == pytest.approx(1)


def test_bleu_of_a_corpus_is_sacrebleus() -> None:
    responses = ["the cat sat on the mat", "hello there my friend"]
    bleu = corpus_bleu(responses, [["the cat sat on the mat", "a cat"], ["hello there friend"]])
    # 9 of 10 words, 6 of 8 pairs, 4 of 6 triples, 3 of 4 quadruples; 10 words against 9.
    expected = 100 * (9 / 10 * 6 / 8 * 4 / 6 * 3 / 4) ** (1 / 4)
    assert bleu["score"] == pytest.approx(expected)
    assert str(bleu["signature"]).startswith("nrefs:var|case:mixed|eff:no|tok:13a|smooth:exp")


def test_leave_one_out_is_the_mean_over_the_left_out() -> None:
    # Without "red": blue and green give 0; without either of the others: 1.
    references = ["red", "blue", "green"]
    assert leave_one_out(exact_match, "red", references) == pytest.approx(2 / 3)
    assert leave_one_out(exact_match, "red", ["red", "red", "blue"]) == 1
    assert leave_one_out(exact_match, "red", ["red"]) == 1
    values = response_metrics("red", references, "coqa")
    assert values["em"] == values["f1"] == pytest.approx(2 / 3)


def test_quac_has_people_to_compare_with() -> None:
    # People: "red car" and "red van" share one of two words, "red car" twice shares both.
    references = ["red car", "red car", "red van"]
    values = quac_metrics("red car", references)
    assert values == {"f1": 1, "human_f1": pytest.approx((1 + 1 + 0.5) / 3), "heq": 1}
    assert quac_metrics("van", references)["heq"] == 0
    assert quac_metrics("cat", ["red", "blue"]) == {"human_f1": 0}  # people disagree
    assert quac_metrics("red", ["red"]) == {"f1": 1, "human_f1": 1, "heq": 1}


def test_quac_without_an_answer() -> None:
    assert quac_metrics(CANNOT_ANSWER, [CANNOT_ANSWER, "red"])["f1"] == 1
    assert quac_metrics("red", [CANNOT_ANSWER, "red"])["f1"] == 0  # half of them suffice
    assert quac_metrics("red", [CANNOT_ANSWER, "red", "red"])["f1"] == 1
    assert quac_metrics(CANNOT_ANSWER, ["red", "red"])["f1"] == 0
    assert quac_metrics("", ["the"])["f1"] == 0  # SQuAD 2.0 would say 1
    assert "em" not in response_metrics("red", ["red"], "quac")
