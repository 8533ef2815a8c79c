"""What Prometheus sees of both programs; what each alone tells is beside it."""

from __future__ import annotations

from prometheus_client import Counter

from isthmus_replication.faults import REASONS

RECEIVED = Counter("isthmus_replication_received_bytes", "Bytes that came from the source.")
COPIED = Counter("isthmus_replication_copied_bytes", "Bytes that were written to the destination and read back right.")
FAILURES = Counter("isthmus_replication_failures", "Looks at the stores that failed, by reason.", ["reason"])
for reason in REASONS:
    FAILURES.labels(reason)
