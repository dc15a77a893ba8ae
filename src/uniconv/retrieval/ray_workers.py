"""Shards made on a Ray cluster (extra ``ray``): Ray Data hands their numbers to a pool of actors.

All machines must see the index folder under the same path: passages are read from it and shards
written to it, so that Ray carries numbers only. What becomes of lost machines is Ray's part: it
starts actors again and repeats their shards.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from uniconv.errors import ConfigError, UniConvError
from uniconv.retrieval.encoding import Encoder
from uniconv.retrieval.making import show_progress
from uniconv.retrieval.planning import Work
from uniconv.retrieval.sharing import open_work

LOCAL = "local"


def encode_on_ray(
    out: Path | str,
    load: Callable[[], Encoder],
    *,
    address: str = LOCAL,
    workers: int | None = None,
    quiet: bool = False,
) -> None:
    """Makes all shards of what was prepared in ``out``, by actors that each ``load`` a model.

    ``address`` is a cluster's, ``auto`` that of the cluster that this runs in, ``local`` starts Ray
    on this machine alone. A worker has a GPU where the cluster has any, else a CPU; by default
    there are as many as GPUs, or as CPUs less one.

    Raises:
        ConfigError: Ray is not installed or not there, or ``workers`` is below 1.
        IndexFolderError: nothing is prepared.
        UniConvError: a worker failed by other than being lost.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ConfigError("Ray is not installed: pip install 'uniconv[ray]'") from error
    if workers is not None and workers < 1:
        raise ConfigError(f"{workers} Ray workers can't make an index; take 1 or more")
    work = open_work(Path(out))
    missing, total = work.missing(), work.shard_count
    if not missing:
        return
    with show_progress(quiet) as progress:
        done = total - len(missing)
        task = progress.add_task("Encoding shards", total=total, completed=done)
        started = not ray.is_initialized()
        if started:
            _start(ray, address, workers)
        try:
            for _ in _encoded(ray, missing, Path(out).resolve(), load, workers):
                progress.advance(task)
        except ray.exceptions.RayError as error:
            raise UniConvError(f"a Ray worker failed: {error}") from error
        finally:
            if started:
                ray.shutdown()


def _start(ray: Any, address: str, workers: int | None) -> None:
    options: dict[str, Any] = {"address": address}
    if address == LOCAL:
        # One more than there are workers: Ray Data's own tasks must find a place beside them.
        options["num_cpus"] = max((workers or 1) + 1, os.cpu_count() or 1)
    try:
        ray.init(**options, logging_level="ERROR", log_to_driver=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ConfigError(f"Ray can't be reached at '{address}' ({_first_line(error)})") from error


def _encoded(
    ray: Any, numbers: Sequence[int], folder: Path, load: Callable[[], Encoder], workers: int | None
) -> Iterator[None]:
    """Once for every shard that is done."""
    found = ray.cluster_resources()
    gpus, cpus = int(found.get("GPU", 0)), int(found.get("CPU", 1))
    workers = workers or gpus or max(1, cpus - 1)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    # A block is what a lost worker repeats, so each holds one shard.
    dataset = ray.data.from_items(list(numbers), override_num_blocks=len(numbers)).map_batches(
        _Worker,
        fn_constructor_args=(folder, load),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(workers, len(numbers))),
        num_gpus=1 if gpus else None,
    )
    for row in dataset.iter_rows():
        if row["problem"]:
            raise UniConvError(row["problem"])
        yield


class _Worker:
    """An actor: a model, and the shards that it is told to make."""

    def __init__(self, folder: Path, load: Callable[[], Encoder]) -> None:
        self._folder = folder
        self._load = load

    @cached_property
    def _ready(self) -> tuple[Work, Encoder]:
        return open_work(self._folder), self._load()

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Makes shards. Ray would tell an error as text alone, so a user's mistake is a result."""
        problem = ""
        try:
            work, encoder = self._ready
            for number in batch["item"].tolist():
                work.encode(encoder, process=number, processes=work.shard_count)
        except UniConvError as error:
            problem = str(error)
        return {"problem": [problem]}


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0]
