"""What each text has that is no text: left-over mark-up, tokenised spacing, dangling references."""

from __future__ import annotations

import re
from collections.abc import Iterator

from text import sentences

_DOUBLED = re.compile(r"([?!;:]) \1(?=\s|$)")
_BOOK_LINES = re.compile(
    r"^\W*(Learning Objectives?|Topics|Historical Thinking|Enduring Understanding|Essential "
    r"Knowledge|Science Practice|Big Idea|The content in this chapter supports)\b"
)
_MENTION = re.compile(r"\s*\((?:see|refer to|shown in|as shown in)?[\s,;and]*\)")
_SAYING = re.compile(
    r",? as (?:shown|seen|illustrated|depicted|listed|given|presented) (?:in|on|by)"
    r"(?: ,|(?= ?[.;:]))"
)
_DANGLING = re.compile(r"\b(?:in|In|see|See|from|From|of|at|by|to|and|with|on|is|are) [.,;:)]| , ,")
_LINK = re.compile(r"\[/?link\][\w.]*")
BOOK_ENDS = frozenset(
    {
        *("Preface", "Answer Key", "References", "Bibliography", "Index", "Key Equations"),
        *("About the Authors", "Additional Resources", "Further Reading", "Endnotes", "Resources"),
    }
)


def book_paragraph(paragraph: str) -> str:
    """A paragraph of a textbook whose figures and links are gone; empty if it was only that.

    Sentences that refer to a figure which isn't there are dropped, as are lists of sources.
    """
    if "http" in paragraph or "www." in paragraph or _BOOK_LINES.match(paragraph):
        return ""
    paragraph = _SAYING.sub("", _MENTION.sub("", _LINK.sub("", paragraph)))
    kept = [said for said in sentences(paragraph) if not _DANGLING.search(said)]
    text = " ".join(kept)
    text = re.sub(r"\s+(?=[.,;:])", "", text)
    return text if len(text.split()) >= 8 else ""


def brown(text: str) -> Iterator[list[str]]:
    """The Brown corpus as texts of about 400 words: sentences that were split into tokens."""
    joined: list[str] = []
    for block in re.split(r"\n\s*\n+", text):
        paragraph = _DOUBLED.sub(r"\1", " ".join(block.split()))
        if "{" in paragraph or not paragraph:  # formulas
            continue
        joined.append(paragraph)
        if sum(len(part.split()) for part in joined) > 400:
            yield joined
            joined = []
    if joined:
        yield joined


def speeches(text: str) -> Iterator[tuple[str, list[str]]]:
    """Addresses with their first line as title, if that is one, and wrongly decoded quotes mended.

    A title is in capitals (State of the Union); without any the whole text is one document.
    """
    text = text.replace("¡¦", "'").replace("¡X", " - ").replace("¡@", "")
    text = text.replace("¡§", '"').replace("¡¨", '"').replace("¡K", "...")
    title, paragraphs = "", list[str]()
    for line in text.splitlines():
        line = re.sub(r"\[(?:At this point|Applause|[Ll]aughter|Moment)[^\]]*\]", "", line).strip()
        if line.isupper() and len(line) > 30:
            if paragraphs:
                yield title, paragraphs
            title, paragraphs = line.title(), []
        elif line and not _mojibake(line):
            paragraphs.append(line)
    if paragraphs:
        yield title, paragraphs


def news(text: str) -> Iterator[tuple[str, list[str]]]:
    """Reports of ABC: a line with the title, paragraphs of a line, an empty line."""
    for block in re.split(r"\n\s*\n", text):
        lines = [line.strip() for line in block.splitlines() if line.strip()]
        if len(lines) > 1:
            yield lines[0], [line for line in lines[1:] if not _mojibake(line)]


def wikitext(text: str) -> Iterator[tuple[str, list[str]]]:
    """Articles of WikiText-2 without headings; sentences with unknown words are dropped."""
    text = re.sub(r" @([-,.])@ ", r"\1", text)
    text = re.sub(r'" ([^"\n]{1,100}) "', r'"\1"', text)
    title, paragraphs = "", list[str]()
    for line in map(str.strip, text.splitlines()):
        if re.fullmatch(r"= [^=].* =", line):
            if paragraphs:
                yield title, paragraphs
            title, paragraphs = line.strip("= "), []
        elif line and not line.startswith("="):
            said = re.split(r"(?<= [.!?]) (?=[A-Z\"])", line)
            kept = [one for one in said if "<unk>" not in one]
            if len(kept) * 2 > len(said):
                paragraphs.append(" ".join(kept))
    if paragraphs:
        yield title.replace("<unk>", "").strip(), paragraphs


def facts(name: str, fields: list[dict[str, str]]) -> Iterator[str]:
    """The Factbook's fields about a place as lines; addresses and numbers of offices are left out.

    Fields whose name says nothing (``total``) follow the text of the one before.
    """
    for field in fields:
        title, text = field["field"], " ".join(field["text"].split())
        if re.search(r"(?i)telephone|fax|email|website|chancery|mailing|embassy", title):
            continue
        if len(text.split()) >= 3 or title[:1].isupper():
            yield f"{title[:1].upper()}{title[1:]} of {name}: {text}"


def _mojibake(line: str) -> bool:
    return bool(re.search(r"[\u0080-\u009f\ufffd]|Ã", line))
