from __future__ import annotations

from functools import partial

import pytest
from retrieval_fixtures import DyingEncoder, FakeEncoder, contents, passages

from uniconv.data.beir import write_corpus
from uniconv.errors import ConfigError, ModelError, UniConvError
from uniconv.retrieval import workers
from uniconv.retrieval.building import build_index
from uniconv.retrieval.sharing import merge_index, prepare_index
from uniconv.retrieval.workers import encode_in_processes


@pytest.fixture
def corpus(tmp_path):
    write_corpus(tmp_path / "corpus.jsonl", passages(40))
    prepare_index(
        [tmp_path / "corpus.jsonl"], tmp_path / "index", FakeEncoder(), rows_per_shard=4, quiet=True
    )
    return tmp_path / "corpus.jsonl"


def lives(tmp_path, count):
    (tmp_path / "lives").mkdir()
    for number in range(count):
        (tmp_path / "lives" / str(number)).touch()
    return tmp_path / "lives"


def test_a_killed_process_is_replaced_and_the_bytes_are_those_of_one(corpus, tmp_path):
    out, left = tmp_path / "index", lives(tmp_path, 1)
    encode_in_processes(out, partial(DyingEncoder, lives=left), 2, quiet=True)
    assert not list(left.iterdir())  # one was killed in its third shard
    merge_index(out, quiet=True)
    build_index([corpus], tmp_path / "one", FakeEncoder(), rows_per_shard=4, quiet=True)
    assert contents(out) == contents(tmp_path / "one")


def test_a_process_that_is_always_killed_ends_it(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "_FRUITLESS", 2)
    load = partial(DyingEncoder, lives=lives(tmp_path, 9))
    with pytest.raises(UniConvError, match=r"killed 2 times \(signal 9\) without"):
        encode_in_processes(tmp_path / "index", partial(load, after=0), 1, quiet=True)


def fail():
    raise ModelError("there is no such model")


def test_the_mistake_of_a_process_is_told(corpus, tmp_path):
    with pytest.raises(UniConvError, match="there is no such model"):
        encode_in_processes(tmp_path / "index", fail, 1, quiet=True)
    with pytest.raises(ConfigError, match="0 processes"):
        encode_in_processes(tmp_path / "index", fail, 0, quiet=True)


def test_each_process_has_a_gpu_or_its_part_of_the_cores(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert workers._resources(1, 3) == {"OMP_NUM_THREADS": "2"}
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    gpus = [workers._resources(number, 3)["CUDA_VISIBLE_DEVICES"] for number in range(3)]
    assert gpus == ["0", "1", "0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    gpus = [workers._resources(number, 2)["CUDA_VISIBLE_DEVICES"] for number in range(2)]
    assert gpus == ["3", "5"]
