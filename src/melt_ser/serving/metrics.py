"""Figures of the server for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """The figures of one server, apart from those of any other in the process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "melt_ser_requests",
            "Uploads and streams by their end (an HTTP status, or a closing code of a stream)",
            ["kind", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "melt_ser_request_seconds", "Seconds from an upload to its answer", buckets=SECONDS, registry=self.registry
        )
        self.audio = Counter("melt_ser_audio_seconds", "Seconds of labelled audio", registry=self.registry)
        self.batches = Histogram(
            "melt_ser_batch_size", "Windows of a forward pass", buckets=SIZES, registry=self.registry
        )
        self.working = Gauge("melt_ser_requests_working", "Requests that are answered or wait", registry=self.registry)
        self.waiting = Gauge("melt_ser_windows_waiting", "Windows that wait for a batch", registry=self.registry)

    def text(self) -> bytes:
        """Return the figures in Prometheus' format."""
        return generate_latest(self.registry)
