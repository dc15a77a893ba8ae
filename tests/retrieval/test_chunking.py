from __future__ import annotations

from itertools import pairwise

import pytest

from uniconv.errors import ConfigError
from uniconv.retrieval.chunking import (
    Chunking,
    Section,
    markdown_chunks,
    sections,
    text_chunks,
    unwrap,
)

SENTENCES = " ".join(f"Sentence {n} says something about café {n}." for n in range(60))


def test_sections_follow_the_headings():
    text = (
        "Before.\n# Guide\nAbout.\n## Install *it*\nRun `x`.\n### On Linux\nLike so.\n"
        "## [Use](http://a.b)\nClick."
    )
    assert list(sections(text)) == [
        Section((), "Before."),
        Section(("Guide",), "About."),
        Section(("Guide", "Install it"), "Run `x`."),
        Section(("Guide", "Install it", "On Linux"), "Like so."),
        Section(("Guide", "Use"), "Click."),
    ]


def test_underlined_headings_count_and_those_in_code_and_quotations_do_not():
    text = "Title\n=====\n\n```\n# code\n```\n\n> # quoted\n\nSub\n---\nText."
    assert list(sections(text)) == [
        Section(("Title",), "```\n# code\n```\n\n> # quoted"),
        Section(("Title", "Sub"), "Text."),
    ]


def test_headings_without_text_are_only_in_the_path():
    assert list(sections("# A\n## B\nText.\n## C\n")) == [Section(("A", "B"), "Text.")]
    assert list(sections("")) == []


def test_wrapped_paragraphs_become_one_line_and_other_lines_stay():
    text = "One\ntwo.\n\n- item\n  goes on\n- next\n\nhard  \nbreak\n\n> a\n> b\n\n```\nx\ny\n```"
    assert next(sections(text)).text == (
        "One two.\n\n- item goes on\n- next\n\nhard  \nbreak\n\n> a\n> b\n\n```\nx\ny\n```"
    )


def test_lines_are_those_of_markdown():
    text = "# A\r\nform\x0cfeed\u2028and more\r\n# B\rText."
    assert [section.path for section in sections(text)] == [("A",), ("B",)]


@pytest.mark.parametrize("split", [text_chunks, markdown_chunks])
def test_chunks_end_at_sentences_overlap_and_lose_nothing(split):
    chunks = split(SENTENCES, Chunking(200, 50))
    covered = 0
    for chunk in chunks:
        assert len(chunk.text) <= 200
        assert SENTENCES[chunk.start : chunk.start + len(chunk.text)] == chunk.text
        assert chunk.text.endswith(".")
        assert chunk.start <= covered + 1
        covered = chunk.start + len(chunk.text)
    assert covered == len(SENTENCES)
    overlaps = [a.start + len(a.text) - b.start for a, b in pairwise(chunks)]
    assert all(0 < overlap <= 50 for overlap in overlaps)


def test_a_word_longer_than_a_chunk_is_cut():
    assert [chunk.text for chunk in text_chunks("x" * 25, Chunking(10, 0))] == [
        "x" * 10,
        "x" * 10,
        "x" * 5,
    ]


def test_prose_that_was_wrapped_is_told_from_verses():
    prose = "A line of prose that goes on for more than fifty characters\nand here ends."
    verse = "Short line,\nshort line."
    assert unwrap(f"{prose}\n\n{verse}") == prose.replace("\n", " ") + "\n\n" + verse


@pytest.mark.parametrize(("size", "overlap"), [(0, 0), (100, 100), (100, -1)])
def test_impossible_chunks_are_an_error(size, overlap):
    with pytest.raises(ConfigError, match="overlap must be smaller"):
        Chunking(size, overlap)
