"""Long pages cut into passages along their headings."""

from __future__ import annotations

from collections.abc import Mapping

from uniconv.types import Passage

LONGEST = 200
"""Words after which a passage ends at the next span, and a third of which a heading may end it."""


def cut(
    prefix: str, page: str, spans: Mapping[str, str], metadata: Mapping[str, str]
) -> list[tuple[Passage, list[str]]]:
    """Passages with the ids of their spans, from a page's spans of text in their order.

    A heading begins with a line break. Ids are ``prefix:page:number``; the title is the page's
    name up to a ``#``.
    """
    groups: list[list[str]] = []
    words = LONGEST
    for span, text in spans.items():
        heading = text.startswith("\n")
        if words >= LONGEST or (heading and words >= LONGEST // 3):
            groups.append([])
            words = 0
        groups[-1].append(span)
        words += len(text.split())
    return [
        (
            Passage(
                id=f"{prefix}:{page}:{number}",
                text="".join(spans[span] for span in group).strip(),
                title=page.split("#")[0],
                metadata=metadata,
            ),
            group,
        )
        for number, group in enumerate(groups)
    ]
