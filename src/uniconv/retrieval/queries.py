"""What a conversation is searched with, and hybrid retrieval, which searches with several texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from uniconv.config import QueryForm
from uniconv.errors import UniConvError
from uniconv.retrieval.fusion import score_fusion
from uniconv.types import Conversation, ScoredPassage

if TYPE_CHECKING:
    from uniconv.retrieval.filters import MetadataFilters
    from uniconv.retrieval.interface import Index


_BEGINNING = 16
"""Words of a response that tell what it is about; chosen on held-out turns (docs/lab-log.md)."""


def history_text(conversation: Conversation, response_words: int | None = None) -> str:
    """All that was said so far, joined by spaces: the text that sparse retrieval searches with.

    With ``response_words``, of each response only so many words, as white space parts them.
    """
    said: list[str] = []
    for turn in conversation.turns:
        response = turn.response or ""
        if response_words is not None:
            response = " ".join(response.split()[:response_words])
        said += [text for text in (turn.query, response) if text]
    return " ".join(said)


def query_text(conversation: Conversation, form: QueryForm) -> str:
    """What sparse retrieval searches with for the last turn of a context.

    Raises:
        UniConvError: the turn has no rewrite and ``form`` asks for it.
    """
    last = conversation.turns[-1]
    match form:
        case "last":
            return last.query
        case "questions":
            return " ".join(turn.query for turn in conversation.turns)
        case "history":
            return history_text(conversation)
        case "rewrite":
            if not last.rewrite:
                id = conversation.query_id(len(conversation.turns))
                raise UniConvError(f"query '{id}' has no rewrite; choose another form of query")
            return last.rewrite


def fused_depth(k: int) -> int:
    """How deep rankings go whose best ``k`` together are wanted: what is common needs a sample."""
    return max(k, 100)


def fuse(
    index: Index,
    conversations: Sequence[Conversation],
    dense: Sequence[Sequence[ScoredPassage]],
    k: int,
    filters: MetadataFilters | None = None,
) -> list[list[ScoredPassage]]:
    """Hybrid rankings: the model's, BM25's for the history, and BM25's for the last question.

    ``dense`` are the model's, :func:`fused_depth` deep. The history has the beginnings of its
    responses alone: a long one, above all one that is quoted, finds the passage it is from again.
    """
    depth = min(fused_depth(k), max(1, index.count(filters)))
    histories = [history_text(conversation, _BEGINNING) for conversation in conversations]
    questions = [conversation.turns[-1].query for conversation in conversations]
    by_history = index.search_text(histories, depth, filters)
    follow_ups = any(len(conversation.turns) > 1 for conversation in conversations)
    by_question = by_history
    if follow_ups:
        by_question = index.search_text(questions, depth, filters)
    rows = zip(dense, by_history, by_question, conversations, strict=True)
    return [
        # A first question is its whole history: it has one voice, not two.
        score_fusion(rankings if len(conversation.turns) > 1 else rankings[:2], k, depth=depth)
        for *rankings, conversation in rows
    ]
