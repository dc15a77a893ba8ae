from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from retrieval_fixtures import FakeEncoder, contents, passages, prepare_and_share

from tiny import tiny_uniconv
from uniconv.data.beir import write_corpus
from uniconv.errors import ConfigError, IndexFolderError
from uniconv.retrieval import reading
from uniconv.retrieval.building import build_index, update_index
from uniconv.retrieval.chunking import Chunking
from uniconv.retrieval.documents import SourceFile
from uniconv.retrieval.index import FolderIndex
from uniconv.retrieval.planning import BUILDING
from uniconv.retrieval.sharing import encode_share, merge_index, prepare_index
from uniconv.types import Passage

CORPUS = passages(25)


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.jsonl"
    write_corpus(path, CORPUS)
    return path


def prepare(corpus, out, encoder=None, **options):
    encoder = encoder or FakeEncoder()
    return prepare_index([corpus], out, encoder, rows_per_shard=4, quiet=True, **options)


def share(out, process, processes, encoder=None):
    return encode_share(out, encoder or FakeEncoder(), process, processes, quiet=True)


def merge(out, **options):
    return merge_index(out, quiet=True, **options)


def one_process(corpus, out, encoder=None, **options):
    encoder = encoder or FakeEncoder()
    build_index([corpus], out, encoder, rows_per_shard=4, quiet=True, **options)
    return contents(out)


@pytest.mark.parametrize("exact_below", [100, 10])
def test_shares_put_together_are_the_index_of_one_process(corpus, tmp_path, exact_below):
    plan = prepare(corpus, tmp_path / "index")
    assert str(plan) == "25 passages, 25 of them to be encoded in 7 shards"
    encoders = [FakeEncoder() for _ in range(3)]
    reports = [share(tmp_path / "index", n, 3, encoder) for n, encoder in enumerate(encoders)]
    assert [(one.shards, one.passages, one.missing) for one in reports] == [
        *((3, 9, 4), (2, 8, 2), (2, 8, 0))
    ]
    assert [id for call in encoders[1].calls for id in call] == [
        *(f"p{n}" for n in range(4, 8)),
        *(f"p{n}" for n in range(16, 20)),
    ]
    report = merge(tmp_path / "index", exact_below=exact_below)
    assert (report.added, report.passages, report.encoded) == (1, 25, 25)
    one = one_process(corpus, tmp_path / "one", exact_below=exact_below)
    assert contents(tmp_path / "index") == one
    assert ("ivf.faiss" in one) == (exact_below == 10)
    assert not (tmp_path / "index" / BUILDING).exists()


def test_a_model_makes_the_same_bytes_in_shares(tmp_path):
    texts = [Passage(str(n), "A glacier moves slowly. " * (n % 5 + 1), "Ice") for n in range(19)]
    write_corpus(tmp_path / "corpus.jsonl", texts)
    model = tiny_uniconv()
    prepare(tmp_path / "corpus.jsonl", tmp_path / "index", model)
    for process in (1, 0):
        share(tmp_path / "index", process, 2, model)
    merge(tmp_path / "index")
    one = one_process(tmp_path / "corpus.jsonl", tmp_path / "one", model)
    assert contents(tmp_path / "index") == one


def test_processes_may_start_at_once_and_do_the_same(corpus, tmp_path):
    context = multiprocessing.get_context("spawn")
    out = tmp_path / "index"
    jobs = [context.Process(target=prepare_and_share, args=(corpus, out)) for _ in range(2)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert [job.exitcode for job in jobs] == [0, 0]
    merge(out)
    assert contents(out) == one_process(corpus, tmp_path / "one")


def test_who_comes_later_reads_nothing(corpus, tmp_path, monkeypatch):
    first = prepare(corpus, tmp_path / "index", replace=False)
    monkeypatch.setattr(reading, "read_passages", None)
    assert prepare(corpus, tmp_path / "index", replace=False) == first
    assert prepare(corpus, tmp_path / "index") == first


def test_a_share_again_makes_only_what_is_missing_or_damaged(corpus, tmp_path):
    out = tmp_path / "index"
    prepare(corpus, out)
    share(out, 0, 1)
    shards = out / BUILDING / "shards"
    (shards / "000003.npy").unlink()
    damaged = bytearray((shards / "000005.npy").read_bytes())
    damaged[-1] ^= 1
    (shards / "000005.npy").write_bytes(damaged)
    with pytest.raises(IndexFolderError, match=r"2 of 7 shards are missing.*first is number 3"):
        merge(out)
    encoder = FakeEncoder()
    assert share(out, 1, 2, encoder).missing == 0
    assert encoder.encoded == [f"p{n}" for n in (*range(12, 16), *range(20, 24))]
    merge(out)
    assert contents(out) == one_process(corpus, tmp_path / "one")


def test_one_process_does_the_rest(corpus, tmp_path):
    out, encoder = tmp_path / "index", FakeEncoder()
    prepare(corpus, out)
    share(out, 0, 2)
    build_index([corpus], out, encoder, quiet=True)
    assert len(encoder.encoded) == 12
    assert contents(out) == one_process(corpus, tmp_path / "one")


def test_other_inputs_are_refused(corpus, tmp_path):
    out, other = tmp_path / "index", FakeEncoder("fake-2", name="other")
    prepare(corpus, out)
    with pytest.raises(IndexFolderError, match=r"another model \('fake', not 'other'"):
        share(out, 0, 2, other)
    with pytest.raises(IndexFolderError, match=r"with another model \('fake'\) is being made"):
        prepare(corpus, out, other, replace=False)
    with pytest.raises(IndexFolderError, match="with other chunks or another language"):
        prepare(corpus, out, chunking=Chunking(50, 0), replace=False)
    write_corpus(corpus, CORPUS[:-1])
    with pytest.raises(IndexFolderError, match=r"other files \(see .*corpus\.jsonl\) is being"):
        prepare(corpus, out, replace=False)
    with pytest.raises(IndexFolderError, match=r"several processes .* other files .*--prepare"):
        build_index([corpus], out, FakeEncoder(), quiet=True)
    assert prepare(corpus, out).passages == 24


def test_what_is_not_there_is_said(corpus, tmp_path):
    for step in (lambda: share(tmp_path / "index", 0, 1), lambda: merge(tmp_path / "index")):
        with pytest.raises(IndexFolderError, match="nothing is prepared here; run"):
            step()
        (tmp_path / "index").mkdir(exist_ok=True)
    prepare(corpus, tmp_path / "index")
    for process, processes in ((2, 2), (-1, 2), (0, 0)):
        with pytest.raises(ConfigError, match="no share"):
            share(tmp_path / "index", process, processes)


def test_an_update_encodes_only_what_is_new(corpus, tmp_path):
    out, encoder = tmp_path / "index", FakeEncoder()
    one_process(corpus, out)
    assert prepare(corpus, out) is None
    changed = [*CORPUS[:5], replace(CORPUS[5], text="New."), *CORPUS[6:], *passages(9, "q")]
    changed.append(replace(CORPUS[3], id="again"))
    changed.append(replace(changed[-2], id="once more"))
    write_corpus(corpus, changed)
    assert (prepare(corpus, out).passages, prepare(corpus, out).new) == (36, 10)
    for process in range(2):
        share(out, process, 2, encoder)
    report = merge(out)
    assert (report.changed, report.encoded) == (1, 10)
    assert sorted(encoder.encoded) == ["p5", *(f"q{n}" for n in range(9))]
    index = FolderIndex.open(out)
    assert [one.id for one in index.store] == [one.id for one in changed]
    np.testing.assert_array_equal(index.vectors, FakeEncoder().encode_passages(changed))


def test_an_update_in_between_is_noticed(corpus, tmp_path):
    out = tmp_path / "index"
    one_process(corpus, out)
    write_corpus(corpus, passages(30))
    prepare(corpus, out)
    share(out, 0, 1)
    upload = tmp_path / "new.md"
    upload.write_text("Fresh.")
    with pytest.raises(IndexFolderError, match=r"several processes are making an index"):
        update_index(out, FakeEncoder(), add=[SourceFile(upload, "new.md")])
    other = tmp_path / "other"
    one_process(corpus, other)
    pointer = out / "index.json"
    for part in (other / "versions").iterdir():
        part.rename(out / "versions" / part.name)
    pointer.write_bytes((other / "index.json").read_bytes())
    with pytest.raises(IndexFolderError, match="was updated since this was prepared"):
        merge(out)


@dataclass
class Meanwhile(FakeEncoder):
    """While it makes its second shard, another process does something."""

    happens: Callable[[], object] = lambda: None

    def encode_passages(self, passages):
        vectors = super().encode_passages(passages)
        if len(self.calls) == 2:
            self.happens()
        return vectors


def test_a_latecomer_stops_when_the_index_is_published(corpus, tmp_path):
    out = tmp_path / "index"
    prepare(corpus, out)
    meanwhile = Meanwhile(happens=lambda: (share(out, 0, 1), merge(out)))
    with pytest.raises(IndexFolderError, match="was published or prepared anew"):
        share(out, 0, 1, meanwhile)
    assert contents(out) == one_process(corpus, tmp_path / "one")
    assert not (out / BUILDING).exists()


def test_a_latecomer_leaves_the_shards_of_a_new_plan_alone(corpus, tmp_path):
    out = tmp_path / "index"
    prepare(corpus, out)

    def begin_anew():
        write_corpus(corpus, passages(25, "q"))
        prepare(corpus, out)
        share(out, 0, 1)

    with pytest.raises(IndexFolderError, match="was published or prepared anew"):
        share(out, 0, 1, Meanwhile(happens=begin_anew))
    merge(out)
    assert contents(out) == one_process(corpus, tmp_path / "one")


def test_shards_of_an_earlier_plan_serve_the_next(corpus, tmp_path):
    out, encoder = tmp_path / "index", FakeEncoder()
    prepare(corpus, out)
    share(out, 0, 1)
    changed = [*CORPUS[:9], replace(CORPUS[9], text="New."), *CORPUS[10:20]]
    write_corpus(corpus, changed)
    prepare(corpus, out)
    report = share(out, 0, 1, encoder)
    assert encoder.encoded == ["p8", "p9", "p10", "p11"]
    assert (report.missing, report.total) == (0, 5)
    merge(out)
    assert contents(out) == one_process(corpus, tmp_path / "one")


class Stopping(FakeEncoder):
    def encode_passages(self, passages):
        if len(self.calls) == 3:
            raise KeyboardInterrupt
        return super().encode_passages(passages)


def test_a_run_that_was_stopped_does_not_read_its_files_again(corpus, tmp_path, monkeypatch):
    out, encoder = tmp_path / "index", FakeEncoder()
    with pytest.raises(KeyboardInterrupt):
        one_process(corpus, out, Stopping())
    with monkeypatch.context() as patch:
        patch.setattr(reading, "read_passages", None)
        after = one_process(corpus, out, encoder)
    assert encoder.encoded == [one.id for one in CORPUS[12:]]
    assert after == one_process(corpus, tmp_path / "one")
