"""The teacher that a model learns from, beside or in place of its data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from uniconv.config.mining import QueryForm
from uniconv.config.objectives import TAUGHT, Objectives
from uniconv.config.ranges import number

TeacherKind = Literal["auto", "uniconv", "sentence-transformers"]


@dataclass(frozen=True, slots=True)
class Distillation:
    """A teacher. What is learned from it, and with which weight, ``objectives`` say."""

    teacher: str
    """A folder or hub id: a UniConv checkpoint, any causal LM, or a sentence-transformers model."""
    kind: TeacherKind = "auto"
    """auto: what has a modules.json is a sentence-transformers model."""
    temperature: float | None = number(None, above=0)
    """none: divides the teacher's similarities (the student's are divided by
    objectives.temperature); a UniConv teacher's own, and 0.05 for sentence-transformers, whose
    contrastive losses multiply cosines by 20."""
    token_temperature: float = number(1.0, above=0)
    """1: divides both sides' logits; above 1 unlikely tokens count more (Hinton et al. 2015)."""
    query: QueryForm = "history"
    """history: what the teacher embeds of a conversation. With ``rewrite`` the student learns to
    embed the conversation as the teacher embeds the self-contained question (ConvDR, Yu et al.
    2021); the teacher may be the same model as it was before. A turn that has no rewrite is read
    whole by a UniConv teacher, and refused by others."""
    responses: Literal["none", "closed", "grounded"] = "none"
    """none: responses are those of the data. Otherwise the teacher writes them anew, greedily, and
    the student learns those (sequence level, Kim and Rush 2016), which needs no common tokenizer:
    from the conversation alone (closed), or with the turn's relevant passages (grounded). What was
    said before stays as it is in the data."""
    folder: Path | None = None
    """none: where the teacher's embeddings and responses are kept, for every run that names it;
    ``output/teacher`` by default."""


def distillation_problems(settings: Distillation | None, weights: Objectives) -> Iterator[str]:
    """What can't be, known without loading the teacher. ``weights`` are those of all stages."""
    taught = [name for name in TAUGHT if getattr(weights, name)]
    if settings is None:
        for name in taught:
            yield f"objectives.{name}: there is no teacher; name one as distillation.teacher"
        return
    if not taught and settings.responses == "none":
        yield (
            f"distillation: nothing is learned from the teacher; give one of {', '.join(TAUGHT)} a "
            "weight in objectives, or set distillation.responses"
        )
    embeds_only = settings.kind == "sentence-transformers"
    if settings.kind == "auto":
        embeds_only = (Path(settings.teacher) / MODULES).is_file()
    if embeds_only:
        yield from encoder_problems(settings, weights)


def encoder_problems(settings: Distillation, weights: Objectives) -> Iterator[str]:
    """What a sentence-transformers teacher can't do."""
    asked = [name for name in ("tokens", "grounded_tokens") if getattr(weights, name)]
    asked += ["responses"] if settings.responses != "none" else []
    if asked:
        yield (
            f"distillation: {settings.teacher} is a sentence-transformers model, which only "
            f"embeds, but {', '.join(asked)} need a UniConv checkpoint or another causal LM"
        )


MODULES = "modules.json"
"""The file that a sentence-transformers model has and others don't."""
