from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from filelock import FileLock
from retrieval_fixtures import FakeEncoder, passages, write_docx, write_pdf

from uniconv.data.beir import write_corpus
from uniconv.errors import ConfigError, DataError, IndexFolderError, UniConvError
from uniconv.retrieval import publishing
from uniconv.retrieval.building import build_index, update_index
from uniconv.retrieval.chunking import Chunking
from uniconv.retrieval.documents import SourceFile
from uniconv.retrieval.index import VERSIONS
from uniconv.retrieval.interface import Index
from uniconv.retrieval.publishing import LOCK


def build(sources, out, encoder=None, **options):
    sources = sources if isinstance(sources, list) else [sources]
    return build_index(sources, out, encoder or FakeEncoder(), quiet=True, **options)


def files_of(report):
    return report.added, report.changed, report.removed, report.unchanged


def check(folder, expected_ids=None):
    """The vectors, the words and the passages of an index belong together."""
    index = Index.open(folder)
    corpus = list(index.store)
    np.testing.assert_array_equal(index.vectors, FakeEncoder().encode_passages(corpus))
    for passage in corpus[:3]:
        assert passage in [one.passage for one in index.search_text([passage.text], len(index))[0]]
        assert index.passage(passage.id) == passage
    if expected_ids is not None:
        assert [passage.id for passage in corpus] == expected_ids
    return index


@pytest.fixture
def docs(tmp_path):
    folder = tmp_path / "docs"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.md").write_text("# Alpha\nThe first.\n## More\nThe second.")
    (folder / "b.txt").write_text("A plain note.")
    (folder / "c.html").write_text("<title>Page</title><p>Hyper text.</p>")
    write_pdf(folder / "d.pdf", ["A printed page."], "Paper")
    write_docx(folder / "sub" / "e.docx", [("Heading1", "Letter"), ("Normal", "Dear reader.")])
    return folder


ALL = ["a.md#1", "a.md#2", "b.txt#1", "c.html#1", "d.pdf#1", "sub/e.docx#1"]


def test_a_folder_of_every_format(docs, tmp_path):
    report = build(docs, tmp_path / "index")
    assert files_of(report) == (5, 0, 0, 0)
    assert (report.passages, report.encoded, report.problems) == (6, 6, {})
    index = check(tmp_path / "index", ALL)
    assert index.passage("d.pdf#1").metadata == {"file": "d.pdf", "page": "1"}
    assert index.search_text(["reader"], 1)[0][0].passage.title == "Letter"


def test_an_update_encodes_only_what_changed(docs, tmp_path):
    out = tmp_path / "index"
    build(docs, out)
    (docs / "a.md").write_text("# Alpha\nThe first.\n## More\nThe other second.\n## New\nThird.")
    (docs / "b.txt").unlink()
    (docs / "new.md").write_text("Fresh.")
    encoder = FakeEncoder()
    report = build(docs, out, encoder)
    assert files_of(report) == (1, 1, 1, 3)
    assert encoder.encoded == ["a.md#2", "a.md#3", "new.md#1"]
    assert report.encoded == 3
    check(out, ["a.md#1", "a.md#2", "a.md#3", "c.html#1", "d.pdf#1", "new.md#1", "sub/e.docx#1"])


def test_nothing_changed(docs, tmp_path):
    out = tmp_path / "index"
    build(docs, out)
    version = Index.open(out).version
    encoder = FakeEncoder()
    report = build(docs, out, encoder)
    assert files_of(report) == (0, 0, 0, 5)
    assert (report.passages, report.encoded, encoder.calls) == (6, 0, [])
    assert Index.open(out).version == version


def test_unchanged_files_are_not_read_again(docs, tmp_path, monkeypatch):
    build(docs, tmp_path / "index")
    (docs / "b.txt").write_text("Another note.")
    read = []
    from uniconv.retrieval import reading

    original = reading.read_passages
    monkeypatch.setattr(
        reading, "read_passages", lambda file, how: read.append(file.name) or original(file, how)
    )
    build(docs, tmp_path / "index")
    assert read == ["b.txt"]


def test_another_model_encodes_everything_again(docs, tmp_path):
    out = tmp_path / "index"
    build(docs, out)
    encoder = FakeEncoder(fingerprint="fake-2", dimension=8)
    report = build(docs, out, encoder)
    assert encoder.encoded == ALL
    assert files_of(report) == (0, 0, 0, 5)
    index = Index.open(out)
    index.check_model(encoder)
    np.testing.assert_array_equal(index.vectors, encoder.encode_passages(list(index.store)))


def test_a_model_that_moved_is_remembered_without_encoding(docs, tmp_path):
    build(docs, tmp_path / "index")
    encoder = FakeEncoder(name="elsewhere")
    build(docs, tmp_path / "index", encoder)
    assert encoder.calls == []
    assert check(tmp_path / "index", ALL).model_name == "elsewhere"


def test_other_chunks_are_cut_again(docs, tmp_path):
    out = tmp_path / "index"
    (docs / "b.txt").write_text("One sentence is here. Another sentence is here.")
    build(docs, out)
    report = build(docs, out, chunking=Chunking(30, 0))
    assert report.encoded == 2
    assert len(check(out)) == 7


def test_another_language_changes_the_words_only(docs, tmp_path):
    out = tmp_path / "index"
    encoder = FakeEncoder()
    build(docs, out)
    assert Index.open(out).search_text(["the"], 5) == [[]]
    build(docs, out, encoder, language=None)
    assert len(Index.open(out).search_text(["the"], 5)[0]) == 2
    assert encoder.calls == []
    with pytest.raises(ConfigError, match="klingon"):
        build(docs, out, language="klingon")


def test_equal_passages_are_encoded_once(tmp_path):
    corpus = passages(5)
    corpus += [replace(corpus[2], id="copy")]
    write_corpus(tmp_path / "corpus.jsonl", corpus)
    encoder = FakeEncoder()
    build(tmp_path / "corpus.jsonl", tmp_path / "index", encoder)
    assert encoder.encoded == ["p0", "p1", "p2", "p3", "p4"]
    check(tmp_path / "index", ["p0", "p1", "p2", "p3", "p4", "copy"])


def test_a_changed_line_of_a_corpus(tmp_path):
    corpus = passages(30)
    write_corpus(tmp_path / "corpus.jsonl", corpus)
    build(tmp_path, tmp_path / "index")
    corpus[12] = replace(corpus[12], text="Rewritten.")
    corpus[20] = replace(corpus[20], metadata={"n": "only this"})
    write_corpus(tmp_path / "corpus.jsonl", corpus)
    encoder = FakeEncoder()
    build(tmp_path, tmp_path / "index", encoder)
    assert encoder.encoded == ["p12"]
    assert list(check(tmp_path / "index").store) == corpus


def test_broken_documents_are_reported_and_do_not_stop_the_rest(docs, tmp_path):
    out = tmp_path / "index"
    (docs / "d.pdf").write_bytes(b"%PDF-1.4 broken")
    (docs / "latin.txt").write_bytes(b"caf\xe9")
    for unchanged in (0, 6):
        report = build(docs, out)
        assert report.unchanged == unchanged
        assert {path.rsplit("/", 1)[1] for path in report.problems} == {"d.pdf", "latin.txt"}
        assert "2 of the files could not be read" in str(report)
        assert "latin.txt: it is not UTF-8 text" in str(report)
        check(out, [id for id in ALL if id != "d.pdf#1"])
    (docs / "latin.txt").write_text("mended")
    assert len(build(docs, out).problems) == 1
    assert check(out).passage("latin.txt#1").text == "mended"


def test_no_passage_at_all_is_an_error(tmp_path):
    (tmp_path / "a.md").touch()
    with pytest.raises(UniConvError, match=r"no passage to index:\n.*a\.md: it holds no text"):
        build(tmp_path / "a.md", tmp_path / "index")
    (tmp_path / "corpus.jsonl").touch()
    with pytest.raises(UniConvError, match="no passage to index"):
        build(tmp_path / "corpus.jsonl", tmp_path / "index")


def test_an_id_of_two_files_names_both(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "readme.md").write_text(f"This is {name}.")
    with pytest.raises(UniConvError, match=r"'readme\.md#1' .* in .*one/readme\.md and in .*two/"):
        build([tmp_path / "one", tmp_path / "two"], tmp_path / "index")
    build(tmp_path / "one", tmp_path / "index")
    check(tmp_path / "index", ["readme.md#1"])


def test_an_id_twice_in_a_corpus_names_the_line(tmp_path):
    write_corpus(tmp_path / "corpus.jsonl", [*passages(3), *passages(1)])
    with pytest.raises(DataError, match=r"corpus\.jsonl:4.*'p0' was already used on line 1"):
        build(tmp_path, tmp_path / "index")


def test_a_failed_update_leaves_the_old_index(docs, tmp_path):
    out = tmp_path / "index"
    build(docs, out)
    corpus = tmp_path / "bad.jsonl"
    corpus.write_text("{")
    with pytest.raises(DataError):
        build([docs, corpus], out)
    check(out, ALL)


def test_a_folder_of_other_things_is_not_written_to(docs):
    before = sorted(docs.rglob("*"))
    with pytest.raises(IndexFolderError, match="holds other files and no index"):
        build(docs, docs)
    assert sorted(docs.rglob("*")) == before


def test_an_out_that_is_a_file(docs, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(IndexFolderError, match="could not be written"):
        build(docs, tmp_path / "file")


def test_there_is_one_writer(docs, tmp_path):
    out = tmp_path / "index"
    build(docs, out)
    with FileLock(out / LOCK), pytest.raises(IndexFolderError, match="another process is updating"):
        build(docs, out)
    build(docs, out)


def test_a_file_system_without_locks_is_said(docs, tmp_path, monkeypatch):
    def missing(path, timeout):
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr(publishing, "FileLock", missing)
    with pytest.raises(IndexFolderError, match="this file system has no locks"):
        build(docs, tmp_path / "index")


def test_only_the_current_version_stays_and_an_open_one_goes_on(docs, tmp_path):
    out = tmp_path / "index"
    build(docs, out, exact_below=2)
    old = Index.open(out)
    (docs / "a.md").write_text("Everything is new.")
    (out / VERSIONS / "orphan").mkdir()
    build(docs, out, exact_below=2)
    assert [path.name for path in (out / VERSIONS).iterdir()] == [Index.open(out).version]
    assert sorted(path.name for path in out.iterdir() if path.name != LOCK) == [
        "index.json",
        "versions",
    ]
    assert old.passage("a.md#2").text == "The second."
    assert old.search(old.vectors[1:2], 1)[0][0].passage.id == "a.md#2"
    assert old.search_text(["second"], 1)[0][0].passage.id == "a.md#2"


KILLED = """
import sys, time
sys.path[:0] = sys.argv[3:]
from retrieval_fixtures import FakeEncoder
from uniconv.retrieval.building import build_index

class Slow(FakeEncoder):
    def encode_passages(self, passages):
        if len(self.calls) == 3:
            print("in the fourth shard", flush=True)
            time.sleep(60)
        return super().encode_passages(passages)

build_index([sys.argv[1]], sys.argv[2], Slow(), rows_per_shard=4, quiet=True)
"""


def test_a_killed_update_leaves_the_old_index_and_the_next_goes_on(tmp_path):
    source, out = tmp_path / "corpus.jsonl", tmp_path / "index"
    write_corpus(source, passages(5, "old"))
    build(source, out)
    write_corpus(source, passages(5, "old") + passages(30))
    command = [sys.executable, "-c", KILLED, str(source), str(out), *filter(None, sys.path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "in the fourth shard\n"
    with pytest.raises(IndexFolderError, match="another process is updating"):
        build(source, out)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert len(check(out)) == 5
    encoder = FakeEncoder()
    report = build(source, out, encoder, rows_per_shard=4)
    assert encoder.encoded == [f"p{n}" for n in range(12, 30)]
    assert report.passages == 35
    check(out, [one.id for one in passages(5, "old") + passages(30)])


def _update(source, out, stop):
    count = 0
    while not stop.is_set():
        count += 1
        write_corpus(source, passages(10 + count % 7, f"v{count}-"))
        build(source, out, exact_below=12)


def test_a_reader_never_sees_half_an_index(tmp_path):
    source, out = tmp_path / "corpus.jsonl", tmp_path / "index"
    write_corpus(source, passages(10))
    build(source, out)
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    writer = context.Process(target=_update, args=(source, out, stop))
    writer.start()
    versions = set()
    end = time.monotonic() + 120
    try:
        while len(versions) < 8 and time.monotonic() < end:
            versions.add(check(out).version)
    finally:
        stop.set()
        writer.join()
    assert writer.exitcode == 0
    assert len(versions) == 8


def upload(folder, name, text):
    """A document that lies elsewhere, with the name that it shall have."""
    path = folder / "incoming" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return SourceFile(path, name)


def test_documents_are_added_replaced_and_removed_by_name(docs, tmp_path):
    out = tmp_path / "index"
    build(docs, out)
    shutil.rmtree(docs)  # what stays needs no files
    encoder = FakeEncoder()
    update_index(out, encoder, add=[upload(tmp_path, "new.md", "# New\nA new one.")])
    index = check(out, [*ALL, "new.md#1"])
    assert encoder.encoded == ["new.md#1"]
    assert index.manifest.files[str(tmp_path / "incoming" / "new.md")].name == "new.md"

    update_index(out, FakeEncoder(), add=[upload(tmp_path, "b.txt", "Another note.")])
    index = check(out, [*(id for id in ALL if id != "b.txt#1"), "new.md#1", "b.txt#1"])
    assert index.passage("b.txt#1").text == "Another note."

    report = update_index(out, FakeEncoder(), remove=["a.md", "sub/e.docx"])
    check(out, ["c.html#1", "d.pdf#1", "new.md#1", "b.txt#1"])
    assert (files_of(report), report.encoded) == ((0, 0, 2, 4), 0)


def test_a_document_that_cant_be_read_changes_nothing(docs, tmp_path):
    out = tmp_path / "index"
    build(docs, out)
    before = Index.open(out).version
    good, bad = (upload(tmp_path, name, text) for name, text in [("x.md", "X."), ("y.md", " ")])
    with pytest.raises(UniConvError, match=r"y\.md: it holds no text; the index is unchanged"):
        update_index(out, FakeEncoder(), add=[good, bad])
    with pytest.raises(UniConvError, match="can't be left without documents"):
        update_index(out, FakeEncoder(), remove=["a.md", "b.txt", "c.html", "d.pdf", "sub/e.docx"])
    with pytest.raises(IndexFolderError, match="another model"):
        update_index(out, FakeEncoder("fake-2"), add=[good])
    assert Index.open(out).version == before
    check(out, ALL)
