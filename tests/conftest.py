"""What every test sees: this folder on the path, one thread, no network, and exact products."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side (make test)
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True, scope="session")
def _exact_products() -> Iterator[None]:
    """Vectors are the same on every CPU, whatever it computes in."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("uniconv.model.computes_in_bfloat16", lambda _device: False)
        yield
