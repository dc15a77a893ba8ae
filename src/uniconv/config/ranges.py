"""Numbers that must lie in a range, wherever they are in a configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any


def number(
    default: Any, *, least: float | None = None, above: float | None = None, most: float = 1e15
) -> Any:
    """A dataclass's field whose value must be at least or above one number, and at most another."""
    metadata = {"least": least, "above": above, "most": most}
    return dataclasses.field(default=default, metadata=metadata)


def range_problems(config: Any, prefix: str = "") -> Iterator[str]:
    """A sentence for each number out of its range, in a dataclass and all that it holds."""
    for one in dataclasses.fields(config):
        value, key = getattr(config, one.name), f"{prefix}{one.name}"
        if dataclasses.is_dataclass(value):
            yield from range_problems(value, f"{key}.")
        elif isinstance(value, tuple):
            for place, item in enumerate(value):
                if dataclasses.is_dataclass(item):
                    yield from range_problems(item, f"{key}[{place}].")
        elif one.metadata and value is not None:
            least, above, most = (one.metadata[name] for name in ("least", "above", "most"))
            low = value > above if least is None else value >= least
            if not (low and value <= most):
                floor = f"above {above}" if least is None else f"of at least {least}"
                ceiling = "" if most >= 1e15 else f" and at most {most}"
                yield f"{key}: expected a number {floor}{ceiling}, not {value}"
