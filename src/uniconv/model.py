"""UniConv: one decoder LM that embeds conversations, embeds passages, and writes answers.

model = UniConv.from_pretrained("models/mini")
model.encode_passages([Passage("1", "The tower was built in 1893.")])   # float32 [1, d]
reading = model.read(Conversation.start("Who built the tower?"))        # one pass
reading.embedding                                                       # float32 [d]
"".join(model.generate(reading, passages))                              # reuses that pass
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from threading import Event
from typing import Any, Self, get_args

import numpy as np
import torch
from peft import PeftModel
from torch import Tensor
from transformers.cache_utils import DynamicCache

from uniconv.conversational import ConversationalModel, Reading
from uniconv.decoding import Sampler, Writer
from uniconv.errors import ModelError
from uniconv.files import atomic_folder
from uniconv.pooling import Pooling, pool
from uniconv.pretrained import (
    computes_in_bfloat16,
    load_network,
    read_settings,
    resolve,
    write_settings,
)
from uniconv.states import Reader, padded
from uniconv.templates import Limits, Template, TemplateKind, load_template
from uniconv.tree import Tokens
from uniconv.types import Passage


@dataclass(frozen=True, slots=True)
class Settings:
    """How states become embeddings and scores.

    ``temperature`` divides similarities in contrastive training (0.01 as in ChatRetriever).
    ``threshold`` is the confidence below which a question is declined, calibrated on labelled turns
    (``uniconv calibrate``); without one every question is answered. With ``quote`` answers are
    sentences of the passages, unless a search says otherwise: for models too small to put an answer
    into words.
    """

    pooling: Pooling = "last"
    temperature: float = 0.01
    threshold: float | None = None
    quote: bool = False

    def __post_init__(self) -> None:
        if self.pooling not in get_args(Pooling):
            raise ModelError(
                f"pooling '{self.pooling}' is unknown; choose one of {', '.join(get_args(Pooling))}"
            )
        if self.temperature <= 0:
            raise ModelError(f"temperature must be above 0, not {self.temperature}")


class UniConv(ConversationalModel):
    """A causal LM, its tokenizer and its template.

    What it does for conversations and passages is told in :class:`ConversationalModel`.

    ``network`` is the LM or its PEFT wrapper, ``training`` the record of how it was trained, and
    ``name`` what it was loaded from.
    """

    def __init__(
        self,
        network: Any,
        tokenizer: Any,
        template: Template,
        settings: Settings | None = None,
        training: Mapping[str, Any] | None = None,
        name: str = "",
    ) -> None:
        self.network = network
        self.tokenizer = tokenizer
        self.template = template
        self.settings = settings or Settings()
        self.training = training
        self.name = name
        self.rounds_passages = False
        self._reader: Reader | None = None

    # Loading and saving

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        template: TemplateKind = "auto",
        settings: Settings | None = None,
        limits: Limits | None = None,
        device: str | None = None,
        dtype: torch.dtype | None = None,
        trust_remote_code: bool = False,
        four_bits: bool = False,
    ) -> Self:
        """Loads a causal LM, a PEFT adapter, or a UniConv checkpoint, from a folder or the hub.

        ``"embedded"`` is the small model that comes with UniConv.

        Without ``device`` the first GPU is used, else the CPU; without ``dtype`` bfloat16 on CUDA
        and float32 elsewhere, where many passages are encoded in bfloat16 if the CPU computes in
        it; with ``dtype`` float32 nothing is. ``template``, ``settings`` and ``limits`` override
        what a UniConv checkpoint says of itself. ``four_bits`` quantises the LM's linear layers
        (the extra qlora).

        Raises:
            ModelError: there is no such model, or it isn't a causal LM.
            TemplateError: its chat format can't be used; choose ``template="plain"``.
        """
        folder = resolve(source)
        saved = read_settings(folder)
        network, tokenizer = load_network(folder, device, dtype, trust_remote_code, four_bits)
        model = cls(
            network,
            tokenizer,
            load_template(tokenizer, template, saved.get("template"), limits),
            settings or Settings(**saved.get("settings", {})),
            training=saved.get("training"),
            name=str(source),
        )
        on_cpu = dtype is None and model.device.type == "cpu"
        model.rounds_passages = on_cpu and computes_in_bfloat16(model.device)
        return model

    def save_pretrained(
        self,
        folder: str | Path,
        *,
        merge: bool = False,
        dtype: torch.dtype | None = None,
        training: Mapping[str, Any] | None = None,
        weights: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Writes weights (safetensors), tokenizer and ``uniconv.json``; all of it or nothing.

        An adapter is written alone, or folded into the LM's weights with ``merge``. ``dtype``
        converts the weights; ``training`` is kept as the record of how they were made.
        ``weights`` are written in place of the network's own, by the names of its ``state_dict``.
        """
        network = self.network
        if merge and isinstance(network, PeftModel):
            network = copy.deepcopy(network).merge_and_unload()
        if dtype is not None and dtype != network.dtype:
            network = copy.deepcopy(network).to(dtype)
        if training is not None:
            self.training = training
        with atomic_folder(folder) as temporary:
            network.save_pretrained(temporary, **({"state_dict": weights} if weights else {}))
            self.tokenizer.save_pretrained(temporary)
            self.save_settings(temporary)

    def save_settings(self, folder: str | Path) -> None:
        """Writes ``uniconv.json`` alone, beside weights that are already there."""
        write_settings(
            folder,
            {
                "settings": asdict(self.settings),
                "template": self.template.to_json(),
                "training": self.training,
            },
        )

    @property
    def lm(self) -> Any:
        """The causal LM itself, with any adapter's layers in place."""
        network = self.network
        return network.get_base_model() if isinstance(network, PeftModel) else network

    @property
    def device(self) -> torch.device:
        return torch.device(self.lm.device)

    @property
    def dimension(self) -> int:
        """The length of embeddings."""
        return int(self.lm.config.get_text_config().hidden_size)

    @property
    def max_positions(self) -> int | None:
        """The most tokens that the LM can read and write in one go, if its configuration says."""
        limit = getattr(self.lm.config.get_text_config(), "max_position_embeddings", None)
        return None if limit is None else int(limit)

    @property
    def quotes(self) -> bool:
        return self.settings.quote

    @cached_property
    def fingerprint(self) -> str:
        """A checksum of all that embeddings depend on; an index keeps it to refuse other models.

        Weights enter by a few values of each tensor, rounded to bfloat16, so that it is cheap and
        the same in every precision.
        """
        digest = hashlib.sha256()
        about = {
            "frame": self.template.to_json()["frame"],
            "passage": self.template.limits.passage,
            "pooling": self.settings.pooling,
        }
        digest.update(json.dumps(about, sort_keys=True).encode())
        for name, weights in sorted(self.network.state_dict().items()):
            flat = weights.detach().reshape(-1)
            sample = flat[:: max(1, flat.numel() // 64)].to(torch.bfloat16).float().cpu()
            digest.update(f"{name}{tuple(weights.shape)}".encode())
            digest.update(sample.numpy().tobytes())
        return digest.hexdigest()[:16]

    # Embedding

    def embed(self, sequences: Sequence[Tokens], *, batch_tokens: int = 16_384) -> Tensor:
        """Embeddings of token sequences that end with the marker, in the order given.

        Returns float32 [n, d], L2-normalised, with gradients where they are enabled. What sequences
        have in common at their beginning is read once; passes take at most ``batch_tokens``
        tokens with their padding.
        """
        states = self.reader.read_all(sequences, batch_tokens)
        return self.pool(states.hidden, states.paths)

    def pool(self, hidden: Tensor, paths: Sequence[Tensor]) -> Tensor:
        """Embeddings of paths through states, as in :class:`uniconv.states.States`."""
        if self.settings.pooling == "last":  # nothing else is gathered, nor given a gradient
            paths = [path[-1:] for path in paths]
        rows, mask = padded(paths)
        return pool(hidden[rows], mask, self.settings.pooling)

    @property
    def reader(self) -> Reader:
        """What runs the LM over many sequences."""
        if self._reader is None or self._reader.lm is not self.lm:
            self._reader = Reader(self.lm)
        return self._reader

    def encode(
        self,
        sequences: Sequence[Tokens],
        *,
        batch_tokens: int | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> np.ndarray:
        """As :meth:`embed`, without gradients and in an array: memory holds one pass at a time.

        Passes take 16,384 tokens, and 2,048 on a CPU, if ``batch_tokens`` says nothing else.
        ``progress`` is told the number of sequences of each finished pass.
        """
        if batch_tokens is None:  # of more than 2,048 tokens too little stays in a CPU's cache
            batch_tokens = 2048 if self.device.type == "cpu" else 16_384
        embeddings = np.empty((len(sequences), self.dimension), dtype=np.float32)
        with torch.inference_mode():
            for states in self.reader.read(sequences, batch_tokens):
                embeddings[states.rows] = self.pool(states.hidden, states.paths).cpu().numpy()
                if progress is not None:
                    progress(len(states.rows))
        return embeddings

    def encode_passages(self, passages: Sequence[Passage], **options: Any) -> np.ndarray:
        """Embeddings of passages to be retrieved, float32 [n, d]; options as of :meth:`encode`.

        Where ``rounds_passages`` is set, as :meth:`from_pretrained` does, a CPU computes them in
        bfloat16: for thousands of passages that is up to twice as fast, and changes similarities
        in the third or fourth decimal.
        """
        with torch.autocast("cpu", torch.bfloat16, enabled=self.rounds_passages):
            return super().encode_passages(passages, **options)

    # Reading once, and answering

    @torch.inference_mode()
    def read_tokens(self, tokens: list[int], cancelled: Event | None = None) -> Reading:
        del cancelled
        ids = torch.tensor([[*tokens, self.template.marker]], device=self.device)
        cache = DynamicCache(config=self.lm.config.get_text_config())
        hidden = self.lm.base_model(
            input_ids=ids, past_key_values=cache, use_cache=True
        ).last_hidden_state
        mask = torch.ones_like(ids, dtype=torch.bool)
        embedding = pool(hidden, mask, self.settings.pooling)[0].cpu().numpy()
        cache.crop(-1)  # the marker is a branch: the answer must not see it
        return Reading(tokens, embedding, cache=cache)

    @torch.inference_mode()
    def _write(
        self, reading: Reading, suffix: list[int], writer: Writer, sampler: Sampler
    ) -> Iterator[str]:
        read = self.read_tokens(reading.tokens) if reading.cache is None else reading
        cache: Any = read.cache
        pending, added = suffix, 0
        if not pending:  # a format without an assistant header: the last token predicts the answer
            pending = reading.tokens[-1:]
            cache = copy.deepcopy(cache)
            cache.crop(-1)
        try:
            while writer.finish_reason is None:
                ids = torch.tensor([pending], device=self.device)
                added += len(pending)
                logits = self.lm(
                    input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1
                ).logits[0, -1]
                pending = [sampler(logits)]
                yield writer.push(pending[0])
        finally:
            if suffix and added:
                cache.crop(-added)
