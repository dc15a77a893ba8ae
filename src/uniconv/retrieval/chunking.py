"""A document's Markdown or plain text cut into sections at its headings, and those into chunks.

A chunk ends at a paragraph or a sentence where it can, and repeats a little of the one before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from markdown_it import MarkdownIt
from markdown_it.token import Token
from semantic_text_splitter import MarkdownSplitter, TextSplitter

from uniconv.errors import ConfigError

_WRAPPED = 50  # characters; paragraphs whose lines are all longer were wrapped by an editor
_SPACES = re.compile(r"[ \t]+")
_LINE_ENDS = re.compile(r"\r\n|\r|\n")  # those of CommonMark
_PARAGRAPHS = re.compile(r"\n\s*\n")


@dataclass(frozen=True, slots=True)
class Chunking:
    """How documents become passages.

    ``size`` is the most characters of a passage (about 170 words by default), ``overlap`` how many
    of them it may share with the passage before it.
    """

    size: int = 1000
    overlap: int = 100

    def __post_init__(self) -> None:
        if self.size < 1 or not 0 <= self.overlap < self.size:
            raise ConfigError(
                f"chunks of {self.size} characters with an overlap of {self.overlap} are not "
                "possible; the overlap must be smaller than the size"
            )


@dataclass(frozen=True, slots=True)
class Section:
    """The text under one heading; ``path`` is the headings above it, outermost first."""

    path: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a text; ``start`` is its first character's place in it."""

    start: int
    text: str


def sections(markdown: str) -> Iterator[Section]:
    """The sections of a Markdown text that hold any text, in order."""
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown)
    lines = _unwrapped_lines(markdown, tokens)
    path: list[tuple[int, str]] = []
    start = 0
    for place, token in enumerate(tokens):
        if token.type != "heading_open" or token.level != 0 or token.map is None:
            continue
        yield from _section(path, lines[start : token.map[0]])
        level = int(token.tag[1:])
        path = [heading for heading in path if heading[0] < level]
        path.append((level, _plain(tokens[place + 1])))
        start = token.map[1]
    yield from _section(path, lines[start:])


def _section(path: list[tuple[int, str]], lines: list[str]) -> Iterator[Section]:
    text = "".join(lines).strip()
    if text:
        yield Section(tuple(heading for _, heading in path if heading), text)


def _unwrapped_lines(markdown: str, tokens: list[Token]) -> list[str]:
    """The lines with their ends; a space ends a line that goes on in the next (see ``unwrap``)."""
    lines = [line + "\n" for line in _LINE_ENDS.split(markdown)]
    for token in tokens:
        if token.type != "paragraph_open" or token.map is None:
            continue
        for number in range(token.map[0], token.map[1] - 1):
            line, following = lines[number].removesuffix("\n"), lines[number + 1].lstrip()
            hard_break = line.endswith(("  ", "\\"))
            if not hard_break and not following.startswith(">"):  # a quotation's marks stay
                lines[number], lines[number + 1] = line.rstrip() + " ", following
    return lines


def _plain(inline: Token) -> str:
    """A heading's words without its markup."""
    parts = [
        " " if child.type in ("softbreak", "hardbreak") else child.content
        for child in inline.children or []
        if child.type != "html_inline"
    ]
    return _SPACES.sub(" ", "".join(parts)).strip()


def unwrap(text: str) -> str:
    """Plain text with each paragraph that was wrapped at a column put on one line.

    Line ends count as better places to cut than sentences, which is right for lists and verses
    and wrong for wrapped prose.
    """
    return "\n\n".join(_unwrapped(paragraph) for paragraph in _PARAGRAPHS.split(text.strip()))


def _unwrapped(paragraph: str) -> str:
    lines = [line.strip() for line in paragraph.splitlines()]
    wrapped = len(lines) > 1 and all(len(line) > _WRAPPED for line in lines[:-1])
    return " ".join(lines) if wrapped else paragraph


def markdown_chunks(text: str, chunking: Chunking) -> list[Chunk]:
    """The chunks of a section's Markdown."""
    splitter = MarkdownSplitter(chunking.size, overlap=chunking.overlap)
    return [Chunk(start, piece) for start, piece in splitter.chunk_indices(text)]


def text_chunks(text: str, chunking: Chunking) -> list[Chunk]:
    """The chunks of a plain text."""
    splitter = TextSplitter(chunking.size, overlap=chunking.overlap)
    return [Chunk(start, piece) for start, piece in splitter.chunk_indices(text)]
