"""Any sentence-transformers model as an encoder of passages and of conversations as one text.

It is what UniConv is compared with: ``uniconv evaluate retrieval --encoder NAME`` (extra
``sentence-transformers``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from uniconv.config import QueryForm
from uniconv.errors import ModelError
from uniconv.retrieval.queries import query_text
from uniconv.retrieval.vectors import Floats
from uniconv.types import Conversation, Passage

_BLOCK = 512  # texts between two reports of progress


class SentenceEncoder:
    """A sentence-transformers model, from a folder or the hub.

    Passages are its documents (title and text), conversations its queries in the form ``query``;
    its own prompts for either are used. What is too long loses its end as a document and its
    beginning as a query, so that the last question is always read.

    Raises:
        ModelError: sentence-transformers is not installed, or there is no such model.
    """

    def __init__(self, name: str, query: QueryForm = "history") -> None:
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise ModelError(
                "sentence-transformers is not installed; install uniconv[sentence-transformers]"
            ) from error
        from transformers.utils import logging

        logging.disable_progress_bar()  # of loading weights; downloads still show theirs
        try:
            self._model: Any = SentenceTransformer(name)
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise ModelError(
                f"'{name}' can't be loaded as a sentence-transformers model ({reason})"
            ) from error
        finally:
            logging.enable_progress_bar()
        self.name = name
        self._query = query

    @property
    def dimension(self) -> int:
        """The length of the vectors."""
        return int(self._model.get_embedding_dimension())

    @cached_property
    def fingerprint(self) -> str:
        """A checksum of the weights, the prompts and the length that passages are cut to."""
        about = f"{self._model} {self._model.prompts} {self._model.max_seq_length}"
        digest = hashlib.sha256(about.encode())
        for name, weights in sorted(self._model.state_dict().items()):
            digest.update(name.encode())
            digest.update(weights.detach().cpu().contiguous().float().numpy().tobytes())
        return digest.hexdigest()[:16]

    def encode_passages(self, passages: Sequence[Passage]) -> Floats:
        """Float32 [n, dimension], L2-normalised."""
        texts = [f"{passage.title} {passage.text}".strip() for passage in passages]
        return self._encode(self._model.encode_document, texts, cut="right")

    def encode_conversations(
        self,
        conversations: Sequence[Conversation],
        *,
        progress: Callable[[int], None] | None = None,
    ) -> Floats:
        """Float32 [n, dimension], L2-normalised; ``progress`` is told the number of each block.

        Raises:
            UniConvError: a turn lacks the rewrite that the form of the query asks for.
        """
        texts = [query_text(conversation, self._query) for conversation in conversations]
        blocks = [np.empty((0, self.dimension), np.float32)]
        for start in range(0, len(texts), _BLOCK):
            part = texts[start : start + _BLOCK]
            blocks.append(self._encode(self._model.encode_query, part, cut="left"))
            if progress is not None:
                progress(len(part))
        return np.concatenate(blocks)

    def _encode(self, encode: Callable[..., Any], texts: list[str], cut: str) -> Floats:
        self._model.tokenizer.truncation_side = cut
        embeddings = encode(texts, normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(embeddings, np.float32)
