from __future__ import annotations

import os
import sys
from functools import partial

import pytest
from retrieval_fixtures import DyingEncoder, FakeEncoder, contents, passages

from uniconv.data.beir import write_corpus
from uniconv.errors import ConfigError, ModelError, UniConvError
from uniconv.retrieval.building import build_index
from uniconv.retrieval.ray_workers import encode_on_ray
from uniconv.retrieval.sharing import merge_index, prepare_index


def prepare(tmp_path):
    write_corpus(tmp_path / "corpus.jsonl", passages(40))
    prepare_index(
        [tmp_path / "corpus.jsonl"], tmp_path / "index", FakeEncoder(), rows_per_shard=4, quiet=True
    )
    return tmp_path / "index"


def test_without_ray_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"uniconv\[ray\]"):
        encode_on_ray(tmp_path / "index", FakeEncoder, quiet=True)


@pytest.fixture(scope="module")
def ray():
    """Ray on this machine, for all tests: it takes many seconds to start."""
    ray = pytest.importorskip("ray", reason="needs the extra 'ray'")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        ray.init(address="local", num_cpus=3, log_to_driver=False, logging_level="ERROR")
        yield ray
        ray.shutdown()


def test_a_killed_worker_costs_its_shard_and_the_bytes_are_those_of_one(ray, tmp_path):
    out, lives = prepare(tmp_path), tmp_path / "lives"
    lives.mkdir()
    (lives / "one").touch()
    encode_on_ray(out, partial(DyingEncoder, lives=lives), workers=2, quiet=True)
    assert not list(lives.iterdir())  # one was killed in its third shard
    merge_index(out, quiet=True)
    build_index(
        [tmp_path / "corpus.jsonl"], tmp_path / "one", FakeEncoder(), rows_per_shard=4, quiet=True
    )
    assert contents(out) == contents(tmp_path / "one")


def fail():
    raise ModelError("there is no such model")


def test_mistakes_are_told_in_a_sentence(ray, tmp_path):
    out = prepare(tmp_path)
    with pytest.raises(UniConvError, match=r"^there is no such model$"):
        encode_on_ray(out, fail, workers=1, quiet=True)
    with pytest.raises(UniConvError, match=r"^.*prepared for another model"):
        encode_on_ray(out, partial(FakeEncoder, "fake-2"), workers=1, quiet=True)
    with pytest.raises(ConfigError, match="0 Ray workers"):
        encode_on_ray(out, FakeEncoder, workers=0, quiet=True)


def test_a_cluster_that_is_not_there_is_said(ray, tmp_path, monkeypatch):
    def init(address, **options):
        raise ConnectionError(f"Could not find any running Ray instance at {address}.\nAnd more.")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(ConfigError, match=r"at '10\.0\.0\.1:1' \(Could not .* at 10[^\n]*\)$"):
        encode_on_ray(prepare(tmp_path), FakeEncoder, address="10.0.0.1:1", quiet=True)
