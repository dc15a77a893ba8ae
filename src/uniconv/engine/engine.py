"""What a model does, done for many threads at once, with every conversation read once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from threading import Event
from typing import Self

import numpy as np
import torch

from uniconv.conversational import ConversationalModel, Reading
from uniconv.decoding import Sampler, Writer
from uniconv.engine.drafts import PromptLookup
from uniconv.engine.jobs import Embedding, Pieces, ReadingJob, Writing
from uniconv.engine.kernels import Kernels
from uniconv.engine.scheduler import EngineSettings, Scheduler, Statistics
from uniconv.errors import ModelError
from uniconv.model import Settings, UniConv
from uniconv.tree import Tokens


class Engine(ConversationalModel):
    """A model at work for many conversations; a context manager that closes it.

    It does what :class:`uniconv.model.UniConv` does, and gives the same. What was read for earlier
    turns isn't read again; what was read is answered, however many wait.

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
        self.tokenizer = model.tokenizer
        self.template = model.template
        self.name = model.name
        self._settings = settings or EngineSettings()
        self._fingerprint = model.fingerprint  # while the weights are where they are
        self._kernels = Kernels(model.lm)
        self._scheduler = Scheduler(model, self._settings)

    # As the model

    @property
    def settings(self) -> Settings:
        return self.model.settings

    @property
    def quotes(self) -> bool:
        return self.model.quotes

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    @property
    def dimension(self) -> int:
        return self.model.dimension

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def max_positions(self) -> int | None:
        return self.model.max_positions

    def read_tokens(self, tokens: list[int], cancelled: Event | None = None) -> Reading:
        job = ReadingJob(self.model, tokens, self._scheduler.counts, cancelled)
        self._scheduler.submit([job], bounded=True)
        reading: Reading = job.result.result()
        return reading

    def _write(
        self, reading: Reading, suffix: list[int], writer: Writer, sampler: Sampler
    ) -> Iterator[str]:
        if writer.finish_reason is not None:
            return iter(())
        drafts = PromptLookup(suffix) if self._settings.draft_tokens else None
        job = Writing(reading.tokens, suffix, writer, sampler, drafts, self._scheduler.counts)
        self._scheduler.submit([job])
        return Pieces(job)

    def encode(
        self, sequences: Sequence[Tokens], *, progress: Callable[[int], None] | None = None
    ) -> np.ndarray:
        """As :meth:`UniConv.encode`, between what else is to do."""
        return self._embed(sequences, progress)

    def encode_now(self, sequences: Sequence[Tokens]) -> np.ndarray:
        return self._embed(sequences, background=False)

    def _embed(
        self,
        sequences: Sequence[Tokens],
        progress: Callable[[int], None] | None = None,
        *,
        background: bool = True,
    ) -> np.ndarray:
        jobs = [Embedding(self.model, list(tokens), background=background) for tokens in sequences]
        self._scheduler.submit(jobs)
        embeddings = np.empty((len(jobs), self.model.dimension), np.float32)
        for row, job in enumerate(jobs):
            embeddings[row] = job.result.result()
            if progress is not None:
                progress(1)
        return embeddings

    # Around the work

    @property
    def statistics(self) -> Statistics:
        """What was done so far."""
        return self._scheduler.statistics

    @property
    def weight_bytes(self) -> int:
        """The memory that the weights take: on a CPU half of float32, where float16 holds them."""
        return self._kernels.weight_bytes

    def close(self) -> None:
        """Takes nothing more, and returns when all that it was asked for is done."""
        self._scheduler.close()
        self._kernels.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
