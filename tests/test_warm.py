"""Warm processes end as new interpreters do: tests believe their codes and what they print."""

from __future__ import annotations

from pathlib import Path

import pytest

from warm import Command

SCRIPT = """
import os, sys
assert "uniconv" not in sys.modules
print(input(), sys.argv[1], os.environ["GIVEN"], os.getcwd())
sys.exit(int(sys.argv[1])) if sys.argv[1] != "raise" else 1 / 0
"""


@pytest.mark.parametrize(("argument", "code"), [("0", 0), ("2", 2), ("raise", 1)])
def test_codes_and_streams_are_those_of_the_command(
    argument: str, code: int, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, "utf-8")
    environment = {"GIVEN": "given"}
    command = Command([script, argument], folder=tmp_path, text="told\n", environment=environment)
    done = command.finish(60)
    assert done.returncode == code
    assert done.stdout == f"told {argument} given {tmp_path}\n"
    assert ("ZeroDivisionError" in done.stderr) == (argument == "raise")
    assert done.stderr == "" or argument == "raise"


def test_what_hangs_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import time; time.sleep(60)", "utf-8")
    assert Command([script]).finish(0.1).returncode < 0
