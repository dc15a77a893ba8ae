"""Where a collection in Milvus is, and how it is indexed and searched, read from a small YAML file.

uri: http://milvus.internal:19530     # or a file of Milvus Lite: handbook.db
collection: handbook
index: {type: HNSW, build: {M: 16, efConstruction: 200}, search: {ef: 128}}
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from uniconv.config.ranges import number, range_problems
from uniconv.config.strict import raise_problems, read_yaml, structure
from uniconv.errors import ConfigError

TOKEN_VARIABLE = "UNICONV_MILVUS_TOKEN"
"""The environment variable that holds the token, or user:password; files never do."""
_SECRETS = {"token", "password", "user", "api_key"}
_NAME = re.compile(r"[A-Za-z_]\w{0,199}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorIndexing:
    """How Milvus indexes the vectors."""

    type: str = "AUTOINDEX"
    """FLAT compares every vector; HNSW, IVF_FLAT, IVF_SQ8, HNSW_SQ, DISKANN, …: as Milvus has."""
    metric: Literal["IP", "COSINE"] = "IP"
    """The same here, as vectors have length 1."""
    build: dict[str, Any] = field(default_factory=dict)
    """Parameters of the type, such as M and efConstruction."""
    search: dict[str, Any] = field(default_factory=dict)
    """Parameters of a search, such as ef or nprobe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MilvusConfig:
    """A collection and its server."""

    uri: str
    """http://host:port, https://host:port, or the path of a Milvus Lite file, which ends in .db."""
    collection: str
    """The alias by which the current collection is found; each version has a name of its own."""
    folder: Path | None = None
    """Where passages and vectors are made before they are loaded; by default the collection's name
    and -build, beside this file."""
    database: str = ""
    """Milvus's database; empty for the default one."""
    index: VectorIndexing = field(default_factory=VectorIndexing)
    shards: int = number(1, least=1, most=16)
    """Channels that insert in parallel (16 is what a server allows unless it is told more)."""
    properties: dict[str, Any] = field(default_factory=dict)
    """Milvus's properties of the collection, such as mmap.enabled."""
    timeout: float = number(60.0, above=0)
    """Seconds that a request may take."""

    @property
    def is_file(self) -> bool:
        """Whether it is a Milvus Lite file."""
        return "://" not in self.uri

    @property
    def built(self) -> Path:
        """The folder, where it is by default too."""
        return self.folder or Path(f"{self.collection}-build")

    @property
    def token(self) -> str:
        """The secret, from the environment; empty where there is none."""
        return os.environ.get(TOKEN_VARIABLE, "")


def is_milvus(path: Path | str) -> bool:
    """Whether a path is that of such a file, not of an index folder."""
    path = Path(path)
    return path.suffix in (".yaml", ".yml") and not path.is_dir()


def load_milvus(path: Path | str) -> MilvusConfig:
    """Reads the file; paths in it are relative to its folder.

    Raises:
        ConfigError: it can't be read, or a setting is unknown, missing or out of range.
    """
    path = Path(path)
    value = read_yaml(path)
    if isinstance(value, dict) and (secrets := sorted(_SECRETS & value.keys())):
        raise ConfigError(
            f"{path}: {secrets[0]}: secrets don't belong in a file; take it out and set the "
            f"environment variable {TOKEN_VARIABLE} (a token, or user:password)"
        )
    config = structure(value, MilvusConfig, str(path))
    raise_problems(str(path), [*range_problems(config), *_problems(config)])
    if config.is_file:
        config = replace(config, uri=str((path.parent / config.uri).resolve()))
    return replace(config, folder=path.parent / config.built)


def _problems(config: MilvusConfig) -> list[str]:
    problems = []
    if config.is_file and not config.uri.endswith(".db"):
        problems.append(
            "uri: expected http://host:port, or a Milvus Lite file, whose name ends in .db, not "
            f"'{config.uri}'"
        )
    if not config.is_file and "@" in urlsplit(config.uri).netloc:
        problems.append(f"uri: secrets don't belong in a file; set {TOKEN_VARIABLE} in its place")
    if not _NAME.fullmatch(config.collection):
        problems.append(
            "collection: expected letters, digits and underscores, at most 200 and no digit first, "
            f"not '{config.collection}'"
        )
    return problems
