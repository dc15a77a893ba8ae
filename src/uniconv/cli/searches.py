"""What answers from an index, as the commands' options say; importing it takes seconds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from uniconv.engine import Engine, EngineSettings
from uniconv.errors import ModelError
from uniconv.model import UniConv
from uniconv.remote.model import embedding_server, with_generator
from uniconv.remote.settings import RemoteSettings
from uniconv.retrieval.interface import Index
from uniconv.search import ConversationalSearch, SearchSettings
from uniconv.serving.shared_model import SharedUniConv


@contextmanager
def open_search(
    folder: Path,
    model: str | None,
    read: int,
    quote: bool | None,
    remote: RemoteSettings,
    cache_mb: int = 1024,
) -> Iterator[ConversationalSearch]:
    """A search that several threads can use; other servers run its model where these are named."""
    settings = SearchSettings(read=read, quote=quote)
    opened = Index.open(folder)
    name = model or opened.model_name
    if remote.embeddings_url is not None:
        reader = embedding_server(remote, opened, name)
        yield ConversationalSearch(with_generator(reader, remote), opened, settings)
        return
    with _engine(UniConv.from_pretrained(name), cache_mb) as engine:
        running = engine if remote.generator_url is None else with_generator(engine, remote)
        yield ConversationalSearch(running, opened, settings)


@contextmanager
def _engine(model: UniConv, cache_mb: int) -> Iterator[UniConv | Engine]:
    """An engine, or a backbone that can't be in one, behind a lock."""
    try:
        engine = Engine(model, EngineSettings(cache_bytes=cache_mb * 2**20))
    except ModelError:  # each turn reads the whole conversation, and requests take turns
        yield SharedUniConv(model)
        return
    with engine:
        yield engine
