"""Documents come and go over HTTP; the index is whole whatever happens."""

from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from fastapi.testclient import TestClient
from filelock import FileLock
from scripted import TEXTS, Scripted, forked, question, searching

from tiny import tiny_uniconv
from uniconv.retrieval.building import build_index
from uniconv.retrieval.interface import Index
from uniconv.retrieval.publishing import LOCK
from uniconv.search import ConversationalSearch
from uniconv.serving.app import create_app
from uniconv.serving.settings import ServerSettings
from waiting import until

URL = "/v1/documents"
MOON = "# Moon\n\nThe moon pulls the sea, and so the tides come and go.\n"


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Any]:
    app = create_app(searching(tmp_path, Scripted()), ServerSettings(documents=True))
    with TestClient(app) as client:
        client.index = tmp_path / "index"  # type: ignore[attr-defined]
        yield client


def send(client: Any, *files: tuple[str, str | bytes]) -> Any:
    return client.post(URL, files=[("files", file) for file in files])


def names(client: Any) -> dict[str, int]:
    held = client.get(URL).json()["documents"]
    assert {one["name"]: one["passages"] for one in held} == {
        record.name: record.count for record in Index.open(client.index).manifest.files.values()
    }
    return {one["name"]: one["passages"] for one in held}


def best(client: Any, query: str) -> str:
    asked = {"query": query, "retriever": "bm25", "k": 1}
    [passage] = client.post("/v1/search", json=asked).json()["passages"]
    return str(passage["text"])


def kept(client: Any) -> set[str]:
    """The names of the uploads that lie on disk."""
    return {path.name for path in (client.index / "documents").glob("*/*")}


def test_documents_come_change_and_go(client: Any) -> None:
    assert names(client) == dict.fromkeys(TEXTS, 1)
    sent = send(client, ("moon.md", MOON), ("notes.txt", "A yellow submarine."))
    assert sent.status_code == 200
    assert sent.json() | {"seconds": 0} == {
        "documents": [{"name": "moon.md", "passages": 1}, {"name": "notes.txt", "passages": 1}],
        "added": 2,
        "changed": 0,
        "encoded": 2,
        "passages": 5,
        "seconds": 0,
    }
    assert names(client) == dict.fromkeys([*TEXTS, "moon.md", "notes.txt"], 1)
    assert "tides" in best(client, "moon")

    changed = send(client, ("moon.md", "# Moon\n\nThe moon is a cheese.\n")).json()
    assert (changed["added"], changed["changed"], changed["passages"]) == (0, 1, 5)
    assert best(client, "moon") == "The moon is a cheese."
    replaced = send(client, ("tower.md", "# Tower\n\nThe tower fell in 1999.\n")).json()
    assert (replaced["changed"], replaced["passages"]) == (1, 5)
    assert best(client, "tower") == "The tower fell in 1999."
    assert kept(client) == {"moon.md", "notes.txt", "tower.md"}

    assert client.delete(f"{URL}/moon.md").json() == {"deleted": "moon.md", "passages": 4}
    assert "moon.md" not in names(client)
    assert kept(client) == {"notes.txt", "tower.md"}
    [models] = client.get("/v1/models").json()["data"]
    assert (models["uniconv"]["passages"], models["uniconv"]["documents"]) == (4, True)


def test_the_same_again_changes_nothing(client: Any) -> None:
    send(client, ("moon.md", MOON))
    version = Index.open(client.index).version
    again = send(client, ("moon.md", MOON)).json()
    assert (again["encoded"], again["passages"]) == (0, 4)
    assert Index.open(client.index).version == version
    assert kept(client) == {"moon.md"}


def test_an_index_that_moved_takes_documents(client: Any, tmp_path: Path) -> None:
    send(client, ("moon.md", MOON))
    moved = client.index.rename(tmp_path / "elsewhere")
    search = client.app.state.service.search
    search.index = Index.open(moved)
    with TestClient(create_app(search, ServerSettings(documents=True))) as there:
        there.index = moved  # type: ignore[attr-defined]
        send(there, ("moon.md", "# Moon\n\nThe moon is a cheese.\n"))
        assert best(there, "moon") == "The moon is a cheese."
        assert names(there) == dict.fromkeys([*TEXTS, "moon.md"], 1)
        there.delete(f"{URL}/moon.md")
        assert kept(there) == set()


def word(size: int) -> bytes:
    """A zip of one part of so many zeros."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", bytes(size))
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("../../x.md", "x", "without folders"),
        ("a/b.md", "x", "without folders"),
        ("a\\b.md", "x", "without folders"),
        ("c:x.md", "x", "without folders"),
        (".hidden.md", "x", "not begin with a dot"),
        ("x" * 300 + ".md", "x", "200 bytes"),
        ("x.exe", "x", "the formats are .md"),
        ("corpus.jsonl", "{}", "the formats are .md"),
        ("x.md", b"\x00\x01", "not text"),
        ("x.md", b"%PDF-1.4", "not text"),
        ("x.txt", b"caf\xe9", "not UTF-8"),
        ("x.pdf", "text", "not a PDF"),
        ("x.pdf", b"%PDF-1.4 and nothing more", "not a PDF that can be read"),
        ("x.docx", "text", "not a Word document"),
        ("x.docx", b"PK\x03\x04", "not a Word document"),
        ("x.docx", word(200_000_000), "unpacked it is larger"),
        ("x.docx", word(10), "not a Word document"),
        ("x.md", " \n", "it holds no text"),
        ("x.md", "", "it holds no text"),
    ],
)
def test_what_is_no_document_is_refused(
    client: Any, name: str, content: str | bytes, message: str
) -> None:
    """With all that came along with it."""
    before = names(client)
    refused = send(client, ("good.md", MOON), (name, content))
    assert refused.status_code == 400
    assert message in refused.json()["error"]["message"]
    assert names(client) == before
    assert kept(client) == set()
    assert not (client.index.parent / "x.md").exists()


def test_other_refusals(client: Any) -> None:
    twice = send(client, ("moon.md", MOON), ("moon.md", MOON))
    assert (twice.status_code, "the same name" in twice.text) == (400, True)
    assert client.post(URL, json={"files": []}).status_code == 400
    assert client.post(URL, files={"other": ("x.md", "x")}).status_code == 400
    assert client.delete(f"{URL}/none.md").json()["error"]["code"] == "not_found"
    large = send(client, ("x.md", b"x" * (33_554_432 + 1)))
    assert (large.status_code, large.json()["error"]["code"]) == (413, "too_large")
    with FileLock(client.index / LOCK):
        busy = send(client, ("moon.md", MOON))
    assert (busy.status_code, busy.json()["error"]["code"]) == (409, "conflict")
    for name in list(TEXTS)[:2]:
        assert client.delete(f"{URL}/{name}").status_code == 200
    last = client.delete(f"{URL}/{list(TEXTS)[2]}")
    assert (last.status_code, "can't be left without" in last.text) == (400, True)


def test_only_where_it_is_enabled(tmp_path: Path) -> None:
    with TestClient(create_app(searching(tmp_path, Scripted()))) as client:
        for answer in (
            client.get(URL),
            send(client, ("moon.md", MOON)),
            client.delete(f"{URL}/tower.md"),
        ):
            assert answer.status_code == 404
            assert answer.json()["error"]["code"] == "documents_disabled"
        # Uploads have more room only where there are any.
        assert send(client, ("moon.md", b"x" * 1_100_000)).status_code == 413


def test_an_answer_in_progress_keeps_its_index(client: Any) -> None:
    model = client.app.state.service.search.model
    model.may.clear()
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(client.post, "/v1/chat/completions", json=question())
        until(lambda: model.pieces)
        assert send(client, ("moon.md", MOON)).status_code == 200
        assert client.delete(f"{URL}/tower.md").status_code == 200
        model.may.set()
        said = asked.result().json()
    assert "tower.md#1" in [one["id"] for one in said["uniconv"]["passages"]]
    assert len(client.post("/v1/search", json={"query": "x"}).json()["passages"]) == 3


def test_uploads_at_once_are_all_kept(client: Any) -> None:
    sent = [(f"{number}.md", f"Text number {number}.") for number in range(4)]
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda file: send(client, file), sent))
    assert [one.status_code for one in answers] == [200] * 4
    assert names(client) == dict.fromkeys([*TEXTS, *(name for name, _ in sent)], 1)


def test_a_killed_server_leaves_the_index_whole(client: Any, tmp_path: Path) -> None:
    """Killed at any moment while it takes documents; what it said it has, it has."""
    told: list[str] = []
    with forked(client.app.state.service.search, tmp_path, documents=True) as (url, server):

        def upload() -> None:
            with httpx.Client(base_url=url, timeout=20) as there:
                for number in range(1000):
                    try:
                        answer = send(there, (f"{number}.md", f"Text number {number}."))
                    except httpx.TransportError:
                        return
                    assert answer.status_code == 200
                    told.append(f"{number}.md")

        thread = threading.Thread(target=upload)
        thread.start()
        until(lambda: len(told) >= 3)
        server.kill()
        thread.join(10)
    index = Index.open(client.index)
    held = {record.name for record in index.manifest.files.values()}
    assert {*TEXTS, *told} <= held
    search = client.app.state.service.search
    search.index = index
    with TestClient(create_app(search, ServerSettings(documents=True))) as again:
        assert send(again, ("moon.md", MOON)).status_code == 200
        assert "tides" in best(again, "moon")


def test_a_replica_shows_what_another_one_took(
    client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("uniconv.serving.service.FOLLOW_SECONDS", 0.01)
    search = ConversationalSearch(Scripted(), Index.open(client.index))
    with TestClient(create_app(search)) as other:
        asked = {"query": "tides", "retriever": "bm25"}

        def found() -> Any:
            return other.post("/v1/search", json=asked).json()["passages"]

        assert not found()
        assert send(client, ("moon.md", MOON)).status_code == 200
        until(found)
        # What it can't show it doesn't: the index that it has still answers.
        (tmp_path / "source" / "sea.md").write_text("# Sea\n\nThe sea is salt.\n")
        model = tiny_uniconv(seed=1)
        build_index([tmp_path / "source"], client.index, model, quiet=True)
        until(lambda: any(record.message == "not renewed" for record in caplog.records))
        assert other.post("/v1/chat/completions", json=question()).status_code == 200
