"""``uniconv index``: an index from documents and corpora, by one process or by many."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional

from uniconv.errors import ConfigError

if TYPE_CHECKING:
    from uniconv.retrieval.encoding import Encoder
    from uniconv.retrieval.milvus_loading import LoadReport
    from uniconv.retrieval.planning import Plan
    from uniconv.retrieval.quantisation import Storage

_SHARE = re.compile(r"(\d+)/(\d+)")


def index(
    sources: Positional[tuple[str, ...]] = (),
    *,
    out: Path,
    model: str = "embedded",
    exact: bool = False,
    dimensions: int | None = None,
    vectors: Literal["float32", "int8", "binary"] | None = None,
    processes: int | None = None,
    ray: str | None = None,
    prepare: bool = False,
    shard: str | None = None,
    merge: bool = False,
) -> None:
    """Make or update an index of documents and corpora.

    Args:
        sources: Folders and files (.md, .txt, .html, .pdf, .docx), and BEIR corpora (.jsonl).
        out: The index folder. An existing one is updated: only what changed is encoded. Or a
            Milvus configuration (.yaml): what is indexed is loaded there, or without sources what
            is in its folder (docs/milvus.md).
        model: A UniConv checkpoint, any causal LM, or "embedded" for the one that comes along.
        exact: Search all vectors however many there are; without it, approximately above 100,000.
        dimensions: How many dimensions of the vectors to keep, from the first; by default as the
            index has it, all in a new one (docs/vectors.md).
        vectors: How to keep them: float32, int8 (a quarter) or binary (int8 on disk, a bit in
            memory); by default as the index has it, float32 in a new one.
        processes: Encode in so many processes of this machine, each with a GPU if there are any.
        ray: Encode on a Ray cluster: its address, auto, or local for this machine (extra ray).
            With processes, by so many workers.
        prepare: Only read the sources, for jobs with --shard (docs/scale.md).
        shard: Only encode the share i/n, such as 0/16 to 15/16, as one of n jobs. Without sources,
            of what was prepared.
        merge: Only put together what the jobs have encoded; needs no sources and no model.
    """
    steps = {"--prepare": prepare, "--shard": shard is not None, "--merge": merge}
    steps["--processes or --ray"] = processes is not None or ray is not None
    chosen = [name for name, is_on in steps.items() if is_on]
    if len(chosen) > 1:
        raise ConfigError(f"{' and '.join(chosen)} can't go together; choose one")
    how = {"--dimensions": dimensions, "--vectors": vectors}
    kept = [name for name, value in how.items() if value is not None]
    from uniconv.config.milvus import is_milvus

    if is_milvus(out):
        if chosen:
            raise ConfigError(
                f"{out}: {chosen[0]} makes an index folder, so name that; when it is made, "
                f"'uniconv index --out {out}' loads it"
            )
        if kept and not sources:
            raise ConfigError(f"{kept[0]} is for what is indexed; name the sources too")
        print(_index_in_milvus(sources, out, model, dimensions, vectors))
        return
    if kept and not sources:
        raise ConfigError(f"{kept[0]} was decided when the index was prepared; leave it out")
    if not sources and not (shard or merge):
        raise ConfigError("name the folders and files to index")
    from uniconv.retrieval.vectors import EXACT_BELOW

    exact_below = sys.maxsize if exact else EXACT_BELOW
    if merge:
        from uniconv.retrieval.sharing import merge_index

        print(merge_index(out, exact_below=exact_below))
        return
    from uniconv.model import UniConv
    from uniconv.retrieval.building import build_index
    from uniconv.retrieval.sharing import prepare_index

    load = partial(UniConv.from_pretrained, model)
    begin = partial(prepare_index, sources, out, dimensions=dimensions, vectors=vectors)
    if shard is not None:
        _encode_share(begin if sources else None, out, load, shard)
    elif prepare:
        print(_prepare(begin, load) or "nothing has changed")
    elif processes is not None or ray is not None:
        _encode_elsewhere(begin, out, load, exact_below, processes, ray)
    else:
        make = partial(build_index, dimensions=dimensions, vectors=vectors)
        print(make(sources, out, load(), exact_below=exact_below))


def _index_in_milvus(
    sources: tuple[str, ...],
    out: Path,
    model: str,
    dimensions: int | None,
    vectors: Storage | None,
) -> LoadReport:
    from uniconv.retrieval.milvus_loading import index_in_milvus, load_in_milvus

    if not sources:
        return load_in_milvus(out)
    from uniconv.model import UniConv

    loaded = UniConv.from_pretrained(model)
    return index_in_milvus(sources, out, loaded, dimensions=dimensions, vectors=vectors)


def _prepare(begin: Callable[..., Plan | None], load: Callable[..., Encoder]) -> str | None:
    """What is to be done, None if nothing; the model needs no GPU for this."""
    plan = begin(load(device="cpu"))
    return str(plan) if plan else None


def _encode_share(
    begin: Callable[..., Plan | None] | None, out: Path, load: Callable[[], Encoder], shard: str
) -> None:
    from uniconv.retrieval.sharing import check_share, encode_share

    found = _SHARE.fullmatch(shard)
    if found is None:
        raise ConfigError(f"--shard {shard}: must be i/n, such as 0/16 for the first of 16 jobs")
    share = int(found[1]), int(found[2])
    check_share(*share)
    loaded = load()
    if begin is not None and begin(loaded, replace=False) is None:
        print("nothing has changed")
        return
    print(encode_share(out, loaded, *share))


def _encode_elsewhere(
    begin: Callable[..., Plan | None],
    out: Path,
    load: Callable[..., Encoder],
    exact_below: int,
    processes: int | None,
    ray: str | None,
) -> None:
    from uniconv.retrieval.sharing import merge_index

    started = time.monotonic()
    plan = _prepare(begin, load)
    if plan is None:
        print("nothing has changed")
        return
    print(plan, file=sys.stderr)
    if ray is not None:
        from uniconv.retrieval.ray_workers import encode_on_ray

        encode_on_ray(out, load, address=ray, workers=processes)
    else:
        from uniconv.retrieval.workers import encode_in_processes

        encode_in_processes(out, load, processes or 1)
    merged = merge_index(out, exact_below=exact_below)
    print(replace(merged, seconds=time.monotonic() - started))
