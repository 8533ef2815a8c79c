"""What Prometheus sees."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from isthmus_replication.faults import REASONS

CHECKED = Gauge(
    "isthmus_replication_checked_timestamp_seconds",
    "When both stores last answered and the destination held the source's champion.",
)
CHAMPION = Gauge(
    "isthmus_replication_champion", "1 for the champion that the destination holds.", ["model", "version", "digest"]
)
RECEIVED = Counter("isthmus_replication_received_bytes", "Bytes of models that came from the source.")
COPIED = Counter("isthmus_replication_copied_bytes", "Bytes that were written to the destination and read back right.")
FAILURES = Counter("isthmus_replication_failures", "Looks at the stores that failed, by reason.", ["reason"])
for reason in REASONS:
    FAILURES.labels(reason)
