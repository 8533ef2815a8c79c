"""Jobs: awaited until they have completed."""

from __future__ import annotations

from infra.providers.offline.kubernetes.awaiting import pods
from infra.providers.offline.kubernetes.awaiting.verdict import READY, Awaiter, Object, Verdict, says, why
from infra.providers.offline.kubernetes.client import Cluster
from infra.providers.offline.values import at


def _job(_cluster: Cluster, obj: Object) -> Verdict:
    if says(obj, "Complete") or at(obj, "spec", "suspend") is True:
        return READY
    if says(obj, "Failed"):
        return Verdict(f"the job failed: {why(obj, 'Failed')}", hopeless=True)
    status = obj.get("status") or {}
    wanted = at(obj, "spec", "completions") or 1
    text = f"{status.get('succeeded', 0)} of {wanted} completed, {status.get('active', 0)} running"
    return Verdict(text + (f", {status['failed']} failed" if status.get("failed") else ""))


def _explain(cluster: Cluster, obj: Object) -> list[str]:
    metadata = obj["metadata"]
    labels = f"batch.kubernetes.io/job-name={metadata['name']}"
    return pods.troubles(cluster, metadata["namespace"], labels) or pods.events(cluster, obj)


JOB = Awaiter(check=_job, explain=_explain)
