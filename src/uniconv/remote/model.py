"""A model in two places: what reads and embeds, here or in a server, and a server that writes.

model = RemoteModel(Engine(UniConv.from_pretrained("merged-model")), Generator(server, template))
search = ConversationalSearch(model, index)   # as with the engine itself, from many threads
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from threading import Event

import numpy as np
import torch

from uniconv.conversational import ConversationalModel, Reading
from uniconv.decoding import Sampler, Writer
from uniconv.engine import Engine
from uniconv.model import Settings, UniConv
from uniconv.remote.embeddings import EmbeddingServer
from uniconv.remote.generator import Generator
from uniconv.remote.server import Server
from uniconv.remote.settings import RemoteSettings
from uniconv.retrieval.interface import Index
from uniconv.tree import Tokens

GENERATOR_KEY = "UNICONV_GENERATOR_KEY"
EMBEDDINGS_KEY = "UNICONV_EMBEDDINGS_KEY"


class RemoteModel(ConversationalModel):
    """What :class:`uniconv.model.UniConv` does, the writing done by a server.

    ``reader`` embeds: an engine, a model that several threads may use, or a server on the same
    weights. Reader and generator each read a conversation once, with caches of their own; what was
    cached of an answer's prompt is what the generator tells.
    """

    def __init__(self, reader: UniConv | Engine | EmbeddingServer, generator: Generator) -> None:
        self.reader = reader
        self.generator = generator
        self.tokenizer = reader.tokenizer
        self.template = reader.template
        self.name = reader.name

    @property
    def settings(self) -> Settings:
        return self.reader.settings

    @property
    def fingerprint(self) -> str:
        return self.reader.fingerprint

    @property
    def dimension(self) -> int:
        return self.reader.dimension

    @property
    def device(self) -> torch.device:
        """Where nothing is decoded."""
        return torch.device("cpu")

    @property
    def max_positions(self) -> int | None:
        limits = (self.reader.max_positions, self.generator.max_tokens)
        return min((limit for limit in limits if limit is not None), default=None)

    def encode(
        self, sequences: Sequence[Tokens], *, progress: Callable[[int], None] | None = None
    ) -> np.ndarray:
        return self.reader.encode(sequences, progress=progress)

    def read_tokens(self, tokens: list[int], cancelled: Event | None = None) -> Reading:
        return self.reader.read_tokens(tokens, cancelled)

    def _write(
        self, reading: Reading, suffix: list[int], writer: Writer, sampler: Sampler
    ) -> Iterator[str]:
        del sampler  # the server's own
        return self.generator.write([*reading.tokens, *suffix], writer)


def with_generator(
    reader: UniConv | Engine | EmbeddingServer, settings: RemoteSettings
) -> RemoteModel:
    """What reads with ``reader`` and writes where the settings say.

    Raises:
        RemoteError: see :class:`Generator`.
    """
    assert settings.generator_url is not None
    server = Server(settings.generator_url, GENERATOR_KEY, timeout=settings.remote_timeout)
    return RemoteModel(reader, Generator(server, reader.template, settings.generator_model))


def embedding_server(settings: RemoteSettings, index: Index, folder: str) -> EmbeddingServer:
    """The server that embeds for ``index``; ``folder`` has the tokenizer.

    Raises:
        RemoteError: see :class:`EmbeddingServer`.
    """
    assert settings.embeddings_url is not None
    server = Server(settings.embeddings_url, EMBEDDINGS_KEY, timeout=settings.remote_timeout)
    return EmbeddingServer(server, index, folder, settings.embeddings_model)
