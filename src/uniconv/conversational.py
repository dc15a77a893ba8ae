"""What a conversational model does, however its LM is run: embed, read once, answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any

import numpy as np
import torch
from transformers.cache_utils import DynamicCache

from uniconv.decoding import Decoding, Generation, Sampler, Writer
from uniconv.templates import Template
from uniconv.tree import Tokens
from uniconv.types import Conversation, Passage


@dataclass(slots=True)
class Reading:
    """A conversation that was read once: its tokens and embedding (float32 [d]).

    ``cached`` of the tokens had been read before. ``cache`` is the KV cache, where an engine
    doesn't keep it.
    """

    tokens: list[int]
    embedding: np.ndarray
    cached: int = 0
    cache: DynamicCache | None = None


class ConversationalModel(ABC):
    """Its methods in terms of tokens are what a class that runs an LM adds."""

    tokenizer: Any
    template: Template
    name: str

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where the LM is."""

    @property
    @abstractmethod
    def max_positions(self) -> int | None:
        """The most tokens that the LM can read and write in one go, if its configuration says."""

    @property
    def quotes(self) -> bool:
        """Whether searches respond with quotations where nobody says otherwise."""
        return False

    @abstractmethod
    def encode(
        self, sequences: Sequence[Tokens], *, progress: Callable[[int], None] | None = None
    ) -> np.ndarray:
        """Embeddings of sequences that end with the marker, float32 [n, d], in the order given."""

    def encode_now(self, sequences: Sequence[Tokens]) -> np.ndarray:
        """As :meth:`encode`, of what somebody waits for."""
        return self.encode(sequences)

    @abstractmethod
    def read_tokens(self, tokens: list[int], cancelled: Event | None = None) -> Reading:
        """Reads a conversation's tokens and the marker."""

    @abstractmethod
    def _write(
        self, reading: Reading, suffix: list[int], writer: Writer, sampler: Sampler
    ) -> Iterator[str]:
        """Pieces of text after what was read and ``suffix``, until the writer has finished."""

    def encode_conversations(
        self, conversations: Sequence[Conversation], **options: Any
    ) -> np.ndarray:
        """Embeddings of the contexts ``C_n`` to retrieve with, float32 [n, d].

        Options are those of :meth:`encode`.

        Raises:
            ValueError: a conversation's last question is already answered.
        """
        marker = [self.template.marker]
        return self.encode([self.open_question(one) + marker for one in conversations], **options)

    def encode_passages(self, passages: Sequence[Passage], **options: Any) -> np.ndarray:
        """Embeddings of passages to be retrieved, float32 [n, d]; options as of :meth:`encode`."""
        return self.encode([self.template.passage(passage) for passage in passages], **options)

    def read(self, conversation: Conversation, cancelled: Event | None = None) -> Reading:
        """Reads ``C_n`` in one pass that serves both its embedding and its answer.

        Only an engine, which reads in several steps, can be told between them to stop.

        Raises:
            CancelledError: ``cancelled`` was set; an engine's place is free at its next step.
            EngineBusy: too many requests wait for an engine.
            ValueError: the conversation's last question is already answered.
        """
        return self.read_tokens(self.open_question(conversation), cancelled)

    def open_question(self, conversation: Conversation) -> list[int]:
        """The tokens of ``C_n``.

        Raises:
            ValueError: the conversation's last question is already answered.
        """
        if not conversation.waits:
            raise ValueError(
                f"conversation '{conversation.id}' has no open question; use "
                "Conversation.context(n)"
            )
        return self.template.conversation(conversation)

    def fitting(
        self, reading: Reading, passages: Sequence[Passage], max_new_tokens: int
    ) -> Sequence[Passage]:
        """The first of ``passages``, as many as the LM's context holds beside an answer."""
        if self.max_positions is None:
            return passages
        room = self.max_positions - len(reading.tokens) - max_new_tokens
        while passages and len(self.template.answer_suffix(passages)) > room:
            passages = passages[:-1]
        return passages

    def generate(
        self,
        conversation: Conversation | Reading,
        passages: Sequence[Passage] = (),
        **options: Any,
    ) -> Generation:
        """Writes the response piece by piece: closed-book, or grounded in ``passages``.
        Options are those of :class:`uniconv.decoding.Decoding`. A :class:`Reading` is not read
        again and can be used again afterwards.
        """
        decoding = Decoding(**options)
        reading = conversation if isinstance(conversation, Reading) else self.read(conversation)
        passages = self.fitting(reading, passages, decoding.max_new_tokens)
        suffix = self.template.answer_suffix(passages)
        writer = Writer(self.tokenizer, self.template.stop, decoding)
        sampler = Sampler(decoding, self.device)
        pieces = self._write(reading, suffix, writer, sampler)
        return Generation(pieces, writer, len(reading.tokens) + len(suffix))
