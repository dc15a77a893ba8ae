"""One reader per file format: a file becomes a title and a text, Markdown where it has form."""

from __future__ import annotations

import logging
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

from uniconv.errors import UniConvError

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?\n)(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_NOT_TEXT = ("script", "style", "noscript", "template", "nav", "header", "footer", "aside", "form")
_HYPHENATED = re.compile(r"(?<=[a-zà-ÿ])-\n(?=[a-zà-ÿ])")
_WORD_TITLE = "p[style-name='Title'] => title:fresh"
_SPACES = re.compile(r"\s+")


class DocumentError(UniConvError):
    """A document can't be read. The message says why and leaves the file's name to the caller."""


@dataclass(frozen=True, slots=True)
class Document:
    """A document before it is cut.

    ``title`` is empty where the document names none; ``pages`` are the texts of a PDF's pages.
    """

    title: str
    text: str = ""
    is_markdown: bool = False
    pages: list[str] | None = None


def read_markdown(path: Path) -> Document:
    """Markdown; the title is that of its front matter."""
    text = _utf8(path)
    title = ""
    if front := _FRONT_MATTER.match(text):
        title = _front_title(front[1])
        text = text[front.end() :]
    return Document(title, text, is_markdown=True)


def read_text(path: Path) -> Document:
    """Plain text, without a title."""
    return Document("", _utf8(path))


def read_html(path: Path) -> Document:
    """HTML, its navigation left out; the title is its only top heading, else that of its head."""
    # On web pages <title> names the site too, so the page's own heading is the better one.
    return _html(path.read_bytes(), prefer_heading=True)


def read_docx(path: Path) -> Document:
    """A Word document, without its pictures; the title has Word's Title style."""
    import mammoth

    with path.open("rb") as file:
        try:
            html = mammoth.convert_to_html(file, style_map=_WORD_TITLE).value
        except Exception as error:  # the zip, the XML or its references: many types, one cause
            raise DocumentError(f"it is not a Word document that can be read ({error})") from error
    return _html(html.encode(), prefer_heading=False)


def read_pdf(path: Path) -> Document:
    """The text of a PDF's pages; the title is that of its properties."""
    from pypdf import PdfReader

    # pypdf logs every irregularity that it gets over; the reader only wants to know of failure.
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    try:
        reader = PdfReader(path)
        if reader.is_encrypted and not reader.decrypt(""):
            raise DocumentError("it is protected by a password")
        pages = [_page(page.extract_text()) for page in reader.pages]
        title = str((reader.metadata and reader.metadata.title) or "")
    except DocumentError:
        raise
    except Exception as error:  # a damaged PDF fails anywhere and with any type
        raise DocumentError(f"it is not a PDF that can be read ({error})") from error
    if not any(pages):
        raise DocumentError("it holds no text; are its pages pictures?")
    return Document(_clean(title).strip(), pages=pages)


def _page(text: str) -> str:
    """A page's text on one line: where lines end on paper says nothing of sentences."""
    return _SPACES.sub(" ", _HYPHENATED.sub("", _clean(text))).strip()


def _html(html: bytes, *, prefer_heading: bool) -> Document:
    from bs4 import BeautifulSoup, MarkupResemblesLocatorWarning
    from markdownify import MarkdownConverter

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MarkupResemblesLocatorWarning)
        soup = BeautifulSoup(html, "html.parser")
    body = soup.find("main") or soup.find("article") or soup.body or soup
    headings = body.find_all("h1")
    named = headings[0] if prefer_heading and len(headings) == 1 else soup.title
    title = _SPACES.sub(" ", named.get_text()).strip() if named else ""
    for tag in body.find_all([*_NOT_TEXT, "title"]):
        tag.decompose()
    for picture in body.find_all("img"):
        picture.replace_with(str(picture.get("alt") or ""))
    converter = MarkdownConverter(heading_style="ATX", strip=["a"], table_infer_header=True)
    markdown = converter.convert_soup(body)
    return Document(_clean(title), _clean(markdown), is_markdown=True)


def _front_title(front: str) -> str:
    import yaml

    try:
        fields = yaml.safe_load(front)
    except yaml.YAMLError:
        return ""
    title = fields.get("title") if isinstance(fields, dict) else None
    return str(title or "").strip()


def _utf8(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DocumentError(
            f"it is not UTF-8 text (byte {error.start + 1}); save it in that encoding"
        ) from error


def _clean(text: str) -> str:
    """Without the halves of surrogate pairs that broken files hold and that can't be written."""
    return text.encode("utf-8", "ignore").decode("utf-8")
