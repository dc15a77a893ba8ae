"""Can a model learn one turn by heart? The first thing to try with a new backbone.

    uniconv study overfit --model MODEL

One turn is trained on with the joint objective until its passage ranks first among all passages
and the exact response is generated. A backbone, template or setting with which even this fails is
broken, and it shows in a minute.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from uniconv.config import Adapter, DataConfig, ModelConfig, Objectives, OverfitConfig, Source
from uniconv.data.beir import read_corpus
from uniconv.data.conversations import read_conversations
from uniconv.errors import ConfigError, DataError
from uniconv.model import UniConv
from uniconv.training.batch import PARTS
from uniconv.training.collate import Collator
from uniconv.training.examples import Example, Examples
from uniconv.training.network import unfreeze
from uniconv.training.objective import Objective
from uniconv.types import Conversation, Passage, Turn

CONVERSATION = Conversation(
    "lighthouse",
    (
        Turn("Which lighthouse stands north of the bay?", "The Marrow Point light."),
        Turn("When was it lit?", "It was lit in October 1871 [1].", positives=("marrow-2",)),
    ),
)
PASSAGES = (
    Passage("marrow-1", "Two keepers and their families lived at the light.", "Marrow Point"),
    Passage("marrow-2", "The lamp was first lit in October 1871.", "Marrow Point"),
    Passage("heron-1", "The lamp of Heron Rock was first lit in May 1902.", "Heron Rock"),
    Passage("heron-2", "Heron Rock stands south of the bay.", "Heron Rock"),
    Passage("bay-1", "The bay freezes in most winters.", "The bay"),
)
"""What is learned where nothing else is given."""


@dataclass(frozen=True, slots=True)
class OverfitReport:
    """How it went: ``learned`` after ``steps``, with the passage's rank and what was written."""

    learned: bool
    steps: int
    rank: int
    passages: int
    response: str
    expected: str
    losses: Mapping[str, float]

    def __str__(self) -> str:
        verdict = "learned" if self.learned else "NOT learned"
        parts = ", ".join(f"{name} {value:.4f}" for name, value in self.losses.items())
        return (
            f"{verdict} after {self.steps} steps\n"
            f"passage: rank {self.rank} of {self.passages}\n"
            f"response: {self.response}\nexpected: {self.expected}\nlosses: {parts}"
        )


def overfit(
    config: OverfitConfig, progress: Callable[[int, Mapping[str, float]], None] | None = None
) -> OverfitReport:
    """Runs the study; ``progress`` is told the step and the loss parts of every step.

    Raises:
        ConfigError: there is no such turn.
        DataError: an input line is malformed or the turn's passage is in no corpus.
        ModelError: the model can't be loaded.
    """
    example, passages = _material(config)
    torch.manual_seed(config.seed)
    model = UniConv.from_pretrained(config.model, dtype=torch.float32)
    method = ModelConfig(config.model, config.method, Adapter(dropout=0.0))
    unfreeze(model, method)
    return learn_turn(
        model,
        example,
        passages,
        steps=config.steps,
        learning_rate=config.learning_rate,
        progress=progress,
    )


def learn_turn(
    model: UniConv,
    example: Example,
    passages: Sequence[Passage],
    *,
    steps: int,
    learning_rate: float,
    progress: Callable[[int, Mapping[str, float]], None] | None = None,
) -> OverfitReport:
    """Trains ``model`` in place on one turn whose positives are among ``passages``."""
    # With one response in the batch CII has nothing to tell apart; its weight is kept, at no loss.
    weights = Objectives(temperature=model.settings.temperature)
    objective = Objective(model, weights)
    collate = _collator(model, example, passages, weights)
    trainable = [one for one in objective.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=learning_rate, weight_decay=0.0)
    losses: dict[str, float] = {}
    for step in range(1, steps + 1):
        batch = collate([(0, random.Random(step))])
        objective.train()
        scale = [1 / count if count else 0.0 for count in batch.counts]
        loss, sums = objective(batch, scale)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(trainable, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        counts = zip(PARTS, batch.counts, strict=True)
        losses = {part: float(sums[part]) / count for part, count in counts if part in sums}
        if progress is not None:
            progress(step, losses)
        if step % 10 == 0 or step == steps:
            objective.eval()
            report = _report(model, example, passages, step, losses)
            if report.learned:
                break
    return report


def _report(
    model: UniConv,
    example: Example,
    passages: Sequence[Passage],
    step: int,
    losses: Mapping[str, float],
) -> OverfitReport:
    query = model.encode_conversations([example.context])[0]
    scores = model.encode_passages(passages) @ query
    relevant = np.array([passage.id in example.turn.positives for passage in passages])
    rank = 1 + int((scores[~relevant] >= scores[relevant].max()).sum())
    # What the limit on responses cuts off can't be learned.
    tokens = model.template.response(example.turn.response or "")
    expected = model.tokenizer.decode([t for t in tokens if t not in model.template.stop])
    written = model.generate(example.context, max_new_tokens=len(tokens) + 8)
    response, expected = "".join(written).strip(), expected.strip()
    learned = rank == 1 and response == expected
    return OverfitReport(learned, step, rank, len(passages), response, expected, losses)


def _collator(
    model: UniConv, example: Example, passages: Sequence[Passage], weights: Objectives
) -> Collator:
    source = Source((Path("one turn"),))
    others = tuple(one.id for one in passages if one.id not in example.turn.positives)
    turns = list(example.conversation.turns)
    turns[example.number - 1] = replace(example.turn, negatives=others)
    one = Example(Conversation(example.conversation.id, tuple(turns)), example.number, 0)
    examples = Examples([source], [one], [{passage.id: passage for passage in passages}], [[]])
    return Collator(model.template, examples, DataConfig((source,), hard_negatives=16), weights)


def _material(config: OverfitConfig) -> tuple[Example, list[Passage]]:
    """The turn, and its passages among distractors."""
    if config.conversations is None:
        return Example(CONVERSATION, len(CONVERSATION.turns), 0), list(PASSAGES)
    example = _find(config.conversations, config.query_id)
    relevant: list[Passage] = []
    others: list[Passage] = []
    for path in config.corpora:
        for passage in read_corpus(path):
            if passage.id in example.turn.positives:
                relevant.append(passage)
            elif len(others) < config.distractors or passage.id in example.turn.negatives:
                others.append(passage)
    if not relevant:
        problem = f"no corpus holds passage '{example.turn.positives[0]}' of the turn to learn"
        raise DataError(config.conversations, None, problem)
    return example, [*relevant, *others]


def _find(path: Path, query_id: str | None) -> Example:
    for conversation in read_conversations(path):
        for number, turn in enumerate(conversation.turns, start=1):
            wanted = query_id in (None, conversation.query_id(number))
            if wanted and turn.positives and turn.response and turn.response.strip():
                return Example(conversation, number, 0)
    name = "" if query_id is None else f" '{query_id}'"
    raise ConfigError(f"{path}: there is no turn{name} with a positive and a response")
