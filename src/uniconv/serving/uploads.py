"""Uploaded documents: what may become part of an index, where it is kept, and how it gets in.

A file is kept below the index's folder under the checksum of its contents, so nothing that the
index refers to is ever overwritten, and a process that is killed leaves at most a file too many.
"""

from __future__ import annotations

import hashlib
import shutil
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO
from zipfile import BadZipFile, ZipFile

from uniconv.files import atomic
from uniconv.retrieval.building import update_index
from uniconv.retrieval.documents import READERS, SourceFile
from uniconv.retrieval.index import FolderIndex
from uniconv.retrieval.making import BuildReport
from uniconv.search import ConversationalSearch
from uniconv.serving.errors import ApiError

FOLDER = "documents"
_NAME_BYTES = 200
_INFLATED = 4
"""How many times what may be uploaded a Word file's parts may have when they are unpacked."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that a client sent, under a name that was checked."""

    name: str
    file: BinaryIO

    @classmethod
    def checked(cls, name: str | None, file: BinaryIO, limit: int) -> Upload:
        """An upload of at most ``limit`` bytes, if its name is one and its contents fit it.

        Raises:
            ApiError: they are not.
        """
        name = unicodedata.normalize("NFC", name or "")
        problem = _name_problem(name) or _kind_problem(PurePosixPath(name).suffix.lower(), file)
        if problem is None and name.lower().endswith(".docx"):
            problem = _word_problem(file, _INFLATED * limit)
        if problem:
            raise ApiError(400, f"{name or 'a file'}: {problem}", "invalid_document", param="files")
        return cls(name, file)

    def keep(self, folder: Path) -> SourceFile:
        """Writes the file below ``folder``, unless it is there."""
        self.file.seek(0)
        checksum = hashlib.sha256(self.file.read()).hexdigest()[:32]
        path = folder / checksum / self.name
        if not path.exists():
            self.file.seek(0)
            with atomic(path) as temporary, temporary.open("wb") as out:
                shutil.copyfileobj(self.file, out)
        return SourceFile(path, self.name)


def update(
    search: ConversationalSearch, add: Sequence[Upload] = (), remove: Collection[str] = ()
) -> tuple[ConversationalSearch, BuildReport]:
    """Changes an index's documents; gives a search over the new version.

    Raises:
        UniConvError: nothing was changed, and why.
    """
    out = search.index.path
    before = _kept(FolderIndex.open(out))
    folder = out / FOLDER
    added = [upload.keep(folder) for upload in add]
    try:
        report = update_index(out, search.model, add=added, remove=remove)
    finally:
        index = FolderIndex.open(out)
        ours = before | {file.path.parent.name for file in added}
        for name in ours - _kept(index):
            shutil.rmtree(folder / name, ignore_errors=True)
    return ConversationalSearch(search.model, index, search.settings), report


def _kept(index: FolderIndex) -> set[str]:
    """The checksums of uploads that an index holds; by their folder, as the index may move."""
    paths = [Path(path) for path in index.manifest.files]
    return {path.parent.name for path in paths if path.parent.parent.name == FOLDER}


def _name_problem(name: str) -> str | None:
    if PureWindowsPath(name).name != name or not name.isprintable():
        return "a document needs a name, without folders and control characters"
    if name.startswith("."):
        return "a document's name may not begin with a dot"
    if len(name.encode("utf-8", "replace")) > _NAME_BYTES:
        return f"a document's name may have {_NAME_BYTES} bytes at most"
    if PurePosixPath(name).suffix.lower() not in READERS:
        return f"can't be indexed; the formats are {', '.join(READERS)}"
    return None


def _kind_problem(suffix: str, file: BinaryIO) -> str | None:
    """Whether the contents are of another kind than the name says."""
    file.seek(0)
    head = file.read(65536)
    is_pdf, is_zip = b"%PDF-" in head[:1024], head.startswith(b"PK")
    if suffix == ".pdf":
        return None if is_pdf else "it is not a PDF"
    if suffix == ".docx":
        return None if is_zip else "it is not a Word document"
    return "it is not text" if b"\0" in head or is_pdf or is_zip else None


def _word_problem(file: BinaryIO, limit: int) -> str | None:
    """A small archive may unpack to more than memory holds; its directory tells."""
    try:
        with ZipFile(file) as archive:
            size = sum(part.file_size for part in archive.infolist())
    except (BadZipFile, NotImplementedError, OSError, ValueError):
        return "it is not a Word document"
    return f"unpacked it is larger than the {limit} bytes allowed" if size > limit else None
