"""What the server counts and times, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from uniconv.engine import Engine
from uniconv.model import UniConv
from uniconv.remote.embeddings import EmbeddingServer
from uniconv.remote.model import RemoteModel
from uniconv.types import Answer

if TYPE_CHECKING:
    from uniconv.serving.service import Service

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """The figures of one server."""

    def __init__(self) -> None:
        # They are a second figure for each, which nothing uses.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        registry = CollectorRegistry()
        self.registry = registry
        self._requests = Counter(
            "uniconv_requests",
            "Requests answered.",
            ["method", "path", "status"],
            registry=registry,
        )
        self._request_seconds = Histogram(
            "uniconv_request_seconds",
            "Seconds from a request to the end of its answer.",
            ["path"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._stage_seconds = Histogram(
            "uniconv_stage_seconds",
            "Seconds of the stages of an answer: queue, read, retrieve, first_text (from the end "
            "of the queue), write, total.",
            ["stage"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._tokens = Counter(
            "uniconv_tokens",
            "Tokens of answers: prompt (all that were gone on from), cached (of these, known from "
            "an earlier turn), completion (written).",
            ["kind"],
            registry=registry,
        )
        self._cache = Counter(
            "uniconv_conversation_cache",
            "Answers whose conversation was found in the cache, in part or whole (hit), or not.",
            ["outcome"],
            registry=registry,
        )
        self._cancelled = Counter(
            "uniconv_cancelled", "Answers that were ended before their time.", registry=registry
        )

    def request(self, method: str, path: str, status: int, seconds: float) -> None:
        """A request is over; ``path`` is that of its route, of which there are few."""
        self._requests.labels(method, path, str(status)).inc()
        self._request_seconds.labels(path).observe(seconds)

    def answer(self, answer: Answer, queued: float) -> None:
        """An answer is complete."""
        for stage, seconds in {"queue": queued, **answer.timings}.items():
            self._stage_seconds.labels(stage).observe(seconds)
        usage = answer.usage
        self._tokens.labels("prompt").inc(usage.prompt_tokens)
        self._tokens.labels("cached").inc(usage.cached_tokens)
        self._tokens.labels("completion").inc(usage.completion_tokens)
        self._cache.labels("hit" if usage.cached_tokens else "miss").inc()

    def cancelled(self) -> None:
        """An answer was ended early: its client left, or it took too long."""
        self._cancelled.inc()

    def text(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self.registry)


class Gauges(Collector):
    """What is true at the moment when it is asked for, the engine's own figures with it."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[GaugeMetricFamily]:
        service = self._service
        now: dict[str, tuple[str, float]] = {
            "uniconv_queue_length": ("Requests that wait.", service.workers.waiting),
            "uniconv_working": ("Requests that are worked on.", service.workers.busy),
            "uniconv_index_passages": ("Passages in the index.", len(service.search.index)),
        }
        for name, (about, value) in now.items():
            yield GaugeMetricFamily(name, about, value)
        for name, figure in _statistics(service.search.model).items():
            yield GaugeMetricFamily(f"uniconv_engine_{name}", "The engine's own figure.", figure)


def _statistics(model: UniConv | Engine | RemoteModel) -> dict[str, float]:
    """The figures that an engine keeps; a plain model and other servers keep none here."""
    if isinstance(model, RemoteModel):
        return {} if isinstance(model.reader, EmbeddingServer) else _statistics(model.reader)
    if not isinstance(model, Engine):
        return {}
    about = asdict(model.statistics)
    return {**about.pop("counts"), **about}
