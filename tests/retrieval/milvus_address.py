"""Milvus Lite behind an address that asks for a token, as a server of Milvus does."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
from milvus_lite.adapter.grpc.servicer import MilvusServicer
from milvus_lite.db import MilvusLite
from pymilvus.grpc_gen import milvus_pb2_grpc


class _Guard(grpc.ServerInterceptor):
    def __init__(self, token: str) -> None:
        self._token = token

    def intercept_service(self, proceed, call):
        sent = dict(call.invocation_metadata).get("authorization", "")
        if base64.b64decode(sent).decode() == self._token:
            return proceed(call)

        def refuse(request, context):
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "auth check failure")

        return grpc.unary_unary_rpc_method_handler(refuse)


@contextmanager
def milvus_address(folder: Path, token: str) -> Iterator[str]:
    """The address, while it is served."""
    database = MilvusLite(str(folder))
    server = grpc.server(ThreadPoolExecutor(4), interceptors=[_Guard(token)])
    milvus_pb2_grpc.add_MilvusServiceServicer_to_server(MilvusServicer(database), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop(0).wait()
        database.close()
