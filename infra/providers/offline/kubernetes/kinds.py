"""Which Kubernetes kinds this stand-in knows, and how a Pulumi token names one.

A token is `kubernetes:<group>/<version>:<Kind>`, with `core` for the group that has no name. Kubernetes' own kinds are
in the table below, so that their paths need no discovery. A kind of any other group with a dot is a custom resource,
whose path the cluster tells. Everything else is refused by name.
"""

from __future__ import annotations

from dataclasses import dataclass


class UnknownKind(Exception):
    """The token names nothing that this stand-in can make; the message says what to do instead."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of objects. `plural` and `namespaced` are None for custom resources until the cluster has told them."""

    group: str
    version: str
    name: str
    plural: str | None = None
    namespaced: bool | None = None

    @property
    def api_version(self) -> str:
        """As objects carry it: apps/v1, or v1 in the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def custom(self) -> bool:
        """Whether a CustomResourceDefinition defines it."""
        return self.group not in OWN_GROUPS

    def __str__(self) -> str:
        return f"{self.api_version}/{self.name}"


# One line a group and version: kinds of namespaces, then kinds of the cluster, each as Kind=plural.
_TABLE = """
core/v1
  ConfigMap=configmaps Secret=secrets Service=services ServiceAccount=serviceaccounts Pod=pods
  PersistentVolumeClaim=persistentvolumeclaims LimitRange=limitranges ResourceQuota=resourcequotas
  | Namespace=namespaces PersistentVolume=persistentvolumes
apps/v1
  Deployment=deployments DaemonSet=daemonsets StatefulSet=statefulsets |
batch/v1
  Job=jobs CronJob=cronjobs |
autoscaling/v2
  HorizontalPodAutoscaler=horizontalpodautoscalers |
policy/v1
  PodDisruptionBudget=poddisruptionbudgets |
coordination.k8s.io/v1
  Lease=leases |
discovery.k8s.io/v1
  EndpointSlice=endpointslices |
networking.k8s.io/v1
  NetworkPolicy=networkpolicies |
rbac.authorization.k8s.io/v1
  Role=roles RoleBinding=rolebindings | ClusterRole=clusterroles ClusterRoleBinding=clusterrolebindings
storage.k8s.io/v1
  CSIStorageCapacity=csistoragecapacities | StorageClass=storageclasses CSIDriver=csidrivers
scheduling.k8s.io/v1
  | PriorityClass=priorityclasses
node.k8s.io/v1
  | RuntimeClass=runtimeclasses
apiextensions.k8s.io/v1
  | CustomResourceDefinition=customresourcedefinitions
apiregistration.k8s.io/v1
  | APIService=apiservices
admissionregistration.k8s.io/v1
  | MutatingWebhookConfiguration=mutatingwebhookconfigurations
  ValidatingWebhookConfiguration=validatingwebhookconfigurations
  ValidatingAdmissionPolicy=validatingadmissionpolicies
  ValidatingAdmissionPolicyBinding=validatingadmissionpolicybindings
flowcontrol.apiserver.k8s.io/v1
  | FlowSchema=flowschemas PriorityLevelConfiguration=prioritylevelconfigurations
resource.k8s.io/v1
  ResourceClaim=resourceclaims ResourceClaimTemplate=resourceclaimtemplates | DeviceClass=deviceclasses
"""

OWN_GROUPS = frozenset(
    {
        *("", "apps", "autoscaling", "batch", "events", "extensions", "meta", "policy"),
        *(
            f"{name}.k8s.io"
            for name in (
                *("admissionregistration", "apiextensions", "apiregistration", "auditregistration", "authentication"),
                *("authorization", "certificates", "coordination", "discovery", "events", "flowcontrol.apiserver"),
                *(
                    "internal.apiserver",
                    "networking",
                    "node",
                    "rbac.authorization",
                    "resource",
                    "scheduling",
                    "settings",
                ),
                *("storage", "storagemigration"),
            )
        ),
        # Not of Kubernetes, but of the official plugin: charts, files and folders of manifests.
        *("helm.sh", "kustomize", "yaml"),
    }
)
"""Groups in which a kind that the table does not hold is refused, instead of being taken for a custom resource."""


def _parse_table() -> dict[str, Kind]:
    table: dict[str, Kind] = {}
    group_version, namespaced = "", True
    for line in _TABLE.strip().splitlines():
        if not line.startswith(" "):
            group_version, namespaced = line, True
            continue
        group, version = group_version.split("/")
        for word in line.split():
            if word == "|":
                namespaced = False
                continue
            name, plural = word.split("=")
            table[f"kubernetes:{group_version}:{name}"] = Kind(
                group="" if group == "core" else group,
                version=version,
                name=name,
                plural=plural,
                namespaced=namespaced,
            )
    return table


TABLE = _parse_table()
"""Kubernetes' own kinds by their token."""

EVENT = Kind(group="", version="v1", name="Event", plural="events", namespaced=True)
"""Read by awaits, never made."""


def of_token(token: str) -> Kind:
    """The kind that a resource's token names, or UnknownKind."""
    if kind := TABLE.get(token):
        return kind
    parts = token.split(":")
    if len(parts) == 3 and parts[1].count("/") == 1:
        group, version = parts[1].split("/")
        kind = Kind(group="" if group == "core" else group, version=version, name=parts[2])
        listing_or_patch = kind.name.endswith(("List", "Patch"))
        if kind.custom and "." in group and not listing_or_patch:
            return kind
    raise UnknownKind(
        f"the stand-in for the kubernetes plugin does not know {token}; add the kind to its table "
        "(infra/providers/offline/kubernetes/kinds.py) with what its replacement and its await need, "
        "or run where the official plugin can be installed"
    )
