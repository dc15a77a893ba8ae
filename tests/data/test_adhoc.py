"""BEIR sets and MS MARCO, as conversations of one turn."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from native import put_jsonl, put_text, read_twisted

from uniconv.data.beir import read_corpus, read_qrels
from uniconv.data.catalogue import convert
from uniconv.data.conversations import read_conversations
from uniconv.errors import DataError
from uniconv.types import Conversation, Passage, Turn

HEADER = "query-id\tcorpus-id\tscore"


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    folder = tmp_path / "sets/nfcorpus"
    put_jsonl(folder / "corpus.jsonl", {"_id": "d1", "title": "Mill", "text": "Wind."})
    queries = ({"_id": f"q{number}", "text": f"why {number}?", "metadata": {}} for number in (1, 2))
    put_jsonl(folder / "queries.jsonl", *queries)
    put_text(folder / "qrels/test.tsv", HEADER, "q1\td1\t2", "q1\td0\t0")
    return tmp_path / "sets"


def test_grades_are_kept_and_queries_without_any_left_out(beir: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    about = convert("nfcorpus", beir, out)
    assert list(read_conversations(out / "test.jsonl")) == [
        Conversation("q1", (Turn("why 1?", positives=("d1",)),))
    ]
    assert read_qrels(out / "test.qrels.tsv") == {"q1_1": {"d1": 2, "d0": 0}}
    assert list(read_corpus(out / "corpus.jsonl")) == [Passage("d1", "Wind.", "Mill")]
    assert about["counts"]["left out, queries without judgements"] == 1


def test_an_archive_is_read_as_its_folder_is(beir: Path, tmp_path: Path) -> None:
    convert("beir", beir, tmp_path / "folder")
    archive = tmp_path / "packed/nfcorpus.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as file:
        for path in beir.rglob("*.*"):
            file.write(path, path.relative_to(beir))
        file.writestr("__MACOSX/corpus.jsonl", "?")
    convert("nfcorpus", archive.parent, tmp_path / "named")
    about = convert("beir", archive, tmp_path / "itself")
    for name in ("corpus.jsonl", "test.jsonl", "test.qrels.tsv"):
        texts = {(tmp_path / out / name).read_text() for out in ("folder", "named", "itself")}
        assert len(texts) == 1
    assert set(about["sources"]) == {"nfcorpus.zip"}


def test_faults_of_beir_sets(beir: Path, tmp_path: Path) -> None:
    put_text(beir / "nfcorpus/qrels/test.tsv", HEADER, "q3\td1\t2")
    with pytest.raises(DataError, match=r"test.tsv: query 'q3' is not in queries.jsonl"):
        convert("beir", beir, tmp_path / "out")
    put_jsonl(beir / "other/corpus.jsonl")
    with pytest.raises(DataError, match="holds several sets"):
        convert("beir", beir, tmp_path / "out")


def test_odd_values_are_refused_or_read(beir: Path) -> None:
    tried, refused = read_twisted("beir", beir)
    assert tried > refused > 30


@pytest.fixture
def msmarco(tmp_path: Path) -> Path:
    folder = tmp_path / "msmarco"
    put_text(folder / "collection.tsv", '0\t"Wind" mills', "1\tWater mills")
    put_text(folder / "queries.dev.small.tsv", "7\twhat turns mills", "8\twhy mills")
    put_text(folder / "qrels.dev.small.tsv", "7\t0\t1\t1", "7\t0\t0\t1")
    return folder


def test_msmarco(msmarco: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    about = convert("msmarco", msmarco, out)
    assert list(read_conversations(out / "dev.small.jsonl")) == [
        Conversation("7", (Turn("what turns mills", positives=("1", "0")),))
    ]
    assert read_qrels(out / "dev.small.qrels.tsv") == {"7_1": {"1": 1, "0": 1}}
    assert list(read_corpus(out / "corpus.jsonl")) == [
        Passage("0", '"Wind" mills'),
        Passage("1", "Water mills"),
    ]
    counts = about["counts"]
    assert counts["left out, queries without judgements"] == 1
    assert counts["dev.small"] == {"conversations": 1, "turns": 1, "queries": 1}


@pytest.mark.parametrize(
    ("name", "line", "problem"),
    [
        ("collection.tsv", "2\ta\tb", r"collection.tsv:3: has 3 columns; expected id, text"),
        ("collection.tsv", "\ta", r"collection.tsv:3: field 'id': is empty"),
        ("queries.dev.small.tsv", "7\tagain", r"small.tsv:3: field 'id': '7' was already used"),
        ("qrels.dev.small.tsv", "9\t0\t1\t1", r"query '9' is not in queries.dev.small.tsv"),
    ],
)
def test_faults_of_msmarco(
    name: str, line: str, problem: str, msmarco: Path, tmp_path: Path
) -> None:
    with (msmarco / name).open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(DataError, match=problem):
        convert("msmarco", msmarco, tmp_path / "out")
    assert not (tmp_path / "out/dataset.json").exists()
