"""Retrieval metrics by query, as ir-measures (trec_eval) computes them."""

from __future__ import annotations

from collections.abc import Mapping

import ir_measures

MEASURES = {
    "ndcg@3": ir_measures.nDCG @ 3,
    "mrr": ir_measures.RR,
    "map": ir_measures.AP,
    "recall@5": ir_measures.R @ 5,
    "recall@10": ir_measures.R @ 10,
    "recall@20": ir_measures.R @ 20,
    "recall@100": ir_measures.R @ 100,
}


def retrieval_metrics(
    qrels: Mapping[str, Mapping[str, int]], run: Mapping[str, Mapping[str, float]]
) -> dict[str, dict[str, float]]:
    """Query id to measure to value, for every query that has a relevant passage.

    A query that the run lacks counts as 0 in everything. A grade above 0 is relevant; NDCG uses
    the grades as gains (Järvelin and Kekäläinen 2002, without the exponent). Equal scores are
    ranked by passage id, last first, as trec_eval does.
    """
    judged = {
        query: dict(grades)
        for query, grades in qrels.items()
        if any(grade > 0 for grade in grades.values())
    }
    values = {query: dict.fromkeys(MEASURES, 0.0) for query in judged}
    names = {measure: name for name, measure in MEASURES.items()}
    retrieved = {query: dict(scores) for query, scores in run.items() if query in judged and scores}
    if retrieved:
        for metric in ir_measures.iter_calc(list(names), judged, retrieved):
            values[metric.query_id][names[metric.measure]] = float(metric.value)
    return values
