"""What an evaluation of responses is told; nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from uniconv.errors import ConfigError
from uniconv.evaluation.generators import EXTRACTIVE
from uniconv.evaluation.grounding import SUPPORT
from uniconv.evaluation.protocols import History, PassageKind
from uniconv.evaluation.response_metrics import Scoring


@dataclass(frozen=True, slots=True)
class ResponseEvaluation:
    """What is evaluated: the response to every turn that has a reference."""

    conversations: Path
    """Conversations as JSONL."""
    out: Path
    """The folder for predictions and results."""
    passages: tuple[PassageKind, ...] = ("retrieved",)
    """One or several of: retrieved (the whole search), relevant (the turn's positives, an upper
    bound), irrelevant (random ones, none of them a positive), none (the generator alone)."""
    history: tuple[History, ...] = ("all",)
    """How many of the turns before the question are shown, to retrieval too; one or several."""
    index: Path | None = None
    """An index folder."""
    corpus: Path | None = None
    """A corpus.jsonl with the relevant and irrelevant passages, where there is no index."""
    model: str | None = None
    """Where the index's model is now, if it has moved; the model that responds where there is no
    index."""
    generator: str | None = None
    """What responds in place of the index's model: another model, the URL of an OpenAI-compatible
    server (its key in OPENAI_API_KEY), or extractive (the best sentence of the first passage)."""
    generator_model: str | None = None
    """The model's name on the server."""
    retriever: Literal["hybrid", "dense", "bm25"] = "hybrid"
    """How passages are retrieved."""
    threshold: float | None = None
    """The confidence below which the index's model declines, in place of its calibrated one."""
    quote: bool | None = None
    """Whether responses are whole sentences of the passages, in place of the model's setting."""
    read: int = 3
    """How many passages are read at most."""
    references: Path | None = None
    """All reference responses by query id, as data sets with several have them."""
    scoring: Scoring = "squad"
    """Whose F1: squad (best reference), coqa (CoQA, TopiOCQA) or quac (QuAC, OR-QuAC)."""
    support: float = SUPPORT
    """The share of a sentence's content words that a cited passage must hold to support it."""
    bertscore: str | None = None
    """A model for BERTScore, such as roberta-large or a folder (extra bertscore)."""
    judge: str | None = None
    """The URL of an OpenAI-compatible server whose model grades every response from 1 to 5."""
    judge_model: str | None = None
    """The judge's name on its server."""
    judged: bool = False
    """Only turns with positives, so that all kinds of passages have the same turns."""
    max_new_tokens: int = 128
    """The longest response."""
    timeout: float = 120.0
    """Seconds that a server may take for a reply."""
    retries: int = 4
    """How often a request is sent again after a failure that may pass."""
    limit: int | None = None
    """Only so many turns, the first ones."""
    seed: int = 0
    """Of irrelevant passages and bootstrap intervals."""

    def __post_init__(self) -> None:
        kinds = set(self.passages)
        if not self.passages or not self.history:
            raise ConfigError("name at least one kind of passages and one length of history")
        if any(turns != "all" and turns < 0 for turns in self.history):
            raise ConfigError("history must be 0 or more turns, or all")
        if "retrieved" in kinds and self.index is None:
            raise ConfigError("retrieved passages need an index")
        if kinds & {"relevant", "irrelevant"} and self.index is None and self.corpus is None:
            raise ConfigError(
                "relevant and irrelevant passages need the index or corpus that holds them"
            )
        if self.generator is None and self.model is None and self.index is None:
            raise ConfigError("give the model that is to respond")
        if self.generator == EXTRACTIVE and "none" in kinds:
            raise ConfigError("extractive copies from a passage; it can't respond to none")
        for url, name in (("generator", "generator_model"), ("judge", "judge_model")):
            server = getattr(self, url)
            is_server = url == "judge" or is_url(server or "")
            if server is not None and is_server != (getattr(self, name) is not None):
                raise ConfigError(
                    f"--{name.replace('_', '-')} names the model on the server that --{url} gives "
                    "the URL of; give both"
                )
        if self.read < 1 or self.max_new_tokens < 1:
            raise ConfigError("read and max_new_tokens must be 1 or more")
        if self.timeout <= 0 or self.retries < 0:
            raise ConfigError("timeout must be above 0 and retries 0 or more")
        if not 0 < self.support <= 1:
            raise ConfigError("support must be above 0 and at most 1")


def is_url(text: str) -> bool:
    """Whether a generator is a server."""
    return text.startswith(("http://", "https://"))
