"""Where tests of Milvus work: a database for each file of tests, a collection for each test."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    return tmp_path_factory.mktemp("milvus") / "test.db"


@pytest.fixture
def place(tmp_path, database, request):
    from milvus_place import Place  # tests without Milvus don't need it

    name = request.node.name.removeprefix("test_")
    return Place(tmp_path, str(database), "".join(c if c.isalnum() else "_" for c in name)[:60])
