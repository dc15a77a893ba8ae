"""A configuration for a test, a corpus beside it, and ways to look behind the index."""

from __future__ import annotations

import json

from retrieval_fixtures import FakeEncoder, passages

from uniconv.config.milvus import load_milvus
from uniconv.data.beir import write_corpus
from uniconv.retrieval.milvus_loading import index_in_milvus
from uniconv.retrieval.milvus_server import connect

CORPUS = passages(40)


class Place:
    """A configuration, a corpus, and ways to look behind the index."""

    def __init__(self, folder, uri, name):
        self.path = folder / f"{name}.yaml"
        self.corpus = folder / f"{name}.jsonl"
        self.name = name
        self._uri = uri
        self.configure()

    def configure(self, **settings):
        self.path.write_text(
            json.dumps({"uri": self._uri, "collection": self.name, "timeout": 20, **settings})
        )

    def index(self, corpus, model=None):
        write_corpus(self.corpus, corpus)
        return index_in_milvus([self.corpus], self.path, model or FakeEncoder(), quiet=True)

    @property
    def client(self):
        return connect(load_milvus(self.path))

    def collections(self):
        return [one for one in self.client.list_collections() if one.startswith(f"{self.name}_")]


def nearest(index, passage):
    (ranking,) = index.search(FakeEncoder().encode_passages([passage]), 1)
    return ranking[0].passage if ranking else None
