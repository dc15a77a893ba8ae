"""One reader per file format: a file becomes a title and a text, Markdown where it has form."""

from __future__ import annotations

import logging
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

from uniconv.errors import UniConvError

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?\n)(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_HEADING = re.compile(r"^#[ \t]+(.+?)[ \t#]*$", re.MULTILINE)
_NOT_TEXT = ("script", "style", "noscript", "template", "nav", "header", "footer", "aside", "form")
_HYPHENATED = re.compile(r"(?<=[a-zà-ÿ])-\n(?=[a-zà-ÿ])")
_SPACES = re.compile(r"\s+")


class DocumentError(UniConvError):
    """A document can't be read. The message says why and leaves the file's name to the caller."""


@dataclass(frozen=True, slots=True)
class Document:
    """A document before it is cut; ``pages`` are the texts of a PDF's pages."""

    title: str
    text: str = ""
    is_markdown: bool = False
    pages: list[str] | None = None


def read_markdown(path: Path) -> Document:
    """Markdown; the title is that of the front matter, else the first top heading."""
    text = _utf8(path)
    title = ""
    if front := _FRONT_MATTER.match(text):
        title = _front_title(front[1])
        text = text[front.end() :]
    return _markdown(path, title, text)


def read_text(path: Path) -> Document:
    """Plain text; the title is the file's name."""
    return Document(path.stem, _utf8(path))


def read_html(path: Path) -> Document:
    """HTML, its navigation left out; the title is that of its head, else the first top heading."""
    return _html(path, path.read_bytes())


def read_docx(path: Path) -> Document:
    """A Word document, without its pictures."""
    import mammoth

    with path.open("rb") as file:
        try:
            html = mammoth.convert_to_html(file).value
        except Exception as error:  # the zip, the XML or its references: many types, one cause
            raise DocumentError(f"it is not a Word document that can be read ({error})") from error
    return _html(path, html.encode())


def read_pdf(path: Path) -> Document:
    """The text of a PDF's pages; the title is that of its properties, else the file's name."""
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
    return Document(_clean(title).strip() or path.stem, pages=pages)


def _page(text: str) -> str:
    """A page's text on one line: where lines end on paper says nothing of sentences."""
    return _SPACES.sub(" ", _HYPHENATED.sub("", _clean(text))).strip()


def _html(path: Path, html: bytes) -> Document:
    from bs4 import BeautifulSoup, MarkupResemblesLocatorWarning
    from markdownify import MarkdownConverter

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MarkupResemblesLocatorWarning)
        soup = BeautifulSoup(html, "html.parser")
    title = soup.title.get_text() if soup.title else ""
    body = soup.find("main") or soup.find("article") or soup.body or soup
    for tag in body.find_all([*_NOT_TEXT, "title"]):
        tag.decompose()
    for picture in body.find_all("img"):
        picture.replace_with(str(picture.get("alt") or ""))
    converter = MarkdownConverter(heading_style="ATX", strip=["a"])
    markdown = converter.convert_soup(body)
    return _markdown(path, _SPACES.sub(" ", title).strip(), _clean(markdown))


def _markdown(path: Path, title: str, text: str) -> Document:
    if not title and (heading := _HEADING.search(text)):
        title = heading[1].strip()
    return Document(title or path.stem, text, is_markdown=True)


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
