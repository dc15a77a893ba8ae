"""``uniconv serve`` as a process that can be measured and killed."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

import httpx2 as httpx
import psutil


class Server:
    """Runs while its context lasts, on a free port of this machine."""

    def __init__(self, folder: Path, *options: object) -> None:
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the server
        command = [sys.executable, "-m", "uniconv", "serve", folder, "--port", 0, *options]
        self._process = subprocess.Popen(
            list(map(str, command)), stdout=subprocess.PIPE, stderr=self._log, text=True
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._log.seek(0)
            raise SystemExit(f"the server did not start: {self._log.read()}")
        self.url = line.split()[0]
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                if httpx.get(f"{self.url}/readyz").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.1)
        raise SystemExit("the server was not ready within a minute")

    def memory(self) -> float:
        """Resident, in MiB."""
        return float(psutil.Process(self._process.pid).memory_info().rss) / 2**20

    def kill(self) -> None:
        """Without any warning."""
        self._process.kill()
        self._process.wait(30)

    def failures(self) -> int:
        """Lines of the log that tell of a failure of the server's own."""
        self._log.flush()
        self._log.seek(0)
        return sum(json.loads(line)["level"] == "error" for line in self._log)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()
        self._log.close()
