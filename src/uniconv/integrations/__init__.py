"""UniConv in other people's stacks: LangChain, LlamaIndex, Haystack.

Each module needs the extra of its name and works on a :class:`uniconv.search.ConversationalSearch`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from uniconv.messages import from_messages
from uniconv.search import ConversationalSearch, SearchSettings
from uniconv.types import ScoredPassage


def needs(extra: str) -> str:
    """The message of an ImportError where the extra isn't installed."""
    return f"uniconv.integrations.{extra} needs the extra {extra}: pip install 'uniconv[{extra}]'"


def with_k(settings: SearchSettings, k: int | None) -> SearchSettings:
    """The settings for ``k`` passages; as they are without one."""
    return settings if k is None else replace(settings, retrieve=k, read=min(settings.read, k))


def retrieve(
    search: ConversationalSearch, query: str, history: Sequence[Mapping[str, str]], k: int | None
) -> list[ScoredPassage]:
    """The passages for a question that follows the messages of ``history``.

    Raises:
        MessagesError: the history is no conversation that the question could follow.
    """
    conversation = from_messages([*history, {"role": "user", "content": query}])
    return search.retrieve(conversation, with_k(search.settings, k))
