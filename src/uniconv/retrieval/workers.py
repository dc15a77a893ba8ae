"""Shards made by several processes of this machine, each with a GPU of its own where there are any.

A process that is killed is started again and goes on at the shard that it was in.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from uniconv.errors import ConfigError, UniConvError
from uniconv.retrieval.encoding import Encoder
from uniconv.retrieval.making import show_progress
from uniconv.retrieval.planning import Work
from uniconv.retrieval.sharing import encode_share, open_work

_FRUITLESS = 3
"""Times that a process may be killed without finishing a shard in between."""


def encode_in_processes(
    out: Path | str, load: Callable[[], Encoder], processes: int, *, quiet: bool = False
) -> None:
    """Makes all shards of what was prepared in ``out``; each of the processes ``load``s a model.

    They are new interpreters, so ``load`` must be picklable, and a script that calls this needs the
    usual ``if __name__ == "__main__"``. On a machine without GPUs they share its cores.

    Raises:
        ConfigError: ``processes`` is below 1.
        IndexFolderError, ModelError: as of ``encode_share``.
        UniConvError: a process was killed again and again without finishing a shard.
    """
    if processes < 1:
        raise ConfigError(f"{processes} processes can't make an index; take 1 or more")
    folder = Path(out)
    work = open_work(folder)
    running: dict[int, _Worker] = {}
    with show_progress(quiet) as progress:
        task = progress.add_task("Encoding shards", total=work.shard_count)
        try:
            for number in range(processes):
                running[number] = _Worker.start(folder, load, number, processes, work)
            while running:
                wait([one.process.sentinel for one in running.values()], timeout=0.5)
                progress.update(task, completed=work.shard_count - len(work.missing()))
                for number, worker in list(running.items()):
                    if worker.process.exitcode is None:
                        continue
                    del running[number]
                    if worker.was_killed(work):
                        running[number] = _Worker.start(
                            folder, load, number, processes, work, worker.fruitless
                        )
        finally:
            for worker in running.values():
                worker.process.terminate()
                worker.process.join()


@dataclass(slots=True)
class _Worker:
    """A process that makes a share; ``fruitless`` counts its ends since it last made a shard."""

    process: BaseProcess
    errors: Connection
    share: slice
    missing: int
    fruitless: int

    @classmethod
    def start(
        cls,
        folder: Path,
        load: Callable[[], Encoder],
        number: int,
        processes: int,
        work: Work,
        fruitless: int = 0,
    ) -> _Worker:
        """A new process for a share."""
        context = multiprocessing.get_context("spawn")
        errors, theirs = context.Pipe(duplex=False)
        process = context.Process(
            target=_encode, args=(folder, load, number, processes, theirs), daemon=True
        )
        with _environment(_resources(number, processes)):
            process.start()
        theirs.close()
        share = slice(number, None, processes)
        return cls(process, errors, share, _left(work, share), fruitless)

    def was_killed(self, work: Work) -> bool:
        """Whether it ended by a signal and may try again; False if it is done.

        Raises:
            UniConvError: it failed, or was killed too often.
        """
        self.process.join()
        code = self.process.exitcode or 0
        if code == 0:
            return False
        try:
            raise UniConvError(self.errors.recv())
        except EOFError:  # it had nothing to say
            pass
        if code > 0:
            raise UniConvError(
                f"a process that makes shards failed (exit status {code}), see above"
            )
        self.fruitless = 0 if _left(work, self.share) < self.missing else self.fruitless + 1
        if self.fruitless == _FRUITLESS:
            raise UniConvError(
                f"a process that makes shards was killed {_FRUITLESS} times (signal {-code}) "
                "without finishing one; is there memory for as many models? Whole shards are kept"
            )
        return True


def _left(work: Work, share: slice) -> int:
    return len(set(work.missing()) & set(range(work.shard_count)[share]))


def _encode(
    folder: Path, load: Callable[[], Encoder], number: int, processes: int, errors: Connection
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends us
    try:
        encode_share(folder, load(), number, processes, quiet=True)
    except UniConvError as error:
        errors.send(str(error))
        raise SystemExit(2) from None


def _resources(number: int, processes: int) -> dict[str, str]:
    """The GPU of a process by its number, or its part of the cores."""
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = visible.split(",") if visible else [str(n) for n in range(torch.cuda.device_count())]
    if torch.cuda.device_count():
        return {"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]}
    threads = max(1, (os.cpu_count() or 1) // processes)
    return {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads))}


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """What a process inherits that is started within."""
    before: dict[str, Any] = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
