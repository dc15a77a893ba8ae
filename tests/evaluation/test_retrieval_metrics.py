"""Retrieval metrics against values worked out by hand."""

from __future__ import annotations

import math

import pytest

from uniconv.evaluation.retrieval_metrics import MEASURES, retrieval_metrics


def test_a_ranking_by_hand() -> None:
    qrels = {"q": {"a": 1, "b": 1, "c": 0, "never": 1}}
    run = {"q": {"x": 4.0, "a": 3.0, "c": 2.0, "y": 1.5, "z": 1.2, "b": 1.0}}
    values = retrieval_metrics(qrels, run)["q"]
    ideal = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert values == pytest.approx(
        {
            "ndcg@3": (1 / math.log2(3)) / ideal,
            "mrr": 1 / 2,
            "map": (1 / 2 + 2 / 6) / 3,
            "recall@5": 1 / 3,
            "recall@10": 2 / 3,
            "recall@20": 2 / 3,
            "recall@100": 2 / 3,
        }
    )


def test_grades_are_gains() -> None:
    values = retrieval_metrics({"q": {"a": 1, "b": 3}}, {"q": {"a": 2.0, "b": 1.0}})["q"]
    assert values["ndcg@3"] == pytest.approx((1 + 3 / math.log2(3)) / (3 + 1 / math.log2(3)))
    assert values["mrr"] == values["map"] == 1


def test_queries_without_results_count_and_queries_without_relevant_passages_do_not() -> None:
    qrels = {"found": {"a": 1}, "absent": {"a": 1}, "empty": {"a": 1}, "hopeless": {"a": 0}}
    run = {"found": {"a": 1.0}, "empty": {}, "hopeless": {"a": 1.0}, "unjudged": {"a": 1.0}}
    values = retrieval_metrics(qrels, run)
    assert set(values) == {"found", "absent", "empty"}
    assert values["found"] == dict.fromkeys(MEASURES, 1.0)
    assert values["absent"] == values["empty"] == dict.fromkeys(MEASURES, 0.0)


def test_a_run_without_any_query_is_all_zeros() -> None:
    assert retrieval_metrics({"q": {"a": 1}}, {}) == {"q": dict.fromkeys(MEASURES, 0.0)}


def test_ties_are_ranked_by_id_last_first() -> None:
    qrels = {"q": {"a": 1}}
    assert retrieval_metrics(qrels, {"q": {"a": 1.0, "b": 1.0}})["q"]["mrr"] == 1 / 2
    assert retrieval_metrics(qrels, {"q": {"a": 1.0, "A": 1.0}})["q"]["mrr"] == 1
