"""A deterministic encoder, and documents of every format, written by hand."""

from __future__ import annotations

import hashlib
import os
import signal
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from uniconv.retrieval.sharing import encode_share, prepare_index
from uniconv.types import Passage

DIMENSION = 16


@dataclass
class FakeEncoder:
    """Gives every title and text a random direction of its own, and remembers what it encoded."""

    fingerprint: str = "fake-1"
    name: str = "fake"
    dimension: int = DIMENSION
    calls: list[list[str]] = field(default_factory=list)

    def encode_passages(self, passages: Sequence[Passage]) -> np.ndarray:
        self.calls.append([passage.id for passage in passages])
        return np.stack([self.vector(passage) for passage in passages])

    def vector(self, passage: Passage) -> np.ndarray:
        seen = f"{self.fingerprint}\0{passage.title}\0{passage.text}".encode()
        seed = int.from_bytes(hashlib.sha256(seen).digest()[:8], "little")
        vector = np.random.default_rng(seed).standard_normal(self.dimension)
        return (vector / np.linalg.norm(vector)).astype(np.float32)

    @property
    def encoded(self) -> list[str]:
        return [id for call in self.calls for id in call]


def passages(count: int, prefix: str = "p") -> list[Passage]:
    return [
        Passage(f"{prefix}{n}", f"Text number {n} of {prefix}.", f"Title {n % 7}", {"n": str(n)})
        for n in range(count)
    ]


def contents(folder: Path) -> dict[str, bytes]:
    """All that an index holds but when and by what it was made, by the names of its files."""
    (version,) = (folder / "versions").iterdir()
    return {
        path.relative_to(version).as_posix(): path.read_bytes()
        for path in version.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }


def prepare_and_share(corpus: Path, out: Path) -> None:
    """A process that prepares an index, if it is the first, and makes all shards of it."""
    prepare_index([corpus], out, FakeEncoder(), rows_per_shard=4, replace=False, quiet=True)
    encode_share(out, FakeEncoder(), 0, 1, quiet=True)


def write_pdf(path: Path, pages: Sequence[str], title: str = "") -> None:
    """A PDF of one line of ASCII text a page."""
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, text in enumerate(pages):
        stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET"
        objects.append(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] "
            f"/Resources << /Font << /F1 3 0 R >> >> /Contents {5 + 2 * number} 0 R >>"
        )
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    objects.append(f"<< /Title ({title}) >>")
    body = "%PDF-1.4\n"
    places = []
    for number, content in enumerate(objects, start=1):
        places.append(len(body))
        body += f"{number} 0 obj\n{content}\nendobj\n"
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    size = len(objects) + 1
    body += f"xref\n0 {size}\n0000000000 65535 f \n{table}"
    body += f"trailer\n<< /Size {size} /Root 1 0 R /Info {len(objects)} 0 R >>\n"
    path.write_bytes((body + f"startxref\n{body.index('xref')}\n%%EOF\n").encode("ascii"))


def write_docx(path: Path, blocks: Sequence[tuple[str, str]]) -> None:
    """A Word document of (style, text) paragraphs: Title, Heading1, Heading2 and Normal."""
    types = "application/vnd.openxmlformats-officedocument.wordprocessingml"
    relation = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    word = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    styles = "".join(
        f'<w:style w:type="paragraph" w:styleId="Heading{n}">'
        f'<w:name w:val="heading {n}"/></w:style>'
        for n in (1, 2)
    )
    styles += '<w:style w:type="paragraph" w:styleId="Title"><w:name w:val="Title"/></w:style>'
    body = "".join(
        f'<w:p><w:pPr><w:pStyle w:val="{style}"/></w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>'
        for style, text in blocks
    )
    files = {
        "[Content_Types].xml": (
            f'<Types xmlns="{package}/content-types">'
            '<Default Extension="rels" '
            'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            '<Default Extension="xml" ContentType="application/xml"/>'
            f'<Override PartName="/word/document.xml" ContentType="{types}.document.main+xml"/>'
            f'<Override PartName="/word/styles.xml" ContentType="{types}.styles+xml"/></Types>'
        ),
        "_rels/.rels": (
            f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
            f'Type="{relation}/officeDocument" Target="word/document.xml"/></Relationships>'
        ),
        "word/_rels/document.xml.rels": (
            f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
            f'Type="{relation}/styles" Target="styles.xml"/></Relationships>'
        ),
        "word/styles.xml": f'<w:styles xmlns:w="{word}">{styles}</w:styles>',
        "word/document.xml": (f'<w:document xmlns:w="{word}"><w:body>{body}</w:body></w:document>'),
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, f'<?xml version="1.0" encoding="UTF-8"?>{content}')


@dataclass
class DyingEncoder(FakeEncoder):
    """Its process is killed in the middle of a shard, as often as there are files in ``lives``."""

    lives: Path = Path()
    after: int = 2

    def encode_passages(self, passages: Sequence[Passage]) -> np.ndarray:
        if len(self.calls) == self.after and (left := sorted(self.lives.iterdir())):
            left[0].unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().encode_passages(passages)
