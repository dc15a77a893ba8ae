"""Folders of Markdown, text, HTML, PDF and Word files, and BEIR corpora, read as passages.

A document's passages are titled by its title, or its file's name where it has none, and by its
headings ("Guide > Install"), and numbered from 1 ("manual/guide.md#1").
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from uniconv.errors import UniConvError
from uniconv.retrieval.chunking import Chunking, markdown_chunks, sections, text_chunks, unwrap
from uniconv.retrieval.formats import (
    Document,
    DocumentError,
    read_docx,
    read_html,
    read_markdown,
    read_pdf,
    read_text,
)
from uniconv.types import Passage

READERS: dict[str, Callable[[Path], Document]] = {
    ".md": read_markdown,
    ".markdown": read_markdown,
    ".txt": read_text,
    ".html": read_html,
    ".htm": read_html,
    ".pdf": read_pdf,
    ".docx": read_docx,
}
CORPUS_NAMES = ("corpus.jsonl", "corpus.jsonl.gz")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to be read; ``name`` is its path below the source folder, the base of its ids."""

    path: Path
    name: str

    @property
    def is_corpus(self) -> bool:
        """Whether it is a BEIR corpus and not a document."""
        return self.path.name.endswith((".jsonl", ".jsonl.gz"))


def find_files(sources: Iterable[Path | str]) -> list[SourceFile]:
    """The files of all sources that can be read, each once, in a fixed order.

    A source is a document, a folder of documents, a BEIR corpus (``.jsonl``, ``.jsonl.gz``), or a
    folder with a ``corpus.jsonl``. Hidden files and folders in a folder are left out.

    Raises:
        UniConvError: a source does not exist, is of another format, or is a folder without any
            file that can be read.
    """
    found: dict[Path, SourceFile] = {}
    for source in map(Path, sources):
        for file in _files_of(source):
            found.setdefault(file.path.resolve(), file)
    return list(found.values())


def _files_of(source: Path) -> list[SourceFile]:
    formats = ", ".join([*READERS, ".jsonl", ".jsonl.gz"])
    if source.is_dir():
        for name in CORPUS_NAMES:
            if (source / name).is_file():
                return [SourceFile(source / name, name)]
        files = [SourceFile(path, path.relative_to(source).as_posix()) for path in _walk(source)]
        if not files:
            raise UniConvError(f"{source}: the folder has no file of these formats: {formats}")
        return files
    if not source.exists():
        raise UniConvError(f"{source}: there is no such file or folder to index")
    file = SourceFile(source, source.name)
    if not file.is_corpus and source.suffix.lower() not in READERS:
        raise UniConvError(f"{source}: can't be indexed; the formats are {formats}")
    return [file]


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent, name)
            if not name.startswith(".") and path.suffix.lower() in READERS:
                yield path


def read_passages(file: SourceFile, chunking: Chunking) -> Iterator[Passage]:
    """The passages of one file.

    Raises:
        DocumentError: a document is broken or holds no text; others can go on without it.
        DataError: a line of a corpus is malformed.
    """
    if file.is_corpus:
        from uniconv.data.beir import read_corpus

        yield from read_corpus(file.path)
        return
    document = READERS[file.path.suffix.lower()](file.path)
    chunks = _chunks(document, file.path.stem, chunking)
    number = 0
    for number, (title, text, about) in enumerate(chunks, start=1):
        yield Passage(f"{file.name}#{number}", text, title, {"file": file.name, **about})
    if number == 0:
        raise DocumentError("it holds no text")


def _chunks(
    document: Document, name: str, chunking: Chunking
) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Title, text and metadata of a document's passages."""
    if document.pages is not None:
        for text, page in _page_chunks(document.pages, chunking):
            yield document.title or name, text, {"page": str(page)}
    elif not document.is_markdown:
        for chunk in text_chunks(unwrap(document.text), chunking):
            yield document.title or name, chunk.text, {}
    else:
        found = list(sections(document.text))
        tops = {section.path[0] for section in found if section.path}
        # A heading above all others is the document's title.
        title = document.title or (tops.pop() if len(tops) == 1 else name)
        for section in found:
            path = section.path[1:] if section.path[:1] == (title,) else section.path
            about = {"section": " > ".join(path)} if path else {}
            for chunk in markdown_chunks(section.text, chunking):
                yield " > ".join((title, *path)), chunk.text, about


def _page_chunks(pages: list[str], chunking: Chunking) -> Iterator[tuple[str, int]]:
    """Chunks run over the ends of pages, as sentences do; a chunk's page is where it begins."""
    text = ""
    starts = []
    for page in pages:
        starts.append(len(text))
        text += page + " " if page else ""
    for chunk in text_chunks(text, chunking):
        yield chunk.text, bisect_right(starts, chunk.start)
