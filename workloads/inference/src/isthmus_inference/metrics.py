"""What Prometheus sees. Requests are counted by status only: a name that a client makes up must not become a label."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter("isthmus_inference_requests", "Infer requests by HTTP status.", ["status"])
SAMPLES = Counter("isthmus_inference_samples", "Samples that were answered.")
SECONDS = Histogram(
    "isthmus_inference_seconds",
    "From the request's head to its answer.",
    buckets=(0.0002, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5),
)
IN_FLIGHT = Gauge("isthmus_inference_in_flight", "Infer requests being worked on.")
CHECKS = Counter("isthmus_model_checks", "Looks at the alias, by what came of them.", ["result"])
CHECKED = Gauge("isthmus_model_checked_timestamp_seconds", "When the object store last answered.")
SERVED = Gauge("isthmus_model_served", "1 for the model that is being served.", ["model", "version", "digest"])
PUBLISHED = Gauge(
    "isthmus_model_published_timestamp_seconds",
    "When the manifest of the model that is being served was written to the store.",
    ["model", "version", "digest"],
)
READY = Gauge("isthmus_ready", "1 when requests are wanted: a model is loaded and the server is not draining.")
