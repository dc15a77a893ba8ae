"""Writes the documentation of Python's standard library, from its docstrings, as Markdown files.

A file a module: a heading for the module and one for each public class, method and function that
has a docstring. Python modules are parsed, never imported; only those written in C, which have no
source to parse, are imported.
"""

from __future__ import annotations

import ast
import importlib
import importlib.machinery
import inspect
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from uniconv.files import atomic_folder

_LEFT_OUT = {
    "test",
    "tests",
    "idlelib",
    "lib2to3",
    "distutils",
    "turtledemo",
    "encodings",
    "antigravity",
    "this",
}
_DEPTH = 3  # module, class, method


def write_corpus(folder: Path) -> None:
    """Writes the Markdown files into ``folder``, all or none."""
    with atomic_folder(folder) as temporary:
        for name, sections in (*_from_sources(), *_from_extensions()):
            body = "\n\n".join(
                f"{'#' * level} {title}\n\n{text}" for level, title, text in sections
            )
            (temporary / f"{name}.md").write_text(body + "\n", "utf-8")


Section = tuple[int, str, str]


def _from_sources() -> Iterator[tuple[str, list[Section]]]:
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if parts[0] not in sys.stdlib_module_names or _LEFT_OUT & set(parts):
            continue
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if any(part.startswith("_") for part in parts):
            continue
        name = ".".join(parts)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in old modules
            tree = ast.parse(path.read_text("utf-8", errors="replace"))
        sections = list(_sections(tree, name, f"The {name} module", 1))
        if sections:
            yield name, sections


def _sections(node: ast.AST, name: str, title: str, level: int) -> Iterator[Section]:
    documented = isinstance(
        node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    )
    text = ast.get_docstring(node) if documented else None
    if text:
        yield level, title, _plain(text)
    if level == _DEPTH or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if child.name.startswith("_"):
                continue
            inner = f"{name}.{child.name}"
            if isinstance(child, ast.ClassDef):
                yield from _sections(child, inner, f"class {inner}", level + 1)
            else:
                signature = f"{inner}({ast.unparse(child.args)})"
                yield from _sections(child, inner, signature, level + 1)


def _from_extensions() -> Iterator[tuple[str, list[Section]]]:
    suffixes = tuple(importlib.machinery.EXTENSION_SUFFIXES)
    folder = Path(sysconfig.get_paths()["stdlib"]) / "lib-dynload"
    names = {path.name.split(".")[0] for path in folder.glob("*") if path.name.endswith(suffixes)}
    names |= set(sys.builtin_module_names)
    for name in sorted(n for n in names if n in sys.stdlib_module_names and n[0] not in "_x"):
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        sections = list(_members(module, name))
        if sections:
            yield name, sections


def _members(module: ModuleType, name: str) -> Iterator[Section]:
    if text := inspect.getdoc(module):
        yield 1, f"The {name} module", _plain(text)
    for member, value in sorted(vars(module).items()):
        text = inspect.getdoc(value) if callable(value) else None
        if not text or member.startswith("_"):
            continue
        kind = "class " if isinstance(value, type) else ""
        yield 2, f"{kind}{name}.{member}", _plain(text)


def _plain(text: str) -> str:
    """A docstring as Markdown: what looks like a heading there is none."""
    return "\n".join(f"\\{line}" if line.startswith("#") else line for line in text.splitlines())
