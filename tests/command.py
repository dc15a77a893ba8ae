"""The ``uniconv`` command, run in this process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from uniconv.cli import main


def run(*arguments: str | Path) -> int:
    """The exit status of ``uniconv`` with these arguments."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["uniconv", *map(str, arguments)])
        try:
            main()
        except SystemExit as leaving:
            return int(leaving.code or 0)
    return 0
