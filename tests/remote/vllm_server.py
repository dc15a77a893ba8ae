"""A server on this machine that speaks vLLM's protocol, with a model of its own behind it.

The fields are those of vLLM 0.32 (its ``protocol.py`` of completions and embeddings). It decodes
by itself, without any of the library's own decoding.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch

from uniconv.model import UniConv

BLOCK = 16
"""Tokens that vLLM's prefix cache keeps or drops together."""


class Refusal(Exception):
    """An answer with another status than 200."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


@dataclass
class VLLM:
    """What the server does; a test may change it while it runs. ``requests`` are path and body."""

    model: UniConv
    url: str = ""
    names: tuple[str, ...] = ("tiny",)
    max_model_len: int | None = 512
    key: str | None = None
    tells_tokens: bool = True
    takes_tokens: bool = True
    strict: bool = False  # refuses fields that OpenAI's protocol hasn't
    refusals: list[Refusal] = field(default_factory=list)  # the next answers
    cuts: list[int] = field(default_factory=list)  # after so many tokens the next streams are lost
    said_in_stream: str | None = None  # an error in place of the rest of a stream
    may: threading.Event = field(default_factory=threading.Event)
    gone: threading.Event = field(default_factory=threading.Event)
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    known: set[tuple[int, ...]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.may.set()

    def completions(self) -> list[dict[str, Any]]:
        return [body for path, body in self.requests if path == "/v1/completions"]

    def cached(self, tokens: list[int]) -> int:
        """Tokens in blocks that are known; the last token is always read."""
        blocks = [tuple(tokens[:end]) for end in range(BLOCK, len(tokens) + 1, BLOCK)]
        count = sum(block in self.known for block in blocks)
        self.known |= set(blocks)
        return BLOCK * min(count, (len(tokens) - 1) // BLOCK)

    @torch.inference_mode()
    def written(self, body: dict[str, Any]) -> Iterator[tuple[int, str | None]]:
        """Tokens, the last with the reason why it is the last one."""
        tokens = list(body["prompt"])
        ends = set(body.get("stop_token_ids") or [])
        if not body.get("ignore_eos"):
            ends.add(self.model.tokenizer.eos_token_id)
        assert body["temperature"] == 0
        for left in reversed(range(body["max_tokens"])):
            logits = self.model.lm(input_ids=torch.tensor([tokens])).logits[0, -1]
            tokens.append(int(logits.argmax()))
            reason = "stop" if tokens[-1] in ends else None if left else "length"
            yield tokens[-1], reason
            if reason:
                return

    @torch.inference_mode()
    def embedding(self, tokens: list[int]) -> torch.Tensor:
        state = self.model.lm.base_model(input_ids=torch.tensor([tokens])).last_hidden_state
        return torch.nn.functional.normalize(state[0, -1].float(), dim=-1)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    vllm: VLLM

    def do_GET(self) -> None:
        limit = {"max_model_len": self.vllm.max_model_len} if self.vllm.max_model_len else {}
        entries = [{"id": name, "object": "model", **limit} for name in self.vllm.names]
        self._answer(200, {"object": "list", "data": entries})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.vllm.requests.append((self.path, body))
        try:
            self._check(body)
            if self.path == "/v1/embeddings":
                self._embed(body)
            elif body.get("stream"):
                self._stream(body)
            else:
                self._complete(body)
        except Refusal as refusal:
            error = {"message": str(refusal), "type": "BadRequestError", "code": refusal.status}
            self._answer(refusal.status, {"error": error}, **refusal.headers)
        except OSError:
            self.vllm.gone.set()
            self.close_connection = True

    def _check(self, body: dict[str, Any]) -> None:
        if self.vllm.key and self.headers["Authorization"] != f"Bearer {self.vllm.key}":
            raise Refusal(401, "Unauthorized")
        if self.vllm.refusals:
            raise self.vllm.refusals.pop(0)
        if body["model"] not in self.vllm.names:
            raise Refusal(404, f"The model `{body['model']}` does not exist.")
        if self.path == "/v1/completions":
            if not self.vllm.takes_tokens and isinstance(body["prompt"], list):
                raise Refusal(400, "prompt must be a string")
            unknown = {"return_token_ids", "stop_token_ids", "ignore_eos"} & set(body)
            if self.vllm.strict and unknown:
                raise Refusal(400, f"Unrecognized request arguments: {sorted(unknown)}")

    def _embed(self, body: dict[str, Any]) -> None:
        while not self.vllm.may.wait(0.005):
            self._notice()
        vectors = [self.vllm.embedding(tokens) for tokens in body["input"]]
        coded: list[Any] = [vector.tolist() for vector in vectors]
        if body["encoding_format"] == "base64":
            coded = [base64.b64encode(one.numpy().tobytes()).decode() for one in vectors]
        data = [{"index": place, "embedding": one} for place, one in enumerate(coded)]
        self._answer(200, {"object": "list", "data": data[::-1], "usage": {}})

    def _complete(self, body: dict[str, Any]) -> None:
        written = list(self.vllm.written(body))
        self._answer(200, {"choices": [self._choice(written, body)]})

    def _stream(self, body: dict[str, Any]) -> None:
        cached = self.vllm.cached(list(body["prompt"]))
        cut = self.vllm.cuts.pop(0) if self.vllm.cuts else None
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        count = 0
        for count, (token, reason) in enumerate(self.vllm.written(body), start=1):
            if cut is not None and count > cut:
                self.close_connection = True
                return
            while not self.vllm.may.wait(0.005):
                self._chunk(": nobody reads comments\n\n")  # fails once the client has left
            if self.vllm.said_in_stream:
                self._event({"error": {"message": self.vllm.said_in_stream}})
                break
            self._event({"choices": [self._choice([(token, reason)], body)]})
        else:
            details = {"prompt_tokens_details": {"cached_tokens": cached}}
            usage = {"prompt_tokens": len(body["prompt"]), "completion_tokens": count}
            if body["stream_options"]["include_usage"]:
                self._event({"choices": [], "usage": usage | details})
        self._chunk("data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def _choice(self, written: list[tuple[int, str | None]], body: dict[str, Any]) -> Any:
        tokens = [token for token, _ in written]
        text = self.vllm.model.tokenizer.decode(tokens, skip_special_tokens=True)
        choice = {"index": 0, "text": text, "finish_reason": written[-1][1]}
        if self.vllm.tells_tokens and body.get("return_token_ids"):
            choice["token_ids"] = tokens
        return choice

    def _event(self, value: dict[str, Any]) -> None:
        self._chunk(f"data: {json.dumps(value)}\n\n")

    def _chunk(self, text: str) -> None:
        self.wfile.write(f"{len(text.encode()):x}\r\n{text}\r\n".encode())

    def _notice(self) -> None:
        """Fails once the client has left."""
        self.connection.setblocking(False)
        try:
            if not self.connection.recv(1):
                raise ConnectionResetError
        except BlockingIOError:
            self.connection.setblocking(True)

    def _answer(self, status: int, value: dict[str, Any], **headers: str) -> None:
        payload = json.dumps(value).encode()
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Says nothing."""


@contextmanager
def vllm_server(model: UniConv, **how: Any) -> Iterator[VLLM]:
    """A server at ``url`` that runs ``model``."""
    vllm = VLLM(model, **how)
    handler = type("Handler", (_Handler,), {"vllm": vllm})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        vllm.url = f"http://127.0.0.1:{server.server_port}/v1"
        try:
            yield vllm
        finally:
            vllm.may.set()
            server.shutdown()
            thread.join()
