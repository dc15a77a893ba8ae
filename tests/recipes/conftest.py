"""Puts the recipes' scripts and the native fixtures of data sets on the path."""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
for folder in ("recipes/mini", "recipes/paper", "tests/data"):
    sys.path.insert(0, str(TESTS.parent / folder))
