"""A web server for tests: ranges, ETags, and mishaps on demand."""

from __future__ import annotations

import hashlib
import http.server
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Files:
    """What is served, and how it goes wrong.

    ``drop_after`` are the numbers of bytes after which the next connections are cut, one each.
    ``shift`` is by how much a range is told wrongly. A ``silent`` server sends no byte of a file
    until the test is over. ``refuse`` are status codes that the next requests get. ``requests``
    logs path and Range.
    """

    contents: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    etags: bool = True
    drop_after: list[int] = field(default_factory=list)
    refuse: list[int] = field(default_factory=list)
    shift: int = 0
    silent: bool = False
    over: threading.Event = field(default_factory=threading.Event)
    url: str = ""
    requests: list[tuple[str, str | None]] = field(default_factory=list)

    def handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        files = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                files.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        asked = request.headers.get("Range")
        self.requests.append((request.path, asked))
        content = self.contents.get(request.path.lstrip("/"))
        if self.refuse or content is None:
            request.send_error(self.refuse.pop(0) if self.refuse else 404)
            return
        etag = f'"{hashlib.sha256(content).hexdigest()[:8]}"'
        start = 0
        if self.ranges and asked and request.headers.get("If-Range") in (None, etag):
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
            if start >= len(content):
                request.send_response(416)
                request.send_header("Content-Range", f"bytes */{len(content)}")
                request.end_headers()
                return
            request.send_response(206)
            claimed = f"bytes {start + self.shift}-{len(content) - 1}/{len(content)}"
            request.send_header("Content-Range", claimed)
        else:
            request.send_response(200)
        request.send_header("Content-Length", str(len(content) - start))
        if self.etags:
            request.send_header("ETag", etag)
        request.end_headers()
        body = content[start:]
        if self.drop_after:
            body = body[: self.drop_after.pop(0)]
        if self.silent:
            self.over.wait()
        with suppress(ConnectionError):  # the other side may have left
            request.wfile.write(body)


@contextmanager
def serve(contents: dict[str, bytes]) -> Iterator[Files]:
    """Serves files on a free port of this machine."""
    files = Files(contents)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), files.handler())
    files.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield files
    finally:
        files.over.set()
        server.shutdown()
        thread.join()
        server.server_close()
