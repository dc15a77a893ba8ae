"""``uniconv index``: an index from documents and corpora, by one process or by many."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from uniconv.errors import ConfigError

if TYPE_CHECKING:
    from uniconv.retrieval.encoding import Encoder
    from uniconv.retrieval.milvus_loading import LoadReport

_SHARE = re.compile(r"(\d+)/(\d+)")


def index(
    sources: Positional[tuple[str, ...]] = (),
    *,
    out: Path,
    model: str = "embedded",
    exact: bool = False,
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
    from uniconv.config.milvus import is_milvus

    if is_milvus(out):
        if chosen:
            raise ConfigError(
                f"{out}: {chosen[0]} makes an index folder, so name that; when it is made, "
                f"'uniconv index --out {out}' loads it"
            )
        print(_index_in_milvus(sources, out, model))
        return
    if not sources and not (shard or merge):
        raise ConfigError("name the folders and files to index")
    from uniconv.retrieval.vectors import EXACT_BELOW

    exact_below = sys.maxsize if exact else EXACT_BELOW
    if merge:
        from uniconv.retrieval.sharing import merge_index

        print(merge_index(out, exact_below=exact_below))
        return
    from uniconv.model import UniConv

    load = partial(UniConv.from_pretrained, model)
    if shard is not None:
        _encode_share(sources, out, load, shard)
    elif prepare:
        print(_prepare(sources, out, load) or "nothing has changed")
    elif processes is not None or ray is not None:
        _encode_elsewhere(sources, out, load, exact_below, processes, ray)
    else:
        from uniconv.retrieval.building import build_index

        print(build_index(sources, out, load(), exact_below=exact_below))


def _index_in_milvus(sources: tuple[str, ...], out: Path, model: str) -> LoadReport:
    from uniconv.retrieval.milvus_loading import index_in_milvus, load_in_milvus

    if not sources:
        return load_in_milvus(out)
    from uniconv.model import UniConv

    return index_in_milvus(sources, out, UniConv.from_pretrained(model))


def _prepare(sources: tuple[str, ...], out: Path, load: Callable[..., Encoder]) -> str | None:
    """What is to be done, None if nothing; the model needs no GPU for this."""
    from uniconv.retrieval.sharing import prepare_index

    plan = prepare_index(sources, out, load(device="cpu"))
    return str(plan) if plan else None


def _encode_share(
    sources: tuple[str, ...], out: Path, load: Callable[[], Encoder], shard: str
) -> None:
    from uniconv.retrieval.sharing import check_share, encode_share, prepare_index

    found = _SHARE.fullmatch(shard)
    if found is None:
        raise ConfigError(f"--shard {shard}: must be i/n, such as 0/16 for the first of 16 jobs")
    share = int(found[1]), int(found[2])
    check_share(*share)
    loaded = load()
    if sources and prepare_index(sources, out, loaded, replace=False) is None:
        print("nothing has changed")
        return
    print(encode_share(out, loaded, *share))


def _encode_elsewhere(
    sources: tuple[str, ...],
    out: Path,
    load: Callable[..., Encoder],
    exact_below: int,
    processes: int | None,
    ray: str | None,
) -> None:
    from uniconv.retrieval.sharing import merge_index

    plan = _prepare(sources, out, load)
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
    print(merge_index(out, exact_below=exact_below))
