"""What the server counts, in the format of Prometheus."""

from __future__ import annotations

from moist.errors import UserError
from moist.runtime import RoutedPrediction

try:
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
except ImportError as error:
    raise UserError("serving needs prometheus-client, which is not installed; pip install 'moist[serve]'") from error

__all__ = ["MEDIA_TYPE", "Metrics"]

MEDIA_TYPE = CONTENT_TYPE_LATEST
SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """The numbers of one server. Labels take few values, so that the memory for them is bounded."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.requests = Counter(
            "moist_requests", "Requests by route and status", ("route", "status"), registry=registry
        )
        self.seconds = Histogram(
            "moist_request_seconds", "Time to answer a prediction", buckets=SECONDS, registry=registry
        )
        self.inputs = Counter("moist_inputs", "Inputs answered, by domain", ("domain",), registry=registry)
        self.deferred = Counter("moist_deferred", "Inputs that were deferred", registry=registry)
        self.macs = Counter("moist_macs", "Multiply-accumulates of all answers", registry=registry)
        self.batches = Histogram("moist_batch_rows", "Inputs that ran at once", buckets=SIZES, registry=registry)
        self.model_seconds = Counter("moist_model_seconds", "Time in which the model ran", registry=registry)
        self.waiting = Gauge("moist_waiting_rows", "Inputs that wait for the model", registry=registry)
        self.reloads = Counter("moist_reloads", "Attempts to load a new model", ("result",), registry=registry)

    def on_batch(self, rows: int, seconds: float) -> None:
        """Count one run of the model."""
        self.batches.observe(rows)
        self.model_seconds.inc(seconds)

    def on_answer(self, answer: RoutedPrediction) -> None:
        """Count the inputs of one answered request."""
        for number in answer.domain.tolist():
            self.inputs.labels(number).inc()
        self.deferred.inc(int(answer.deferred.sum()))
        self.macs.inc(float(answer.macs.sum()))

    def text(self) -> bytes:
        """Return all numbers."""
        text: bytes = generate_latest(self.registry)
        return text
