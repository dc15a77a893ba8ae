"""Retrieval metrics against values worked out by hand, and against trec_eval on the same files."""

from __future__ import annotations

import math
import os
import zipfile
from pathlib import Path

import pytest
import pytrec_eval
from hypothesis import given
from hypothesis import strategies as st

from uniconv.data.beir import Qrels, read_corpus, read_qrels, read_queries
from uniconv.data.runs import Run, read_run, write_run
from uniconv.evaluation.retrieval_metrics import MEASURES, retrieval_metrics
from uniconv.retrieval.bm25 import BM25, passage_text

TREC_EVAL = {
    "ndcg@3": "ndcg_cut_3",
    "mrr": "recip_rank",
    "map": "map",
    "recall@5": "recall_5",
    "recall@10": "recall_10",
    "recall@20": "recall_20",
    "recall@100": "recall_100",
}
DATA = os.environ.get("UNICONV_DATA")
IDS = st.sampled_from([f"d{number}" for number in range(12)])


def trec_eval(qrels: Qrels, run: Run, relevant: int = 1) -> dict[str, dict[str, float]]:
    """trec_eval's own values under our names; it says nothing of queries that the run lacks."""
    asked = {"ndcg_cut.3", "recip_rank", "map", "recall.5,10,20,100"}
    found = pytrec_eval.RelevanceEvaluator(qrels, asked, relevance_level=relevant).evaluate(run)
    return {
        query: {ours: row[theirs] for ours, theirs in TREC_EVAL.items()}
        for query, row in found.items()
    }


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


@given(
    qrels=st.dictionaries(IDS, st.integers(0, 3), min_size=1),
    # Whole scores: ties are many. Some passages are judged, others are not.
    run=st.dictionaries(IDS, st.integers(0, 4).map(float), min_size=1),
    relevant=st.integers(1, 3),
)
def test_ties_and_unjudged_passages_count_as_in_trec_eval(
    qrels: dict[str, int], run: dict[str, float], relevant: int
) -> None:
    ours = retrieval_metrics({"q": qrels}, {"q": run}, relevant)
    if max(qrels.values()) < relevant:
        assert ours == {}
    else:
        assert ours == trec_eval({"q": qrels}, {"q": run}, relevant)


def test_the_same_files_give_the_same_figures_as_trec_eval(tmp_path: Path) -> None:
    (tmp_path / "qrels.txt").write_text(
        "q1 0 a 2\nq1 0 b 0\nq1 0 c 1\nq2 0 a 1\nq3 0 d 1\nq4 0 a 0\n"
    )
    (tmp_path / "run.txt").write_text(
        "q1 Q0 x 1 3.5 tag\nq1 Q0 c 9 2.0 tag\nq1 Q0 a 2 2.0 tag\nq1 Q0 b 4 1 tag\n"
        "q2 Q0 c 1 1e-3 tag\nq2 Q0 a 2 -4 tag\nq4 Q0 a 1 1 tag\nq5 Q0 a 1 1 tag\n"
    )
    with (tmp_path / "qrels.txt").open() as qrels, (tmp_path / "run.txt").open() as run:
        theirs = trec_eval(pytrec_eval.parse_qrel(qrels), pytrec_eval.parse_run(run))
    ours = retrieval_metrics(read_qrels(tmp_path / "qrels.txt"), read_run(tmp_path / "run.txt"))
    assert {query: ours[query] for query in ("q1", "q2")} == {q: theirs[q] for q in ("q1", "q2")}
    # q3 is missing in the run, q4 has nothing relevant, q5 was not judged.
    assert ours.keys() == {"q1", "q2", "q3"}
    assert set(ours["q3"].values()) == {0.0}


@pytest.mark.skipif(not DATA, reason="UNICONV_DATA names no folder of real data")
def test_bm25_on_nfcorpus_has_the_figures_of_trec_eval(tmp_path: Path) -> None:
    archive = Path(DATA or "") / "beir_small" / "nfcorpus.zip"
    if not archive.exists():
        pytest.skip("UNICONV_DATA has no beir_small/nfcorpus.zip")
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(tmp_path)
    folder = tmp_path / "nfcorpus"
    qrels = read_qrels(folder / "qrels" / "test.tsv")
    assert {grade for row in qrels.values() for grade in row.values()} == {1, 2}
    queries = {
        id: text for id, text in read_queries(folder / "queries.jsonl").items() if id in qrels
    }
    passages = list(read_corpus(folder / "corpus.jsonl"))
    bm25 = BM25.build(map(passage_text, passages), tmp_path / "bm25")
    found = bm25.search(list(queries.values()), 100)
    run = {
        query: {passages[row].id: float(score) for score, row in zip(scores, rows, strict=True)}
        for query, (scores, rows) in zip(queries, found, strict=True)
    }
    write_run(tmp_path / "run.trec", run)
    with (tmp_path / "run.trec").open() as file:
        theirs = trec_eval(qrels, pytrec_eval.parse_run(file))
    ours = retrieval_metrics(qrels, read_run(tmp_path / "run.trec"))
    assert len(ours) == len(qrels) == 323
    lacking = {query for query in qrels if not run[query]}
    assert ours == theirs | {query: dict.fromkeys(MEASURES, 0.0) for query in lacking}
    mean = sum(row["ndcg@3"] for row in ours.values()) / len(ours)
    assert 0.35 < mean < 0.45  # BM25 on this set; 0.32 is published for ndcg@10
