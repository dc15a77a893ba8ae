"""A teacher: opened, asked once for all that can be kept, and then for its distributions."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers.utils import cached_file

from uniconv.config import Distillation, TrainConfig, all_objectives
from uniconv.config.distillation import MODULES, encoder_problems
from uniconv.errors import ConfigError
from uniconv.model import UniConv
from uniconv.pretrained import EMBEDDED
from uniconv.retrieval.encoding import ConversationEncoder
from uniconv.retrieval.queries import query_text
from uniconv.training.distillation import Distiller, TokenTeacher
from uniconv.training.examples import Examples
from uniconv.training.network import check_length
from uniconv.training.teacher_embeddings import embed_once
from uniconv.training.teacher_responses import write_responses
from uniconv.types import Conversation

SENTENCE_TEMPERATURE = 0.05
"""What the contrastive losses of sentence-transformers divide cosines by, unless told otherwise."""


def open_teacher(config: TrainConfig, device: torch.device) -> Teacher | None:
    """The teacher of a configuration, loaded on the device that this process trains on.

    Raises:
        ModelError: it can't be loaded.
        ConfigError: it only embeds, and more is asked of it.
    """
    settings = config.distillation
    return None if settings is None else Teacher(config, settings, device)


class Teacher:
    """A UniConv checkpoint, another causal LM, or a sentence-transformers model."""

    def __init__(self, config: TrainConfig, settings: Distillation, device: torch.device) -> None:
        self._config = config
        self._settings = settings
        self._weights = all_objectives(config)
        folder = settings.folder or config.output / "teacher"
        self.encoder: ConversationEncoder
        self._reads: str
        if _is_sentence_model(settings):
            from uniconv.retrieval.sentence_encoder import SentenceEncoder

            for problem in encoder_problems(settings, self._weights):
                raise ConfigError(problem)
            self.encoder = SentenceEncoder(settings.teacher, settings.query)
            self._reads = settings.query
        else:
            self.encoder = UniConv.from_pretrained(
                settings.teacher,
                device=str(device),
                dtype=torch.float32 if device.type == "cpu" else None,  # exact in every process
                trust_remote_code=config.model.trust_remote_code,
            )
            self._reads = f"{settings.query} {self.encoder.template.limits}"
        self.folder = folder / self.encoder.fingerprint

    def write_responses(self, examples: Examples) -> Examples:
        """Examples with the teacher's responses, where the settings ask for them."""
        if self._settings.responses == "none":
            return examples
        assert isinstance(self.encoder, UniConv)
        return write_responses(
            self.encoder,
            examples,
            self.folder,
            grounded=self._settings.responses == "grounded",
            max_new_tokens=self._config.model.response_tokens,
            passages=self._config.data.grounded_passages,
        )

    def prepare(self, student: UniConv, examples: Examples, dev: Examples | None) -> Distiller:
        """What is to be learned; the teacher itself is kept only if it is needed at every step."""
        settings, weights, tokens, embeddings = self._settings, self._weights, None, None
        if weights.tokens or weights.grounded_tokens:
            assert isinstance(self.encoder, UniConv)
            budget = self._config.optimisation.forward_tokens
            tokens = TokenTeacher(self.encoder, student, budget)
            check_length(self.encoder, student.template, self._config, settings.teacher)
        if weights.scores or weights.embeddings:
            own = SENTENCE_TEMPERATURE
            if isinstance(self.encoder, UniConv):
                own = self.encoder.settings.temperature
            embeddings = embed_once(
                self.encoder,
                [examples] if dev is None else [examples, dev],
                self.folder,
                temperature=settings.temperature or own,
                reads=self._reads,
                asked=self._asked,
            )
        return Distiller(settings, embeddings, tokens)

    def _asked(self, context: Conversation) -> Conversation:
        """What the teacher reads for a context; a sentence encoder makes a text of it itself."""
        form = self._settings.query
        if form == "history" or not isinstance(self.encoder, UniConv):
            return context
        if form == "rewrite" and not context.turns[-1].rewrite:
            return context
        return Conversation.start(query_text(context, form))


def _is_sentence_model(settings: Distillation) -> bool:
    if settings.kind != "auto":
        return settings.kind == "sentence-transformers"
    if settings.teacher == EMBEDDED or Path(settings.teacher).is_dir():
        return (Path(settings.teacher) / MODULES).is_file()
    try:
        return cached_file(settings.teacher, MODULES) is not None
    except OSError:  # the hub has no such file
        return False
