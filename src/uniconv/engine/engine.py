"""What a model does, done for many threads at once, with every conversation read once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from threading import Event
from typing import Any, Self

import numpy as np

from uniconv.decoding import Decoding, Generation, Sampler, Writer
from uniconv.engine.drafts import PromptLookup
from uniconv.engine.jobs import Embedding, Pieces, ReadingJob, Writing
from uniconv.engine.kernels import Kernels
from uniconv.engine.scheduler import EngineSettings, Scheduler, Statistics
from uniconv.errors import ModelError
from uniconv.model import Reading, Settings, UniConv
from uniconv.templates import Template
from uniconv.tree import Tokens
from uniconv.types import Conversation, Passage


class Engine:
    """A model at work for many conversations; a context manager that closes it.

    It has the verbs of :class:`uniconv.model.UniConv`, and gives what they give.

    Raises:
        ModelError: the backbone doesn't take an attention pattern, or has no plain output layer.
    """

    def __init__(self, model: UniConv, settings: EngineSettings | None = None) -> None:
        if model.reader.way not in ("flex", "segments") or not model.reader.has_plain_head:
            raise ModelError(
                f"{model.name or 'this model'}: the engine needs a backbone with transformers' "
                "attention interface and a plain output layer (Llama, Mistral, Qwen, GPT-2 and "
                "most others); use the model itself, one conversation at a time"
            )
        self.model = model
        self._settings = settings or EngineSettings()
        self._kernels = Kernels(model.lm)
        self._scheduler = Scheduler(model, self._settings)

    # As the model

    @property
    def settings(self) -> Settings:
        return self.model.settings

    @property
    def template(self) -> Template:
        return self.model.template

    @property
    def fingerprint(self) -> str:
        return self.model.fingerprint

    @property
    def dimension(self) -> int:
        return self.model.dimension

    @property
    def name(self) -> str:
        return self.model.name

    def read(self, conversation: Conversation, cancelled: Event | None = None) -> Reading:
        """As :meth:`UniConv.read`; what was read for earlier turns isn't read again.

        Raises:
            CancelledError: ``cancelled`` was set; the place is free at the engine's next step.
            EngineBusy: too many requests wait.
            ValueError: the conversation's last question is already answered.
        """
        tokens = self.model.open_question(conversation)
        job = ReadingJob(self.model, tokens, self._scheduler.counts, cancelled)
        self._scheduler.submit([job], bounded=True)
        reading: Reading = job.result.result()
        return reading

    def fitting(
        self, reading: Reading, passages: Sequence[Passage], max_new_tokens: int
    ) -> Sequence[Passage]:
        """As :meth:`UniConv.fitting`."""
        return self.model.fitting(reading, passages, max_new_tokens)

    def generate(
        self,
        conversation: Conversation | Reading,
        passages: Sequence[Passage] = (),
        **options: Any,
    ) -> Generation:
        """As :meth:`UniConv.generate`. What was read is not refused, however many wait."""
        decoding = Decoding(**options)
        reading = conversation if isinstance(conversation, Reading) else self.read(conversation)
        passages = self.fitting(reading, passages, decoding.max_new_tokens)
        suffix = self.template.answer_suffix(passages)
        writer = Writer(self.model.tokenizer, self.template.stop, decoding)
        pieces: Iterator[str] = iter(())
        if writer.finish_reason is None:
            drafts = PromptLookup(suffix) if passages and self._settings.draft_tokens else None
            sampler = Sampler(decoding, self.model.device)
            counts = self._scheduler.counts
            room = decoding.max_new_tokens
            job = Writing(reading.tokens, suffix, writer, sampler, drafts, room, counts)
            self._scheduler.submit([job])
            pieces = Pieces(job)
        return Generation(pieces, writer, len(reading.tokens) + len(suffix))

    def encode(
        self, sequences: Sequence[Tokens], *, progress: Callable[[int], None] | None = None
    ) -> np.ndarray:
        """As :meth:`UniConv.encode`, between what else is to do."""
        jobs = [Embedding(self.model, list(tokens)) for tokens in sequences]
        self._scheduler.submit(jobs)
        embeddings = np.empty((len(jobs), self.model.dimension), np.float32)
        for row, job in enumerate(jobs):
            embeddings[row] = job.result.result()
            if progress is not None:
                progress(1)
        return embeddings

    def encode_passages(self, passages: Sequence[Passage], **options: Any) -> np.ndarray:
        """As :meth:`UniConv.encode_passages`."""
        return self.encode([self.template.passage(one) for one in passages], **options)

    def encode_conversations(
        self, conversations: Sequence[Conversation], **options: Any
    ) -> np.ndarray:
        """As :meth:`UniConv.encode_conversations`; nothing is kept for later turns."""
        marker = [self.template.marker]
        return self.encode([self.model.open_question(c) + marker for c in conversations], **options)

    # Around the work

    @property
    def statistics(self) -> Statistics:
        """What was done so far."""
        return self._scheduler.statistics

    @property
    def packed_bytes(self) -> int:
        """The memory of weights that are there twice, to be read faster (0 on a GPU)."""
        return self._kernels.nbytes

    def close(self) -> None:
        """Takes nothing more, and returns when all that it was asked for is done."""
        self._scheduler.close()
        self._kernels.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
