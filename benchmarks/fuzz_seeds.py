"""The smallest parts of real data sets that their readers still take: seeds for the fuzzer."""

from __future__ import annotations

import json
import shutil
import sys
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from native_files import WIKI, Files, jsonl, write

from uniconv.data.catalogue import CATALOGUE
from uniconv.errors import UniConvError

FOLDERS = {
    "topiocqa": "topiocqa", "inscit": "inscit", "mtrag-clapnq": "mtrag", "mtrag-cloud": "mtrag",
    "mtrag-synthetic": "mtrag", "mtragun-clapnq": "mtrag", "mtragun-cloud": "mtrag",
    "cast19": "cast", "cast20": "cast", "cast21": "cast", "ikat23": "ikat_topics_only",
    "ikat24": "ikat_topics_only", "ikat25": "ikat_topics_only", "doc2dial": "doc2dial",
    "dstc10": "dstc", "dstc11": "dstc", "qrecc": "qrecc", "canard": "canard",
    "cmu_dog": "cmu_dog", "topical_chat": "topical_chat", "wowpp": "wowpp", "medquad": "medquad",
    "qed_nq": "qed_nq", "squad": "squad", "squad2": "squad", "clapnq": "clapnq",
    "ottqa": "ottqa_hybridqa", "hybridqa": "ottqa_hybridqa", "nfcorpus": "beir_small",
    "arguana": "beir_small",
}  # fmt: skip
"""Where the real files of a data set lie."""
LINKED = ("ottqa", "hybridqa")
FIRST = {
    "topiocqa": ("topiocqa_", 40), "dstc10": ("_val_l", 12), "dstc11": ("_val_l", 30),
    "canard": ("canard_", 40),
}  # fmt: skip
"""How many first records are kept of files of such names, whose records belong together."""
SMALL = 10_000
"""Bytes that a file may have; the reader may need more of it."""
LARGE = 300_000
"""Bytes of all files above which a seed would only cost time."""
SECONDS = 40
"""Time to shrink a data set."""


def real_seeds(
    data: Path, scratch: Path, only: Sequence[str] | None
) -> dict[str, tuple[str, Files]]:
    """Small parts of the real files, by ``real <data set>``; absent sets are left out."""
    seeds: dict[str, tuple[str, Files]] = {}
    for name, folder in FOLDERS.items():
        if not (data / folder).is_dir() or (only and name not in only):
            continue
        print(f"shrinking {name}", file=sys.stderr)
        shutil.rmtree(scratch, ignore_errors=True)
        files = _needed(name, data / folder, scratch)
        if files is None:
            continue
        small = _shrunk(name, files, scratch)
        if (size := sum(map(len, small.values()))) > LARGE:
            print(f"  left out: {size:,} bytes remain", file=sys.stderr)
            continue
        seeds[f"real {name}"] = (name, small)
    return seeds


def _needed(name: str, folder: Path, scratch: Path) -> Files | None:
    """The files that the reader reads, and a corpus for a set of links."""
    corpus: Path | None = None
    files: Files = {}
    if name in LINKED:
        rows = [json.loads(line) for line in (folder / f"{name}_dev.jsonl").open()][:20]
        titles = {link[6:].replace("_", " ") for row in rows for link in row["passages"]}
        files[WIKI] = jsonl(
            *(
                {"_id": f"w:{n}", "title": title, "text": "A text."}
                for n, title in enumerate(titles)
            )
        )
        write(files, scratch / "in")
        corpus = scratch / "in" / WIKI
    try:
        sources = CATALOGUE[name].read(folder, corpus).sources
    except UniConvError as error:
        print(f"  left out: {error}", file=sys.stderr)
        return None
    for path in sources:
        path = next(one for one in (path, *path.parents) if one.is_file())
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                files |= {one: archive.read(one) for one in archive.namelist() if one[-1] != "/"}
        else:
            files[str(path.relative_to(folder))] = path.read_bytes()
    return files


def _shrunk(name: str, files: Files, scratch: Path) -> Files:
    """Halves lists and objects of the files as long as the reader takes what is left."""
    if name in FIRST:
        part, count = FIRST[name]
        files |= {path: _first(content, count) for path, content in files.items() if part in path}
    wanted = _holds(name, files, scratch)
    if wanted is None:
        raise SystemExit(f"{name}: its files are refused")
    shrinking = True
    ends = time.monotonic() + SECONDS
    while shrinking:
        shrinking = False
        for path in sorted(files, key=lambda path: -len(files[path])):
            if len(files[path]) <= SMALL:
                continue
            for smaller in _halves(files[path]):
                if time.monotonic() > ends:
                    return files
                trial = {**files, path: smaller}
                if _holds(name, trial, scratch) == wanted:
                    files, shrinking = trial, True
                    break
    return files


def _first(content: bytes, count: int) -> bytes:
    """The first records of a JSON list, or of lines."""
    try:
        return json.dumps(json.loads(content)[:count]).encode()
    except ValueError:
        return b"".join(content.splitlines(keepends=True)[:count])


@dataclass(frozen=True)
class _Holds:
    """What a part must still have: splits with conversations, positives, passages."""

    splits: frozenset[str]
    positives: bool
    passages: bool


def _holds(name: str, files: Files, scratch: Path) -> _Holds | None:
    shutil.rmtree(scratch / "in", ignore_errors=True)
    write(files, scratch / "in")
    corpus = scratch / "in" / WIKI if WIKI in files else None
    try:
        data = CATALOGUE[name].read(scratch / "in", corpus)
        talks = {split: list(conversations) for split, conversations in data.splits.items()}
        passages = any(True for _ in data.passages or ())
    except UniConvError:
        return None
    everything = (turn for some in talks.values() for one in some for turn in one.turns)
    positives = any(turn.positives for turn in everything)
    return _Holds(frozenset(split for split in talks if talks[split]), positives, passages)


def _halves(content: bytes) -> Iterator[bytes]:
    """The content without one half of its records, then without smaller parts of them."""
    try:
        top = [json.loads(content)]
    except ValueError:
        lines = content.splitlines(keepends=True)
        yield from (b"".join(part) for part in _parts(lines))
        return
    for holder, key in _largest(top):
        whole = holder[key]
        items = list(whole.items()) if isinstance(whole, dict) else whole
        for part in _parts(items):
            holder[key] = dict(part) if isinstance(whole, dict) else part
            yield json.dumps(top[0]).encode()
        holder[key] = whole


def _parts(items: list[Any]) -> Iterator[list[Any]]:
    for share in (2, 8):
        size = len(items) // share
        if size:
            for start in range(0, len(items), size):
                yield items[:start] + items[start + size :]


def _largest(top: list[Any]) -> list[tuple[Any, Any]]:
    """The three largest lists or objects of two or more items, as what holds them and their key."""
    found: list[tuple[int, Any, Any]] = []

    def look(holder: Any, key: Any, depth: int) -> None:
        inner = holder[key]
        if not isinstance(inner, (dict, list)) or depth > 4:
            return
        if len(inner) > 1:
            found.append((len(inner), holder, key))
        keys = list(inner) if isinstance(inner, dict) else range(min(len(inner), 3))
        for inside in list(keys)[:3]:
            look(inner, inside, depth + 1)

    look(top, 0, 0)
    found.sort(key=lambda one: -one[0])
    return [(holder, key) for _, holder, key in found[:3]]
