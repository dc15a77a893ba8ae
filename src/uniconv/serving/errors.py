"""Every error as OpenAI's clients expect it: a status and ``{"error": {...}}``, never a trace."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from uniconv.engine import EngineBusy
from uniconv.errors import IndexServerError, MessagesError, RemoteError, UniConvError
from uniconv.serving.logs import LOG, LOGGER

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class ApiError(HTTPException):
    """An answer other than what was asked for.

    ``code`` is for programs, ``param`` the field at fault. It passes through FastAPI's own reading
    of bodies because it is an ``HTTPException``.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        *,
        param: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(status, message, headers)
        self.code = code
        self.param = param

    def body(self) -> dict[str, Any]:
        """The JSON that tells of it."""
        status = self.status_code
        kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
        return {
            "error": {
                "message": self.detail,
                "type": kind,
                "param": self.param,
                "code": self.code,
            }
        }

    def response(self) -> JSONResponse:
        """The whole answer."""
        return JSONResponse(self.body(), self.status_code, self.headers)


class ClientGone(ApiError):
    """Nobody waits for the answer any more; 499 is what nginx logs then."""

    def __init__(self) -> None:
        super().__init__(499, "the client closed the connection", "client_gone")


def as_api_error(error: Exception) -> ApiError:
    """What is told of an exception: a user's mistake as it is, of others only that they happened.

    Others keep the exception as their cause, for the log.
    """
    if isinstance(error, ApiError):
        return error
    if isinstance(error, TimeoutError):
        return ApiError(504, "the answer took longer than this server allows", "timeout")
    if isinstance(error, RequestValidationError):
        return _invalid(error)
    if isinstance(error, EngineBusy):
        return ApiError(429, str(error), "busy", headers={"Retry-After": "1"})
    if isinstance(error, RemoteError):
        return _remote(error)
    if isinstance(error, IndexServerError):  # it tells an address that is not for clients
        message = (
            "the index can't be searched at the moment; the log tells why, by the request's id"
        )
        told = ApiError(503, message, "index_unavailable", headers={"Retry-After": "5"})
        told.__cause__ = error
        return told
    if isinstance(error, UniConvError):
        param = "messages" if isinstance(error, MessagesError) else None
        return ApiError(400, str(error), "invalid_value", param=param)
    if isinstance(error, HTTPException):
        message = error.detail
        if error.status_code == 404:
            message = "there is no such address; docs/serving.md lists those that there are"
        return ApiError(error.status_code, message, headers=dict(error.headers or {}))
    told = ApiError(500, "the server failed; its log tells why, by the request's id", "internal")
    told.__cause__ = error
    return told


def add_handlers(app: FastAPI) -> None:
    """Tells every error that a route raises in the same form."""

    async def handle(request: Request, error: Exception) -> JSONResponse:
        told = as_api_error(error)
        if isinstance(told.__cause__, RemoteError | IndexServerError):
            LOGGER.error("failed", exc_info=error, extra={"fields": request.scope.get(LOG, {})})
        return told.response()

    for kind in (HTTPException, RequestValidationError, UniConvError, TimeoutError):
        app.add_exception_handler(kind, handle)


def _remote(error: RemoteError) -> ApiError:
    """Where the servers are, and what they say, is for the log."""
    if error.status == 429:
        message = "the server that runs the model has as many requests as it can take"
        return ApiError(429, f"{message}; try again later", "busy", headers={"Retry-After": "1"})
    told = ApiError(
        502, "the server that runs the model failed, or can't be reached; try again", "upstream"
    )
    told.__cause__ = error
    return told


def _invalid(error: RequestValidationError) -> ApiError:
    """The first thing that is wrong with a body; what was sent is not repeated."""
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        reason = first.get("ctx", {}).get("error", "")
        return ApiError(400, f"the body is not JSON: {reason}", "invalid_json")
    place = [str(part) for part in first["loc"] if part != "body"]
    param = ".".join(place)
    problem = first["msg"].removeprefix("Value error, ")
    message = f"{param}: {problem}" if param else f"the body can't be read: {problem}"
    return ApiError(400, message, "invalid_value", param=param or None)
