"""A converted folder leads to its passages, wherever they lie."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from uniconv.config import Source, located
from uniconv.data.beir import write_corpus
from uniconv.data.catalogue import CATALOGUE, convert
from uniconv.data.dataset import DataSet
from uniconv.data.entry import entries
from uniconv.errors import UniConvError
from uniconv.types import Conversation, Passage, Turn

PASSAGES = [Passage("p", "text")]


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_set_says_what_it_is_and_how_to_get_it(name: str) -> None:
    entry = CATALOGUE[name]
    assert entry.task
    assert entry.licence
    assert entry.home.startswith("https://")
    assert entry.downloads or entry.by_hand
    for one in entry.downloads:
        assert PurePosixPath(one.path).parts == PurePosixPath(one.path.strip("/")).parts
        assert ".." not in one.path
        assert one.url is None or one.url.startswith("https://")
        assert one.sha256 is None or re.fullmatch("[0-9a-f]{64}", one.sha256)
        assert one.url or entry.by_hand
    assert len({one.path for one in entry.downloads}) == len(entry.downloads)


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, entry in CATALOGUE.items()
        if entry.downloads and not any(one.unpack for one in entry.downloads)
    ],
)
def test_the_reader_finds_the_files_where_they_are_saved(name: str, tmp_path: Path) -> None:
    wiki = tmp_path / "wiki.jsonl"
    write_corpus(wiki, PASSAGES)
    for one in CATALOGUE[name].downloads:
        path = tmp_path / "got" / one.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    with pytest.raises(UniConvError) as refused:  # they are empty
        convert(name, tmp_path / "got", tmp_path / "out", wiki)
    assert "has no file" not in str(refused.value)


def test_the_page_of_data_sets_tells_what_the_catalogue_does() -> None:
    page = (Path(__file__).parents[2] / "docs/data-sets.md").read_text("utf-8")
    rows = {line.split("`")[1]: line for line in page.splitlines() if line.startswith("| `")}
    assert rows.keys() == CATALOGUE.keys()
    for name, entry in CATALOGUE.items():
        assert entry.licence in rows[name]
        assert ("evaluation only" in rows[name]) == entry.evaluation_only


def test_facts_without_a_reader_are_refused() -> None:
    with pytest.raises(ValueError, match=r"differ in: .*topiocqa"):
        entries({})


@pytest.mark.parametrize("own", [True, False])
def test_a_folder_names_the_corpus_that_it_shares(
    own: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(source: Path, corpus: Path | None) -> DataSet:
        talks = [Conversation("c", (Turn("?", positives=("p",)),))]
        return DataSet({"train": talks}, [], PASSAGES if own else None)

    entry = next(iter(CATALOGUE.values()))
    monkeypatch.setitem(CATALOGUE, "tiny", replace(entry, read=read))
    shared = tmp_path / "wiki" / "corpus.jsonl"
    write_corpus(shared, PASSAGES)
    out = tmp_path / "sets" / "tiny"
    about = convert("tiny", tmp_path, out, shared)
    assert about["corpus"] == (None if own else "../../wiki/corpus.jsonl")
    (found,) = located(Source(set=out)).corpora
    assert found.resolve() == (out / "corpus.jsonl" if own else shared)
