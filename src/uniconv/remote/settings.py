"""Which servers read and write for a search, where its own process doesn't."""

from __future__ import annotations

from dataclasses import dataclass

from uniconv.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteSettings:
    """Servers that run the model, such as vLLM (docs/vllm.md); without any it runs here."""

    generator_url: str | None = None
    """An OpenAI-compatible server that writes the answers, such as http://localhost:8001/v1. Its
    key is taken from the environment variable UNICONV_GENERATOR_KEY."""
    generator_model: str | None = None
    """The name that it serves the model under; not needed where it serves one."""
    embeddings_url: str | None = None
    """A server that embeds with the same weights. Without one they are loaded here and embed. Its
    key is taken from UNICONV_EMBEDDINGS_KEY."""
    embeddings_model: str | None = None
    """The name that it serves the model under; not needed where it serves one."""
    remote_timeout: float = 120.0
    """Seconds that these servers may let wait for the next part of a reply."""

    def __post_init__(self) -> None:
        if self.embeddings_url and not self.generator_url:
            raise ConfigError(
                "embeddings_url needs generator_url: without weights nothing here can write"
            )
        for role in ("generator", "embeddings"):
            if getattr(self, f"{role}_model") and not getattr(self, f"{role}_url"):
                raise ConfigError(f"{role}_model needs {role}_url")
        if not 0 < self.remote_timeout < float("inf"):
            raise ConfigError(
                f"remote_timeout must be a number of seconds above 0, not {self.remote_timeout}"
            )
