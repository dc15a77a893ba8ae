"""Damages files the way downloads, editors, scripts and people do."""

from __future__ import annotations

import gzip
import io
import json
import random
import zipfile
from collections.abc import Callable
from typing import Any

ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1.5, 10**400, float("nan"), float("inf"), 2**63, "", " ", "\t", "a\tb\nc",
    "\ud800", "\x00", "é漢字", "word " * 50, [], {}, [None], {"odd": None}, [[[[]]]],
)  # fmt: skip
"""What a JSON value is replaced by: other types, huge numbers, blanks, half a character."""

Mutation = Callable[[bytes, random.Random], bytes]


def mutate(name: str, content: bytes, rng: random.Random) -> bytes:
    """Damages a file once; archives are damaged themselves or in what they hold.

    The result may by chance be the same as before.
    """
    if name.endswith((".gz", ".zip")) and rng.random() < 0.8:
        try:
            return _inside(name, content, rng)
        except Exception:  # it was damaged before, in one of many ways
            return _bytes(content, rng)
    kinds: list[Mutation] = [_bytes, _lines]
    if not name.endswith((".gz", ".zip")):
        kinds += [_json] * 6 if name.endswith((".json", ".jsonl", ".jsonlines", ".txt")) else []
        kinds += [_columns] * 3 if name.endswith((".tsv", ".txt", ".qrel")) else []
    return rng.choice(kinds)(content, rng)


def _inside(name: str, content: bytes, rng: random.Random) -> bytes:
    """Damages what an archive holds."""
    if name.endswith(".gz"):
        return gzip.compress(mutate(name[:-3], gzip.decompress(content), rng))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(sorted(members))
    members[name] = mutate(name, members[name], rng)
    if rng.random() < 0.1:
        del members[name]
    buffer = io.BytesIO()
    with zipfile.ZipFile(
        buffer, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    ) as out:
        for name, inner in members.items():
            out.writestr(name, inner)
    return buffer.getvalue()


def _bytes(content: bytes, rng: random.Random) -> bytes:
    """Cut off, flipped, taken out, doubled, put in, or in another encoding."""
    start, stop = sorted((rng.randrange(len(content) + 1), rng.randrange(len(content) + 1)))
    match rng.randrange(9):
        case 0:
            return content[:start]
        case 1:
            damaged = bytearray(content)
            for _ in range(rng.randint(1, 4)):
                if damaged:
                    damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
            return bytes(damaged)
        case 2:
            return content[:start] + content[stop:]
        case 3:
            return content[:stop] + content[start:]
        case 4:
            return content[:start] + rng.randbytes(rng.randint(1, 8)) + content[start:]
        case 5:
            return content.decode("latin-1").encode(rng.choice(("utf-16", "utf-32", "utf-8-sig")))
        case 6:
            return content.decode("latin-1").encode("utf-8") + b"\xe9"
        case 7:
            return content.replace(b"\n", rng.choice((b"\r\n", b"\r", b"\n\n", b"\x00\n")))
        case _:
            return b""


def _lines(content: bytes, rng: random.Random) -> bytes:
    """A line doubled, dropped, moved, joined with the next, or blank."""
    lines = content.splitlines(keepends=True)
    if not lines:
        return content
    place = rng.randrange(len(lines))
    match rng.randrange(5):
        case 0:
            lines.insert(rng.randrange(len(lines) + 1), lines[place])
        case 1:
            del lines[place]
        case 2:
            lines.insert(rng.randrange(len(lines)), lines.pop(place))
        case 3:
            lines[place] = lines[place].rstrip(b"\r\n")
        case _:
            lines.insert(place, b" \n")
    return b"".join(lines)


def _columns(content: bytes, rng: random.Random) -> bytes:
    """A cell of a table replaced, dropped or added."""
    lines = content.decode("utf-8", "surrogateescape").split("\n")
    place = rng.randrange(len(lines))
    split = "\t" if "\t" in lines[place] else " "
    cells = lines[place].split(split)
    cell = rng.randrange(len(cells))
    match rng.randrange(4):
        case 0:
            del cells[cell]
        case 1:
            cells.insert(cell, cells[cell])
        case _:
            odd = ("", " ", "-1", "1.5", "9" * 5000, "nan", '"', "x y", "٣", "\x00", "é", "_1")
            cells[cell] = rng.choice(odd)
    lines[place] = split.join(cells)
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def _json(content: bytes, rng: random.Random) -> bytes:
    """A part of a JSON value, of the file or of a line, made odd, dropped, doubled or moved."""
    try:
        return json.dumps(_changed(json.loads(content), rng)).encode()
    except (ValueError, RecursionError):
        pass
    lines = content.split(b"\n")
    place = rng.randrange(len(lines))
    try:
        lines[place] = json.dumps(_changed(json.loads(lines[place]), rng)).encode()
    except (ValueError, RecursionError):
        return _bytes(content, rng)
    return b"\n".join(lines)


def _changed(value: Any, rng: random.Random) -> Any:
    """The value with one part of it changed, in place."""
    parts = list(_parts(value))
    if not parts:
        return rng.choice(ODD)
    holder, key = rng.choice(parts)
    match rng.randrange(6):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, list):
            holder.insert(rng.randrange(len(holder) + 1), holder[key])
        case 2 if isinstance(holder, dict):
            holder[rng.choice((f"{key} ", key.upper(), "", "odd\tkey"))] = holder.pop(key)
        case 3:
            other, place = rng.choice(parts)
            try:
                holder[key], other[place] = other[place], holder[key]
                json.dumps(value)
            except (ValueError, RecursionError):  # a value within itself
                return None
        case 4 if isinstance(holder[key], str):
            holder[key] = rng.choice((holder[key] * 2, f" {holder[key]}\n", holder[key][:1]))
        case _:
            holder[key] = rng.choice(ODD)
    return value


def _parts(value: Any) -> list[tuple[Any, Any]]:
    """Every place in a JSON value, as what holds it and its key there."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if _is_list(value) else ()
    return [place for key in keys for place in ((value, key), *_parts(value[key]))]


def _is_list(value: Any) -> bool:
    return isinstance(value, list)
