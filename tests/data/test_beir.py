"""BEIR corpora, queries and judgements."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uniconv.data.beir import (
    read_corpus,
    read_qrels,
    read_queries,
    write_corpus,
    write_qrels,
    write_queries,
)
from uniconv.errors import DataError, DataErrors, UniConvError
from uniconv.types import Passage

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
IDS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp", "Zs"]), min_size=1)
METADATA = st.dictionaries(
    TEXT.filter(lambda key: key not in ("_id", "title", "text", "metadata")), TEXT, max_size=3
)
PASSAGES = st.lists(
    st.builds(Passage, IDS, TEXT, TEXT, METADATA), max_size=5, unique_by=lambda one: one.id
)
QRELS = st.dictionaries(
    IDS, st.dictionaries(IDS, st.integers(-2, 4), min_size=1, max_size=3), max_size=4
)


@given(PASSAGES)
def test_corpora_survive_writing_and_reading(
    tmp_path_factory: pytest.TempPathFactory, passages: list[Passage]
) -> None:
    path = tmp_path_factory.mktemp("corpus") / "corpus.jsonl.gz"
    write_corpus(path, passages)
    assert list(read_corpus(path)) == passages


def test_metadata_is_strings_whatever_it_was(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text(
        '{"_id": "1", "text": "t", "page": 3, "tags": ["a"], "none": null, "metadata": {"x": "y"}}'
    )
    assert list(read_corpus(path)) == [
        Passage("1", "t", "", {"page": "3", "tags": '["a"]', "x": "y"})
    ]


def test_a_corpus_lists_all_its_errors(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text(
        '{"_id": "1", "text": "t"}\n{"_id": 1, "text": "t"}\n{"text": "t"}\n{"_id": "2"}\n'
        '{"_id": "3", "text": "t", "title": 1}\n{"_id": "4", "text": ""}\n'
    )
    read = []
    with pytest.raises(DataErrors) as caught:
        for passage in read_corpus(path, on_error="list"):
            read.append(passage.id)
    assert read == ["1", "4"]
    found = [(error.line, error.field) for error in caught.value.errors]
    assert found == [(2, "_id"), (3, "_id"), (4, "text"), (5, "title")]


@given(st.dictionaries(IDS, TEXT.filter(str.strip), max_size=4))
def test_queries_survive_writing_and_reading(
    tmp_path_factory: pytest.TempPathFactory, queries: dict[str, str]
) -> None:
    path = tmp_path_factory.mktemp("queries") / "queries.jsonl"
    write_queries(path, queries)
    assert read_queries(path) == queries


@given(QRELS)
def test_qrels_survive_writing_and_reading(
    tmp_path_factory: pytest.TempPathFactory, qrels: dict[str, dict[str, int]]
) -> None:
    path = tmp_path_factory.mktemp("qrels") / "qrels.tsv"
    write_qrels(path, qrels)
    assert read_qrels(path) == qrels


def test_qrels_of_beir_and_trec(tmp_path: Path) -> None:
    path = tmp_path / "qrels"
    path.write_text("query-id\tcorpus-id\tscore\nq1\tTypes of cheese:19\t2\n")
    assert read_qrels(path) == {"q1": {"Types of cheese:19": 2}}
    path.write_text("q1 0 d1 1\nq1\t0\td2\t-1\n")
    assert read_qrels(path) == {"q1": {"d1": 1, "d2": -1}}
    path.write_text("q1 0 d1 1\nq1 0 d1 1\n")
    assert read_qrels(path) == {"q1": {"d1": 1}}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("q1\td1", "has 2 columns"),
        ("q1\td1\thigh", "field 'score': is 'high'; expected a whole number"),
        ("q1\td1\t1.5", "field 'score'"),
        ("q1\t\t1", "field 'corpus-id'"),
        ("q0\td0\t0", "judged twice: 1 and 0"),
        ("query-id\tcorpus-id\tscore", "field 'score'"),
    ],
)
def test_malformed_qrels_are_named(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "qrels.tsv"
    path.write_text(f"q0\td0\t1\n{line}\n")
    with pytest.raises(DataError) as caught:
        read_qrels(path)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert says in str(caught.value)


def test_ids_that_break_columns_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(UniConvError, match="can't be written"):
        write_qrels(tmp_path / "qrels.tsv", {"a\tb": {"d": 1}})
    assert not list(tmp_path.iterdir())


@given(st.binary(max_size=80))
def test_any_bytes_are_qrels_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("any") / "qrels.tsv"
    path.write_bytes(content)
    try:
        qrels = read_qrels(path)
    except DataError:
        return
    write_qrels(path, qrels)
    assert read_qrels(path) == qrels
