"""What a server serves: OpenAI's list of models, and what vLLM adds to it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from uniconv.errors import RemoteError
from uniconv.remote.server import Server


@dataclass(frozen=True, slots=True)
class Served:
    """A model's name, and the most tokens that it reads and writes in one go, if that is told."""

    name: str
    max_tokens: int | None


def served(server: Server, name: str | None) -> Served:
    """The model ``name`` of a server, or its only one.

    Raises:
        RemoteError: the server has another, or several to choose from.
    """
    where = f"{server.url}/models"
    try:
        entries = json.loads(server.get("/models"))["data"]
        limits = {str(one["id"]): one.get("max_model_len") for one in entries}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RemoteError(
            where, "is no list of models; is this the URL of an OpenAI-compatible server, with its "
            "/v1?"
        ) from error  # fmt: skip
    if name is None and len(limits) == 1:
        (name,) = limits
    if name is None or name not in limits:
        wanted = "name one" if name is None else f"'{name}' is not among them"
        raise RemoteError(where, f"its models are {', '.join(limits) or 'none'}; {wanted}")
    limit = limits[name]
    return Served(name, limit if isinstance(limit, int) else None)
