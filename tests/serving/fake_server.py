"""A server that speaks the chat page's side of the HTTP interface from a script.

It serves the page under the security policy that the real server sends, and lets a test hold an
answer, break it, refuse it, or go away.
"""

from __future__ import annotations

import email
import email.policy
import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

PAGE = Path(__file__).parents[2] / "src" / "uniconv" / "serving" / "page"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


def passage(
    number: int,
    title: str,
    text: str,
    *,
    id: str | None = None,
    score: float = 0.03,
    read: bool = True,
    **metadata: str,
) -> dict[str, Any]:
    return {
        "number": number, "id": id or f"harbour#{number}", "title": title, "text": text,
        "score": score, "metadata": metadata, "read": read,
    }  # fmt: skip


TOWER = passage(
    1, "Harbour tower",
    "The tower of the old harbour was built in 1893 by a family of engineers. It carried the "
    "light for eighty years.",
    score=0.0328, source="harbour.md",
)  # fmt: skip
BRIDGE = passage(
    2, "Bridge", "The bridge was repaired in 1901, and trams crossed it.", score=0.0311
)
MARKET = passage(3, "Market", "Fish is sold at the market.", score=0.0109, read=False)


@dataclass
class Reply:
    """An answer in pieces.

    ``hold`` is the place of a piece that waits for ``released``; ``error`` and ``cut`` are those
    before which the stream sends an error or just ends. ``status`` other than 200 refuses.
    """

    pieces: tuple[str, ...] = ("The tower was built", " in 1893 by a family", " of engineers [1].")
    passages: tuple[dict[str, Any], ...] = (TOWER, BRIDGE, MARKET)
    found: bool = True
    hold: int | None = None
    error: int | None = None
    cut: int | None = None
    finish: str = "stop"
    warnings: tuple[str, ...] = ()
    status: int = 200
    message: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    released: threading.Event = field(default_factory=threading.Event)
    left: threading.Event = field(default_factory=threading.Event)


class FakeServer:
    """Start it, open ``url``; ``requests`` are the bodies of the completions asked for."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.requests: list[dict[str, Any]] = []
        self.conversations: list[str | None] = []
        self.documents: dict[str, int] | None = None
        self.uploads: list[tuple[str, bytes]] = []
        self.passages = 12345
        self.token: str | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self, port: int = 0) -> None:
        handler = type("Handler", (_Handler,), {"fake": self})
        self.http = _Http(("127.0.0.1", port), handler)
        self.port = self.http.server_address[1]
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self.http.shutdown()
        self.http.server_close()

    def next_reply(self) -> Reply:
        return self.replies.pop(0) if self.replies else Reply()


class _Http(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A page that is closed leaves in the middle of things; other errors are told."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    fake: FakeServer

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        name = self.path.split("?")[0].lstrip("/") or "index.html"
        if name == "v1/models":
            documents = self.fake.documents is not None
            details = {
                "passages": self.fake.passages, "documents": documents, "dimension": 384,
                "max_tokens": 128, "retriever": "hybrid", "retrieve": 10, "read": 3,
            }  # fmt: skip
            entry = {"id": "embedded", "object": "model", "uniconv": details}
            self._guarded(200, {"object": "list", "data": [entry]})
        elif name == "v1/documents":
            kept = (self.fake.documents or {}).items()
            self._guarded(200, {"documents": [{"name": n, "passages": p} for n, p in kept]})
        elif "/" not in name and (PAGE / name).is_file():
            file = PAGE / name
            self._send(200, file.read_bytes(), f"{TYPES[file.suffix]}; charset=utf-8")
        else:
            self._problem(404, "There is nothing here.")

    def do_DELETE(self) -> None:
        assert self.fake.documents is not None
        del self.fake.documents[unquote(self.path.removeprefix("/v1/documents/"))]
        self._guarded(200, {"removed": 1})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self._allowed():
            self._problem(401, "A token is needed.")
        elif self.path == "/v1/documents":
            self._upload(body)
        else:
            self.fake.conversations.append(self.headers["X-UniConv-Conversation"])
            self._complete(json.loads(body))

    def _upload(self, body: bytes) -> None:
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        message = email.message_from_bytes(head + body, policy=email.policy.HTTP)
        for part in message.iter_parts():
            name, content = part.get_filename(), part.get_payload(decode=True)
            assert name
            assert isinstance(content, bytes)
            if name.endswith(".exe"):
                self._problem(415, f"{name}: this kind of file can't be read.")
                return
            self.fake.uploads.append((name, content))
            assert self.fake.documents is not None
            self.fake.documents[name] = 2
            self.fake.passages += 2
        self._json(200, {"added": [name for name, _ in self.fake.uploads]})

    def _complete(self, request: dict[str, Any]) -> None:
        self.fake.requests.append(request)
        reply = self.fake.next_reply()
        if reply.status != 200:
            self._problem(reply.status, reply.message, reply.headers)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        try:
            for chunk in _chunks(reply):
                line = chunk if isinstance(chunk, str) else f"data: {json.dumps(chunk)}"
                self.wfile.write(f"{line}\n\n".encode())
                self.wfile.flush()
        except OSError:
            reply.left.set()

    def _allowed(self) -> bool:
        token = self.fake.token
        return token is None or self.headers["Authorization"] == f"Bearer {token}"

    def _guarded(self, status: int, value: object) -> None:
        if self._allowed():
            self._json(status, value)
        else:
            self._problem(401, "A token is needed.")

    def _problem(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        error = {"message": message, "type": "error", "param": None, "code": None}
        self._json(status, {"error": error}, headers)

    def _json(self, status: int, value: object, headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(value).encode(), "application/json", headers)

    def _send(
        self, status: int, body: bytes, kind: str, headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        fixed = {"Content-Type": kind, "Content-Security-Policy": POLICY}
        for name, value in {**fixed, **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _chunks(reply: Reply) -> Iterator[dict[str, Any] | str]:
    known = {"passages": list(reply.passages), "found": reply.found, "confidence": 2.5}
    begun = {"timings": {"read": 0.012, "retrieve": 0.008}, "warnings": list(reply.warnings)}
    yield _chunk({"role": "assistant", "content": ""}, uniconv=known | begun)
    for place, piece in enumerate(reply.pieces):
        if place == reply.error:
            yield {"error": {"message": "The model failed.", "type": "server_error"}}
            return
        if place == reply.cut:
            return
        if place == reply.hold:
            # Whether the client has left shows only when something is sent.
            while not reply.released.wait(0.02):
                yield ": waiting"
        yield _chunk({"content": piece})
    cited = [{"number": 1, "id": "harbour#1"}]
    timings = {"read": 0.012, "retrieve": 0.008, "first_text": 0.06, "write": 0.42, "total": 0.44}
    yield _chunk({}, finish=reply.finish, uniconv={"citations": cited, "timings": timings})
    tokens = {"prompt_tokens": 480, "completion_tokens": 34, "total_tokens": 514}
    yield {"choices": [], "usage": tokens | {"prompt_tokens_details": {"cached_tokens": 412}}}
    yield "data: [DONE]"


def _chunk(
    delta: dict[str, str], finish: str | None = None, uniconv: dict[str, Any] | None = None
) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    made: dict[str, Any] = {"object": "chat.completion.chunk", "choices": [choice]}
    return made if uniconv is None else made | {"uniconv": uniconv}
