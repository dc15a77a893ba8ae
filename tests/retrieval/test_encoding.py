from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from retrieval_fixtures import FakeEncoder, passages

from tiny import tiny_uniconv
from uniconv.errors import ModelError
from uniconv.retrieval.encoding import encode_corpus
from uniconv.types import Passage

CORPUS = passages(25)
ONE_GO = FakeEncoder().encode_passages(CORPUS)
EVERY = np.arange(len(CORPUS))


@pytest.mark.parametrize("rows", [1, 4, 25, 100])
def test_sharded_encoding_equals_one_go(tmp_path, rows):
    shards = encode_corpus(CORPUS, FakeEncoder(), tmp_path, rows_per_shard=rows)
    assert len(shards) == 25
    np.testing.assert_array_equal(shards.take(EVERY), ONE_GO)
    order = np.array([24, 3, 3, 0])
    np.testing.assert_array_equal(shards.take(order), ONE_GO[order])


def test_processes_share_the_shards(tmp_path):
    encoders = [FakeEncoder() for _ in range(3)]
    for process, encoder in enumerate(encoders[:2]):
        encode_corpus(CORPUS, encoder, tmp_path, rows_per_shard=10, process=process, processes=2)
    shards = encode_corpus(CORPUS, encoders[2], tmp_path, rows_per_shard=10)
    assert [len(encoder.encoded) for encoder in encoders] == [15, 10, 0]
    np.testing.assert_array_equal(shards.take(EVERY), ONE_GO)


def test_sharded_encoding_with_a_model_equals_one_go(tmp_path):
    model = tiny_uniconv()
    corpus = [
        Passage(str(n), "A glacier moves slowly. " * (n % 5 + 1), f"Title {n}") for n in range(9)
    ]
    shards = encode_corpus(corpus, model, tmp_path, rows_per_shard=4)
    np.testing.assert_allclose(shards.take(np.arange(9)), model.encode_passages(corpus), atol=1e-5)


class Stopping(FakeEncoder):
    """Breaks off like a person pressing Ctrl-C in the third shard."""

    def encode_passages(self, passages):
        if len(self.calls) == 2:
            raise KeyboardInterrupt
        return super().encode_passages(passages)


def test_resumed_encoding_equals_one_go_and_keeps_whole_shards(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        encode_corpus(CORPUS, Stopping(), tmp_path, rows_per_shard=5)
    encoder, done = FakeEncoder(), []
    shards = encode_corpus(CORPUS, encoder, tmp_path, rows_per_shard=5, progress=done.append)
    assert encoder.encoded == [passage.id for passage in CORPUS[10:]]
    assert sum(done) == 25
    np.testing.assert_array_equal(shards.take(EVERY), ONE_GO)


KILLED = """
import sys, time
sys.path[:0] = sys.argv[2:]
from retrieval_fixtures import FakeEncoder, passages
from uniconv.retrieval.encoding import encode_corpus

class Slow(FakeEncoder):
    def encode_passages(self, passages):
        if len(self.calls) == 2:
            print("in the third shard", flush=True)
            time.sleep(60)
        return super().encode_passages(passages)

encode_corpus(passages(25), Slow(), sys.argv[1], rows_per_shard=5)
"""


def test_killed_encoding_goes_on_at_its_last_shard(tmp_path):
    command = [sys.executable, "-c", KILLED, str(tmp_path), *filter(None, sys.path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "in the third shard\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    encoder = FakeEncoder()
    shards = encode_corpus(CORPUS, encoder, tmp_path, rows_per_shard=5)
    assert encoder.encoded == [passage.id for passage in CORPUS[10:]]
    np.testing.assert_array_equal(shards.take(EVERY), ONE_GO)


def _damage(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: _damage(folder / "000001.npy"),
        lambda folder: (folder / "000001.npy").unlink(),
        lambda folder: (folder / "000001.json").unlink(),
        lambda folder: (folder / "000001.json").write_text("{"),
    ],
)
def test_a_damaged_shard_is_made_again(tmp_path, harm):
    encode_corpus(CORPUS, FakeEncoder(), tmp_path, rows_per_shard=5)
    harm(tmp_path)
    encoder = FakeEncoder()
    shards = encode_corpus(CORPUS, encoder, tmp_path, rows_per_shard=5)
    assert encoder.encoded == [passage.id for passage in CORPUS[5:10]]
    np.testing.assert_array_equal(shards.take(EVERY), ONE_GO)


def test_only_shards_whose_passages_changed_are_made_again(tmp_path):
    encode_corpus(CORPUS, FakeEncoder(), tmp_path, rows_per_shard=5)
    changed = [*CORPUS]
    changed[7] = replace(changed[7], text="New.")
    encoder = FakeEncoder()
    encode_corpus(changed, encoder, tmp_path, rows_per_shard=5)
    assert encoder.encoded == [passage.id for passage in changed[5:10]]


def test_another_model_makes_every_shard_again(tmp_path):
    encode_corpus(CORPUS, FakeEncoder(), tmp_path, rows_per_shard=5)
    encoder = FakeEncoder(fingerprint="fake-2")
    shards = encode_corpus(CORPUS, encoder, tmp_path, rows_per_shard=5)
    assert len(encoder.encoded) == 25
    np.testing.assert_array_equal(shards.take(EVERY), encoder.encode_passages(CORPUS))


class Wrong(FakeEncoder):
    def encode_passages(self, passages):
        vectors = super().encode_passages(passages)
        if self.name == "narrow":
            return vectors[:, 1:]
        vectors[1, 2] = np.nan
        return vectors


def test_vectors_that_make_no_sense_are_refused(tmp_path):
    with pytest.raises(ModelError, match=r"shape \(25, 15\), expected \(25, 16\)"):
        encode_corpus(CORPUS, Wrong(name="narrow"), tmp_path)
    with pytest.raises(ModelError, match="passage 'p1' holds values that are not numbers"):
        encode_corpus(CORPUS, Wrong(), tmp_path)
    assert not list(tmp_path.iterdir())
