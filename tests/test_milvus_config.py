from __future__ import annotations

import pytest

from uniconv.config.milvus import TOKEN_VARIABLE, VectorIndexing, is_milvus, load_milvus
from uniconv.errors import ConfigError


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "handbook.yaml"
        path.write_text(text)
        return path

    return write


def test_what_is_left_out(written, tmp_path):
    config = load_milvus(written("uri: handbook.db\ncollection: handbook\n"))
    assert config.uri == str(tmp_path / "handbook.db")  # not relative to where a command runs
    assert config.built == tmp_path / "handbook-build"
    assert config.index == VectorIndexing()
    assert config.is_file


def test_all_settings(written, tmp_path):
    config = load_milvus(
        written(
            "uri: https://milvus.example:19530\ncollection: handbook\nfolder: made\n"
            "database: docs\nshards: 4\nproperties: {mmap.enabled: true}\ntimeout: 5\n"
            "index: {type: HNSW, metric: COSINE, build: {M: 32}, search: {ef: 128}}\n"
        )
    )
    assert (config.uri, config.database, config.shards) == (
        "https://milvus.example:19530",
        "docs",
        4,
    )
    assert config.built == tmp_path / "made"
    assert config.properties == {"mmap.enabled": True}
    assert config.index == VectorIndexing(
        type="HNSW", metric="COSINE", build={"M": 32}, search={"ef": 128}
    )
    assert not config.is_file


def test_the_token_is_in_the_environment(written, monkeypatch):
    config = load_milvus(written("uri: a.db\ncollection: a\n"))
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    assert config.token == ""
    monkeypatch.setenv(TOKEN_VARIABLE, "root:Milvus")
    assert config.token == "root:Milvus"
    assert "root:Milvus" not in repr(config)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("collection: a\n", "uri: is missing"),
        ("uri: a\ncollection: a\n", r"uri: expected http://host:port, or .* not 'a'"),
        ("uri: a.db\ncollection: 1-a\n", "collection: expected letters, digits and underscores"),
        ("uri: a.db\ncollection: a\nshards: 0\n", "shards: expected a number of at least 1"),
        ("uri: a.db\ncollection: a\nindex: HNSW\n", "index: expected settings by name"),
        ("uri: a.db\ncollection: a\nindex: {search: 3}\n", "index.search: expected settings by"),
        (
            "uri: a.db\ncollection: a\nindex: {metric: L2}\n",
            "index.metric: expected one of IP, COS",
        ),
        ("uri: a.db\ncollection: a\ntoken: abc\n", f"token: secrets don't .* {TOKEN_VARIABLE}"),
        ("uri: http://u:p@host:1\ncollection: a\n", "uri: secrets don't belong in a file"),
    ],
)
def test_mistakes(written, text, problem):
    with pytest.raises(ConfigError, match=rf"handbook\.yaml: {problem}"):
        load_milvus(written(text))


def test_which_paths_are_configurations(tmp_path):
    (tmp_path / "folder.yaml").mkdir()
    assert is_milvus("a/handbook.yaml")
    assert is_milvus("handbook.yml")
    assert not is_milvus("handbook")
    assert not is_milvus(tmp_path / "folder.yaml")
