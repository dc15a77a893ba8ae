"""Python commands in processes of their own, without the seconds that importing PyTorch takes.

They are forked from a server that has imported the libraries and nothing of ours: what a new
interpreter would find missing in our modules is still missing.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    ["accelerate", "bm25s", "faiss", "peft", "transformers.models.llama.modeling_llama"]
)


class Command:
    """What ``python MODULE_OR_SCRIPT ARGUMENTS`` would do; a script's name ends in ``.py``."""

    def __init__(
        self,
        arguments: Sequence[str | Path],
        *,
        folder: Path | None = None,
        text: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._arguments = [str(one) for one in arguments]
        self._streams = TemporaryDirectory()
        self._out, self._errors = (Path(self._streams.name, one) for one in ("out", "errors"))
        given = Path(self._streams.name, "in")
        given.write_text(text, "utf-8")
        self._out.touch()  # one that is killed early has said nothing
        self._errors.touch()
        self.process = PROCESSES.Process(
            target=_run,
            args=(
                self._arguments,
                {**os.environ, **(environment or {})},
                folder or Path.cwd(),
                (given, self._out, self._errors),
            ),
        )
        self.process.start()

    def finish(self, seconds: float) -> CompletedProcess[str]:
        """Waits for its end; after ``seconds``, a guard against hanging, it is killed."""
        self.process.join(seconds)
        self.process.kill()
        self.process.join()
        code = self.process.exitcode
        assert code is not None
        out, errors = (one.read_text("utf-8") for one in (self._out, self._errors))
        self._streams.cleanup()
        return CompletedProcess(self._arguments, code, out, errors)


def _run(
    arguments: list[str], environment: dict[str, str], folder: Path, streams: Sequence[Path]
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for descriptor, path in enumerate(streams):
        file = os.open(path, os.O_RDWR)
        os.dup2(file, descriptor)
        os.close(file)
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.argv = arguments
    if arguments[0].endswith(".py"):
        sys.path.insert(0, str(Path(arguments[0]).parent))
        runpy.run_path(arguments[0], run_name="__main__")
    else:
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
