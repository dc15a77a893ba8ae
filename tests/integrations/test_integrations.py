"""What holds for all frameworks: extras are optional, and named where they are missing."""

from __future__ import annotations

import sys
from importlib import import_module

import pytest

from uniconv.integrations import with_k
from uniconv.search import SearchSettings

PACKAGES = {"langchain": "langchain_core", "llamaindex": "llama_index", "haystack": "haystack"}


@pytest.mark.parametrize("name", PACKAGES)
def test_a_missing_extra_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in list(sys.modules):
        if module.split(".")[0] == PACKAGES[name]:
            monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, PACKAGES[name], None)
    monkeypatch.delitem(sys.modules, f"uniconv.integrations.{name}", raising=False)
    with pytest.raises(ImportError, match=rf"needs the extra {name}: .*'uniconv\[{name}\]'"):
        import_module(f"uniconv.integrations.{name}")


def test_fewer_passages_than_are_read_are_all_read() -> None:
    settings = SearchSettings(retrieve=10, read=3)
    assert with_k(settings, None) is settings
    assert (with_k(settings, 2).retrieve, with_k(settings, 2).read) == (2, 2)
    assert (with_k(settings, 20).retrieve, with_k(settings, 20).read) == (20, 3)
