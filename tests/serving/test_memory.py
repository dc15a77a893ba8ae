from __future__ import annotations

import threading
from pathlib import Path

import psutil
import pytest
from fastapi.testclient import TestClient
from scripted import Scripted, question, searching

from uniconv.serving import memory
from uniconv.serving.app import create_app
from waiting import until

MIB = 2**20


def resident() -> int:
    return int(psutil.Process().memory_info().rss)


@pytest.mark.skipif(memory.libc() is None, reason="the C library isn't glibc")
def test_what_was_freed_between_what_is_used_is_given_back() -> None:
    # Blocks are too small to be mapped one by one; every tenth one stays.
    used: list[bytes] = []

    def work() -> None:
        blocks = [b"x" * 65_536 for _ in range(1024)]
        used.extend(blocks[::10])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    before = resident()
    memory.give_back(memory.libc())
    assert before - resident() > 40 * MIB
    assert len(used) * 65_536 < 10 * MIB


def test_a_server_gives_back_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []
    monkeypatch.setattr(memory, "SECONDS", 0.01)
    monkeypatch.setattr(memory, "give_back", lambda _: given.append(1))
    monkeypatch.setattr(memory, "libc", lambda: object())
    with TestClient(create_app(searching(tmp_path, Scripted()))) as client:
        until(lambda: len(given) > 2)
        client.post("/v1/chat/completions", json=question()).raise_for_status()


def test_a_server_runs_where_nothing_can_be_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "libc", lambda: None)
    with TestClient(create_app(searching(tmp_path, Scripted()))) as client:
        client.post("/v1/chat/completions", json=question()).raise_for_status()
