"""Logs of one JSON object a line."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime

from uniconv.errors import RemoteError

LOGGER = logging.getLogger("uniconv.serving")
LOG = "uniconv.log"
"""Where a scope keeps the fields that routes add to the request's line in the log."""


class JsonFormatter(logging.Formatter):
    """Time, level and message, and what the record's ``fields`` hold.

    Of exceptions the type and the places are told. Their messages may quote a conversation, so
    they are told only ``with_content``.
    """

    def __init__(self, with_content: bool = False) -> None:
        super().__init__()
        self._with_content = with_content

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            line["error"] = type(error).__name__
            if isinstance(error, RemoteError):
                line["upstream"] = f"{error.where}: {error.problem}"
            line["trace"] = [
                f"{frame.filename}:{frame.lineno} {frame.name}"
                for frame in traceback.extract_tb(error.__traceback__)
            ]
            if self._with_content:
                line["error_message"] = str(error)
        return json.dumps(line, ensure_ascii=False, default=str)


def configure(with_content: bool) -> None:
    """Sends our log and uvicorn's to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(with_content))
    for name in ("uniconv.serving", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(logging.INFO)
        logger.propagate = False
