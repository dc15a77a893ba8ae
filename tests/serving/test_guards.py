"""Who may ask: tokens, pages of other sites, and what every answer carries."""

from __future__ import annotations

import asyncio
import hmac
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from scripted import Scripted, question, searching

from uniconv.search import ConversationalSearch
from uniconv.serving import app, guards
from uniconv.serving.app import create_app
from uniconv.serving.errors import ApiError
from uniconv.serving.settings import ServerSettings

CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> ConversationalSearch:
    return searching(tmp_path_factory.mktemp("guards"), Scripted())


@pytest.fixture(scope="module")
def client(search: ConversationalSearch) -> Iterator[TestClient]:
    """Of a server with tokens that a page of example.org may call."""
    settings = ServerSettings(origins=("https://example.org",), documents=True)
    with TestClient(create_app(search, settings, tokens=["one", "zwei-é"])) as client:
        yield client


@pytest.mark.parametrize(
    "header",
    [None, "", "one", "Bearer", "Bearer ", "Bearer On", "Bearer onee", "Basic one", "Bearer \xff"],
)
def test_without_a_token_nothing_is_told(client: TestClient, header: str | None) -> None:
    headers = {} if header is None else {"authorization": header.encode("latin-1")}
    for method, path in [
        ("POST", CHAT),
        ("GET", "/v1/models"),
        ("GET", "/metrics"),
        ("GET", "/v1/x"),
    ]:
        refused = client.request(method, path, headers=headers)  # type: ignore[arg-type]
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == "Bearer"
        assert refused.json()["error"]["type"] == "authentication_error"


@pytest.mark.parametrize("token", ["Bearer one", "bearer one", "Bearer zwei-é"])
def test_any_of_the_tokens_opens(client: TestClient, token: str) -> None:
    headers = {"authorization": token.encode()}
    assert client.post(CHAT, json=question(), headers=headers).status_code == 200  # type: ignore[arg-type]


def test_tokens_are_compared_in_constant_time(
    search: ConversationalSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them, whether or not one before it is right, and all of their bytes."""
    compared: list[tuple[bytes, bytes]] = []

    def compare(a: bytes, b: bytes) -> bool:
        compared.append((a, b))
        return a == b

    monkeypatch.setattr(guards, "hmac", type("Hmac", (), {"compare_digest": compare}))
    assert hmac.compare_digest is not compare
    client = TestClient(create_app(search, tokens=["one", "two", "three"]))
    assert client.get("/v1/models", headers={"authorization": "Bearer one"}).status_code == 200
    assert len(compared) == 3
    assert {len(value) for pair in compared for value in pair} == {32}


def test_the_page_and_health_need_no_token(client: TestClient) -> None:
    for path in ("/", "/healthz", "/readyz"):
        assert client.get(path).status_code == 200


def test_every_answer_has_safe_headers(client: TestClient) -> None:
    for path in ("/", "/v1/models", "/none"):
        headers = client.get(path).headers
        policy = dict(
            part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";")
        )
        assert (
            policy["default-src"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
        )
        assert policy["script-src"] == policy["connect-src"] == "'self'"
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-request-id"]


def test_the_page_is_kept_but_never_stale(
    search: ConversationalSearch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page"
    page.mkdir()
    monkeypatch.setattr(app, "PAGE", page)
    (page / "chat.js").write_text("let version = 1;")
    os.utime(page / "chat.js", (9, 9))
    client = TestClient(create_app(search))
    first = client.get("/chat.js").headers
    assert first["cache-control"] == "no-cache"
    assert "last-modified" not in first
    known = {"if-none-match": first["etag"]}
    again = client.get("/chat.js", headers=known)
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first["etag"])
    (page / "chat.js").write_text("let version = 2;")
    os.utime(page / "chat.js", (9, 9))
    for headers in (known, {"if-modified-since": "Thu, 01 Jan 2026 00:00:00 GMT"}):
        upgraded = client.get("/chat.js", headers=headers)
        assert (upgraded.status_code, upgraded.text) == (200, "let version = 2;")
    assert client.get("/v1/models").headers["cache-control"] == "no-store"


def test_pages_of_other_sites_may_not_call(client: TestClient) -> None:
    """A form needs no permission to be sent, so it is refused by where it comes from."""
    token = {"authorization": "Bearer one"}
    files = {"files": ("x.md", "Harbour.")}
    for origin in ("https://evil.example", "null", "http://testserver.evil.example"):
        refused = client.post("/v1/documents", files=files, headers=token | {"origin": origin})
        assert refused.status_code == 403
        assert refused.json()["error"]["code"] == "wrong_origin"
        assert "access-control-allow-origin" not in refused.headers
    for origin in ("http://testserver", "https://example.org"):
        said = client.post(CHAT, json=question(), headers=token | {"origin": origin})
        assert said.status_code == 200
        assert said.headers.get("access-control-allow-origin") == (
            origin if origin == "https://example.org" else None
        )
    asked = {"origin": "https://example.org", "access-control-request-method": "POST"}
    allowed = client.options(CHAT, headers=asked)
    assert allowed.headers["access-control-allow-origin"] == "https://example.org"


def test_cors_is_off_by_default(search: ConversationalSearch) -> None:
    client = TestClient(create_app(search))
    asked = {"origin": "https://example.org", "access-control-request-method": "POST"}
    assert "access-control-allow-origin" not in client.options(CHAT, headers=asked).headers
    assert client.post(CHAT, json=question(), headers=asked).status_code == 403


def test_a_body_may_not_come_too_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "BODY_SECONDS", 0.05)
    parts: list[dict[str, Any]] = [{"type": "http.request", "body": b"{", "more_body": True}]

    async def receive() -> dict[str, Any]:
        if parts:
            return parts.pop()
        await asyncio.sleep(10)
        raise AssertionError

    async def read() -> None:
        limited = guards._limited(receive, 100)
        await limited()
        await limited()

    with pytest.raises(ApiError) as refused:
        asyncio.run(read())
    assert refused.value.status_code == 408
