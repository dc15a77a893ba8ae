"""Filters on metadata: each field that is named must have the value, or one of the values, given.

{"file": "handbook.md", "section": ["Install", "Update"]}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from uniconv.errors import ConfigError

MetadataFilters: TypeAlias = Mapping[str, str | Sequence[str]]
Wanted: TypeAlias = tuple[tuple[str, tuple[str, ...]], ...]
"""Filters as something that can be a key: fields and their values, sorted."""


def wanted(filters: MetadataFilters | None) -> Wanted:
    """What filters ask for; nothing where there are none.

    Raises:
        ConfigError: a field has no value.
    """
    fields = []
    for name, value in sorted((filters or {}).items()):
        values = (value,) if isinstance(value, str) else tuple(sorted(set(value)))
        if not values:
            raise ConfigError(f"the filter on '{name}' names no value; give one, or leave it out")
        fields.append((name, values))
    return tuple(fields)


def matches(metadata: Mapping[str, str], asked: Wanted) -> bool:
    """Whether a passage's metadata has what is asked for."""
    return all(metadata.get(name) in values for name, values in asked)


def parse_filters(assignments: Sequence[str]) -> dict[str, list[str]]:
    """Filters from ``field=value``; a field that is named again may have either value.

    Raises:
        ConfigError: one isn't of this form.
    """
    filters: dict[str, list[str]] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not name or not equals:
            raise ConfigError(f"filter '{assignment}': expected field=value, such as file=notes.md")
        filters.setdefault(name, []).append(value)
    return filters
