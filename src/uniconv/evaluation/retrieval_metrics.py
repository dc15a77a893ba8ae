"""Retrieval metrics by query, as ir-measures (trec_eval) computes them."""

from __future__ import annotations

from collections.abc import Mapping

import ir_measures

MEASURES = ("ndcg@3", "mrr", "map", "recall@5", "recall@10", "recall@20", "recall@100")


def retrieval_metrics(
    qrels: Mapping[str, Mapping[str, int]],
    run: Mapping[str, Mapping[str, float]],
    relevant: int = 1,
) -> dict[str, dict[str, float]]:
    """Query id to measure to value, for every query that has a relevant passage.

    A query that the run lacks counts as 0 in everything. A grade of at least ``relevant`` is
    relevant (trec_eval's ``-l``); NDCG uses all grades as gains (Järvelin and Kekäläinen 2002,
    without the exponent). Equal scores are ranked by passage id, last first, as trec_eval does.
    """
    judged = {
        query: dict(grades)
        for query, grades in qrels.items()
        if any(grade >= relevant for grade in grades.values())
    }
    values = {query: dict.fromkeys(MEASURES, 0.0) for query in judged}
    measures = [
        ir_measures.nDCG @ 3,
        ir_measures.RR(rel=relevant),
        ir_measures.AP(rel=relevant),
        *(ir_measures.R(rel=relevant) @ cutoff for cutoff in (5, 10, 20, 100)),
    ]
    names = dict(zip(measures, MEASURES, strict=True))
    retrieved = {query: dict(scores) for query, scores in run.items() if query in judged and scores}
    if retrieved:
        for metric in ir_measures.iter_calc(measures, judged, retrieved):
            values[metric.query_id][names[metric.measure]] = float(metric.value)
    return values
