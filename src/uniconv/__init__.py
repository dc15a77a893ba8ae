"""UniConv: one language model that retrieves for a conversation and writes the cited answer."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uniconv.model import UniConv as UniConv
    from uniconv.retrieval.interface import Index as Index
    from uniconv.search import ConversationalSearch as ConversationalSearch
    from uniconv.types import Answer as Answer
    from uniconv.types import Citation as Citation
    from uniconv.types import Conversation as Conversation
    from uniconv.types import Passage as Passage
    from uniconv.types import ScoredPassage as ScoredPassage
    from uniconv.types import Turn as Turn

_HOMES = {
    "UniConv": "uniconv.model",
    "Index": "uniconv.retrieval.interface",
    "ConversationalSearch": "uniconv.search",
} | dict.fromkeys(
    ("Answer", "Citation", "Conversation", "Passage", "ScoredPassage", "Turn"), "uniconv.types"
)

__all__ = [
    "Answer",
    "Citation",
    "Conversation",
    "ConversationalSearch",
    "Index",
    "Passage",
    "ScoredPassage",
    "Turn",
    "UniConv",
]


def __getattr__(name: str) -> Any:
    # Lazily, because torch takes seconds to import and `uniconv --help` should not.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'uniconv' has no attribute '{name}'")
