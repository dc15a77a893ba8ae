"""Documentation that machines carry: docstrings, README files and manual pages.

Only what may be copied with no more than attribution is taken: Python packages by the licence in
their metadata, Debian packages by the machine-readable copyright file that each one has.
"""

from __future__ import annotations

import ast
import gzip
import html
import inspect
import re
import subprocess
import sys
import sysconfig
import textwrap
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path

from documents import Document, Source

_FREE = re.compile(
    r"(?i)\b(MIT|Expat|BSD|Apache|ISC|Python-2|PSF|PSFL|Zlib|Artistic|public.domain|Unlicense|"
    r"HPND|0BSD|CC0|PostgreSQL|curl|OpenSSL)\b|\bBSD[-_ ]?\d|X11|Python Software Foundation"
)
_BOUND = re.compile(r"(?i)GPL|MPL|Mozilla|GFDL|proprietary|non.?commercial|eclipse")
_SKIPPED = frozenset({"test", "tests", "testing", "idlelib", "lib2to3", "_vendor", "vendor"})
_MOST_WORDS = 500_000  # of one package, so that none drowns the others
_BACKSPACED = re.compile(r".\x08|\x1b\[[0-9;]*m")


def free(licence: str) -> bool:
    """Whether a licence, or one of several to choose from, asks for attribution at most."""
    choices = re.split(r"(?i)\s+or\s+", licence)
    return any(_FREE.search(one) and not _BOUND.search(one) for one in choices)


def documentation(
    library: Path | None = None, packages: list[Path] | None = None, debian: Path = Path("/")
) -> Iterator[Document]:
    """Everything: the standard library, the packages of ``packages``, Debian's files."""
    yield from standard_library(library)
    for found in sorted(
        distributions(path=[str(path) for path in packages] if packages else sys.path),
        key=lambda one: one.metadata["Name"].lower(),
    ):
        yield from package(found)
    yield from debian_documents(debian)


def standard_library(root: Path | None = None) -> Iterator[Document]:
    """The docstrings of Python's standard library."""
    folder = root or Path(sysconfig.get_paths()["stdlib"])
    source = Source("python", "docstrings", "PSF-2.0")
    for path in sorted(folder.rglob("*.py")):
        if "site-packages" not in path.parts:
            yield from _docstrings(path, path.relative_to(folder), source)


def package(found: Distribution) -> Iterator[Document]:
    """The README and docstrings of an installed package, if its licence allows it."""
    about = found.metadata
    licence = about.get("License-Expression") or about.get("License") or ""
    classified = [
        line.rsplit("::", 1)[-1].strip()
        for line in about.get_all("Classifier") or []
        if line.startswith("License ::")
    ]
    licence = licence.splitlines()[0] if licence and len(licence) < 200 else "; ".join(classified)
    if not free(licence):
        return
    source = Source(f"package {about['Name']}", "docstrings", licence)
    words = 0
    body = about.get("Description") or found.read_text("DESCRIPTION.rst") or ""
    documents = [_readme(source, about["Name"], body)] if len(body.split()) > 30 else []
    for file in sorted(found.files or [], key=str):
        if file.suffix == ".py":
            documents += _docstrings(Path(str(file.locate())), Path(file), source)
    for document in documents:
        words += document.words
        if words > _MOST_WORDS:
            break
        yield document


def debian_documents(root: Path) -> Iterator[Document]:
    """Texts below ``usr/share/doc`` and English manual pages."""
    for folder in sorted((root / "usr/share/doc").glob("*")):
        licence = _debian_licence(folder / "copyright")
        if not folder.is_dir() or not free(licence):
            continue
        source = Source(f"debian {folder.name}", "system documentation", licence)
        for path in sorted(folder.rglob("*")):
            name = path.name.removesuffix(".gz")
            if re.search(r"(?i)^(readme|news|faq|.*\.(txt|md|rst|html))", name) and path.is_file():
                said = _paragraphs(_plain(_content(path), name))
                if sum(len(part.split()) for part in said) > 40:
                    yield Document(source, f"{folder.name}: {name}", said, folder.name)
        listing = root / f"var/lib/dpkg/info/{folder.name}.list"
        for one in (listing, listing.with_name(f"{folder.name}:amd64.list")):
            for line in one.read_text("utf-8").splitlines() if one.exists() else []:
                if re.match(r"/usr/share/man/man\d/.*\.gz$", line):
                    yield from _manual(root / line.lstrip("/"), source)


def _docstrings(path: Path, relative: Path, source: Source) -> Iterator[Document]:
    parts = relative.with_suffix("").parts
    hidden = [part for part in parts[:-1] if part.startswith("_") or part in _SKIPPED]
    if hidden or (parts[-1].startswith(("_", "test")) and parts[-1] != "__init__"):
        return
    module = ".".join(part for part in parts if part != "__init__")
    try:
        tree = ast.parse(path.read_text("utf-8"))
    except (SyntaxError, ValueError, OSError):
        return
    group = f"{source.name} {module}"
    overview = ast.get_docstring(tree)
    if overview and len(overview.split()) > 20:
        yield Document(source, module, _paragraphs(overview), group)
    for name, signature, docstring in documented(tree, module):
        if len(docstring.split()) >= 8:
            yield Document(source, name, (signature, *_paragraphs(docstring)), group)


def documented(tree: ast.AST, name: str) -> Iterator[tuple[str, str, str]]:
    """Full name, signature and docstring of the public functions and classes in ``tree``."""
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if node.name.startswith("_"):
            continue
        full = f"{name}.{node.name}"
        docstring = ast.get_docstring(node)
        if docstring:
            arguments = "" if isinstance(node, ast.ClassDef) else f"({ast.unparse(node.args)})"
            kind = "class " if isinstance(node, ast.ClassDef) else ""
            yield full, f"{kind}{node.name}{arguments}", docstring
        if isinstance(node, ast.ClassDef):
            yield from documented(node, full)


def _readme(source: Source, name: str, body: str) -> Document:
    return Document(source, name, _paragraphs(_plain(body, "readme.md")), source.name)


def _paragraphs(body: str) -> tuple[str, ...]:
    """Paragraphs of a text with lines of limited width; code and lists keep their lines."""
    found: list[str] = []
    for block in re.split(r"\n[ \t]*\n", textwrap.dedent(inspect.cleandoc(body))):
        lines = [line.rstrip() for line in block.splitlines() if line.strip()]
        prose = all(re.match(r"\s*[\w\"'(`*]", line) for line in lines) and ">>>" not in block
        indents = {len(line) - len(line.lstrip()) for line in lines}
        if len(lines) > 1 and prose and len(indents) == 1:
            lines = [" ".join(line.strip() for line in lines)]
        found += [
            re.sub(r"(?<=\S)[ \t]{2,}", " ", line) for line in lines if re.search(r"\w", line)
        ]
    return tuple(found)


def _plain(text: str, name: str) -> str:
    if name.endswith(".html"):
        text = re.sub(r"(?s)<(script|style|head)\b.*?</\1>", " ", text)
        text = re.sub(r"(?i)</?(p|div|h\d|li|tr|br|pre|dt|dd)\b[^>]*>", "\n\n", text)
        text = html.unescape(re.sub(r"<[^>]+>", "", text))
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)|\[!\[.*?\]\([^)]*\)\]\([^)]*\)|<[^<>\n]{1,200}>", "", text)
    text = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", text)
    return re.sub(r"(?m)^[=\-~^*#_+|:. ]{4,}$|^\.\. \w+::.*$|^\[\S+\]: .*$", "", text)


def _content(path: Path) -> str:
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8", "replace")


def _manual(path: Path, source: Source) -> Iterator[Document]:
    """A manual page as groff sets it, in lines as long as its paragraphs."""
    command = ["groff", "-mandoc", "-Tutf8", "-rLL=2000n", "-rHY=0", "-P-cbou"]
    try:
        page = _content(path)
        if page.startswith(".so "):
            return
        done = subprocess.run(
            command, input=page, capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return
    lines = _BACKSPACED.sub("", done.stdout).splitlines()[1:-1]
    kept = tuple(re.sub(r"\s+", " ", line).strip() for line in lines if line.strip())
    if sum(len(line.split()) for line in kept) > 40:
        name = path.name.removesuffix(".gz")
        yield Document(source, f"{name.rsplit('.', 1)[0]} (manual page)", kept, source.name)


def _debian_licence(path: Path) -> str:
    """The licence of all files of a package by its copyright file, or nothing."""
    if not path.is_file():
        return ""
    text = path.read_text("utf-8", "replace")
    if not text.startswith("Format:"):
        return ""
    for stanza in re.split(r"\n\s*\n", text):
        found = re.search(r"(?m)^License:[ \t]*(\S.*)$", stanza)
        if found and re.search(r"(?m)^Files:\s*\*\s*$", stanza):
            return found[1].strip()
    return ""
