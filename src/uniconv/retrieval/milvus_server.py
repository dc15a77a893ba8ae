"""The connection to Milvus, what our collections say of themselves, and errors in a sentence."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from uniconv.config.milvus import TOKEN_VARIABLE, MilvusConfig
from uniconv.errors import IndexFolderError, IndexServerError, UniConvError
from uniconv.retrieval.interface import ModelRecord

NO_COLLECTION = 100
NOT_LOADED = 101
_PROPERTY = "uniconv"
_UNREACHABLE = 2


@dataclass(frozen=True, slots=True)
class Record:
    """What a collection says of itself, in a property of it.

    ``dimensions`` are those of the model's that its vectors have.
    """

    alias: str
    version: str
    model: ModelRecord
    dimensions: int
    passages: int
    identity: str

    def properties(self) -> dict[str, str]:
        """As properties of a collection."""
        return {_PROPERTY: json.dumps(asdict(self))}

    @classmethod
    def read(cls, described: dict[str, Any]) -> Record | None:
        """From Milvus's description of a collection; None where the collection isn't ours."""
        try:
            value = json.loads(described["properties"][_PROPERTY])
            return cls(**{**value, "model": ModelRecord(**value["model"])})
        except (KeyError, TypeError, ValueError):
            return None


def connect(config: MilvusConfig) -> Any:
    """A ``pymilvus.MilvusClient``, which several threads may use.

    Raises:
        UniConvError: a package is missing.
        IndexServerError: it can't be reached, or refuses the token.
    """
    try:
        from pymilvus import MilvusClient

        if config.is_file:
            import milvus_lite  # noqa: F401
    except ModuleNotFoundError as error:
        raise UniConvError(
            f"Milvus needs the package {error.name}: pip install 'uniconv[milvus]'"
        ) from error
    for name in ("pymilvus", "milvus_lite"):  # they log tracebacks of what is told in a sentence
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with told(config):
        return MilvusClient(
            config.uri, token=config.token, db_name=config.database, timeout=config.timeout
        )


@contextmanager
def told(config: MilvusConfig) -> Iterator[None]:
    """What goes wrong in Milvus as an IndexServerError."""
    from grpc import RpcError
    from pymilvus.exceptions import MilvusException

    try:
        yield
    except (MilvusException, RpcError) as error:
        raise IndexServerError(f"{config.uri}: {_sentence(config, error)}") from error


def _sentence(config: MilvusConfig, error: Exception) -> str:
    code = getattr(error, "code", None)
    message = " ".join(str(getattr(error, "message", error)).split())
    if config.is_file and "Open local milvus failed" in message:
        return (
            "the Milvus Lite file can't be opened; it is in use by another process, or is damaged, "
            "or its folder is missing"
        )
    if code == _UNREACHABLE or callable(code):  # the latter is gRPC's own error
        return (
            f"Milvus can't be reached, or refuses the token; check the address, that the server "
            f"runs, and the environment variable {TOKEN_VARIABLE} ({message})"
        )
    return f"Milvus refused ({message})"


def find_record(client: Any, config: MilvusConfig, name: str) -> tuple[str, Record] | None:
    """The collection behind a name or an alias, and its record; None where there is none.

    Raises:
        IndexFolderError: the collection was not made by uniconv.
    """
    with told(config):
        if not client.has_collection(name, timeout=config.timeout):
            return None
        described = client.describe_collection(name, timeout=config.timeout)
    record = Record.read(described)
    if record is None:
        raise IndexFolderError(
            f"{config.uri}: the collection '{name}' was not made by uniconv; choose another name"
        )
    return str(described["collection_name"]), record
