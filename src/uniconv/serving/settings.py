"""What the server is told: where it listens and what it allows."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from uniconv.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Where the server listens, what it allows and what it tells."""

    host: str = "127.0.0.1"
    """The address to listen on; 0.0.0.0 for all of this machine's."""
    port: int = 8000
    """0 takes a free one."""
    documents: bool = False
    """Whether documents can be uploaded and deleted."""
    origins: tuple[str, ...] = ()
    """Origins of pages elsewhere that may call the server (CORS), such as https://example.org."""
    token_file: Path | None = None
    """A file of bearer tokens, one a line, beside those of the environment variable UNICONV_TOKENS
    (separated by commas). Without any token none is asked for."""
    log_content: bool = False
    """Whether logs hold questions and answers."""
    concurrency: int = 16
    """How many requests are worked on at once."""
    queue: int = 64
    """How many more may wait; the next are refused (429)."""
    cache_mb: int = 1024
    """MiB for what was read of conversations; the least recently used is forgotten first."""
    timeout: float = 300.0
    """Seconds that a request may take, with its time in the queue."""
    max_tokens: int = 1024
    """The longest answer that can be asked for. The model's context may allow less."""
    max_retrieve: int = 100
    """The most passages that can be asked for."""
    max_inputs: int = 256
    """The most texts that one request can have embedded."""
    max_body: int = 1_048_576
    """Bytes that a request's body may have, uploads aside."""
    max_upload: int = 33_554_432
    """Bytes that an upload's body may have."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            least = 0 if field.name in ("port", "queue", "cache_mb") else 1
            if type(value) is int and value < least:
                raise ConfigError(f"{field.name} must be {least} or more, not {value}")
        if not 0 < self.timeout < float("inf"):
            raise ConfigError(f"timeout must be a number of seconds above 0, not {self.timeout}")
        if self.port > 65535:
            raise ConfigError(f"port must be at most 65535, not {self.port}")
        for origin in self.origins:
            if origin != "*" and not (
                origin.startswith(("http://", "https://")) and "/" not in origin.split("://")[1]
            ):
                raise ConfigError(
                    f"origin '{origin}' must be a scheme and a host, such as https://example.org"
                )
