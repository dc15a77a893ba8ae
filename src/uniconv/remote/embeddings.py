"""Embeddings that another server computes, of token sequences sent to ``/v1/embeddings``."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np

from uniconv.conversational import Reading
from uniconv.errors import ModelError, RemoteError
from uniconv.model import Settings
from uniconv.pretrained import load_tokenizer, read_settings, resolve
from uniconv.remote.listing import served
from uniconv.remote.server import Server
from uniconv.retrieval.interface import Index
from uniconv.templates import load_template
from uniconv.tree import Tokens

_PATH = "/embeddings"
_AT_ONCE = 64
"""Sequences in one request."""
_COMPARED = 8
_LIKE = 0.99
"""The least cosine between a passage's vector in the index and the server's: bfloat16 and other
kernels cost a thousandth or less."""


class EmbeddingServer:
    """A server that embeds with the weights that made ``index``; none are loaded here.

    ``folder`` has the model's tokenizer and ``uniconv.json``. What the server's weights are can't
    be seen, so a few of the index's passages are embedded and compared with their vectors.

    Raises:
        ModelError: the model's pooling is none that servers have.
        RemoteError: the server can't be reached, doesn't embed, or embeds otherwise than the index.
    """

    def __init__(
        self, server: Server, index: Index, folder: str | Path, model: str | None = None
    ) -> None:
        saved = read_settings(resolve(folder))
        self.settings = Settings(**saved.get("settings", {}))
        if self.settings.pooling == "weighted_mean":
            raise ModelError(
                f"{folder}: no server weighs states by their positions (pooling weighted_mean); "
                "leave out embeddings_url, and the model embeds here"
            )
        self.tokenizer = load_tokenizer(folder)
        self.template = load_template(self.tokenizer, saved=saved.get("template"))
        self.name = str(folder)
        self.dimension = index.dimension
        self._server = server
        self._served = served(server, model)
        self._compare(index)
        self.fingerprint = index.model.fingerprint
        """That of the model that made the index: the comparison has shown that this is it."""

    @property
    def max_positions(self) -> int | None:
        """The most tokens that the server reads in one go, where it says."""
        return self._served.max_tokens

    def read_tokens(self, tokens: list[int], cancelled: Event | None = None) -> Reading:
        """Reads a conversation's tokens and the marker."""
        [embedding] = self._embed([[*tokens, self.template.marker]], cancelled)
        return Reading(tokens, embedding)

    def encode(
        self, sequences: Sequence[Tokens], *, progress: Callable[[int], None] | None = None
    ) -> np.ndarray:
        """As :meth:`UniConv.encode`; ``progress`` is told the sequences of each request."""
        vectors = np.empty((len(sequences), self.dimension), np.float32)
        for start in range(0, len(sequences), _AT_ONCE):
            part = sequences[start : start + _AT_ONCE]
            vectors[start : start + len(part)] = self._embed(part)
            if progress is not None:
                progress(len(part))
        return vectors

    def _embed(self, sequences: Sequence[Tokens], cancelled: Event | None = None) -> np.ndarray:
        """Float32 [n, d], L2-normalised."""
        body = {
            "model": self._served.name,
            "input": [list(map(int, tokens)) for tokens in sequences],
            "encoding_format": "base64",
        }
        reply = self._server.post(_PATH, body, cancelled)
        where = self._server.url + _PATH
        try:
            data = sorted(json.loads(reply)["data"], key=lambda one: one["index"])
            vectors = np.stack([_vector(one["embedding"]) for one in data])
            norms = np.linalg.norm(vectors, axis=1, keepdims=True)
            if len(vectors) != len(sequences) or not (norms > 0).all():
                raise ValueError(f"{len(vectors)} vectors for {len(sequences)} sequences")
        except (ValueError, KeyError, TypeError) as error:
            raise RemoteError(where, f"the reply has no embeddings ({error})") from error
        if vectors.shape[1] != self.dimension:
            raise RemoteError(
                where,
                f"its vectors have {vectors.shape[1]} dimensions, the index's {self.dimension}; "
                "serve the model that made the index",
            )
        return np.asarray(vectors / norms, np.float32)

    def _compare(self, index: Index) -> None:
        rows = np.random.default_rng(0).permutation(len(index))[:_COMPARED].tolist()
        found = self.encode([self.template.passage(one) for one in index.passages_at(rows)])
        likeness = (index.cut(found) * index.vectors_at(rows)).sum(axis=1)
        if np.median(likeness) < _LIKE:
            raise RemoteError(
                self._server.url + _PATH,
                f"its vectors are not those of the index (cosine {np.median(likeness):.2f}); serve "
                f"the model that made it ('{index.model_name}') with last-token pooling, or make "
                "the index again with the model that is served",
            )


def _vector(embedding: Any) -> np.ndarray:
    """Float32 [d] of base64 or of a list of numbers."""
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding, validate=True), "<f4")
    return np.asarray(embedding, np.float32)
