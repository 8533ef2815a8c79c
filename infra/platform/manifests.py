"""Turns plain objects into Pulumi resources, one each, so that a preview shows every object that changes."""

from __future__ import annotations

from typing import Any, Final

import pulumi
from pulumi_kubernetes import apiextensions, apps, core, policy, rbac

from infra.platform.chart import Manifest, identity

_CLASSES: Final[dict[tuple[str, str], Any]] = {
    ("v1", "ConfigMap"): core.v1.ConfigMap,
    ("v1", "Namespace"): core.v1.Namespace,
    ("v1", "Secret"): core.v1.Secret,
    ("v1", "Service"): core.v1.Service,
    ("v1", "ServiceAccount"): core.v1.ServiceAccount,
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"): apiextensions.v1.CustomResourceDefinition,
    ("apps/v1", "DaemonSet"): apps.v1.DaemonSet,
    ("apps/v1", "Deployment"): apps.v1.Deployment,
    ("policy/v1", "PodDisruptionBudget"): policy.v1.PodDisruptionBudget,
    ("rbac.authorization.k8s.io/v1", "ClusterRole"): rbac.v1.ClusterRole,
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"): rbac.v1.ClusterRoleBinding,
    ("rbac.authorization.k8s.io/v1", "Role"): rbac.v1.Role,
    ("rbac.authorization.k8s.io/v1", "RoleBinding"): rbac.v1.RoleBinding,
}
"""Kinds that have a class of their own; any other becomes a custom resource."""

STAGES: Final = (frozenset({"Namespace"}), frozenset({"DaemonSet", "Deployment"}))
"""Kinds that others are inside of, and kinds that start pods: the first come before all else, the last after."""


def logical_name(manifest: Manifest) -> str:
    """`<kind>-<namespace>-<name>`: it lasts as long as the object does, whatever order a chart gives."""
    _, kind, namespace, name = identity(manifest)
    return "-".join(part for part in (kind.lower(), namespace, name) if part)


def create(manifests: list[Manifest], *, opts: pulumi.ResourceOptions) -> list[pulumi.Resource]:
    """A resource for each object; what starts pods comes last, and is returned."""
    first, last = STAGES
    stages = (first, {one["kind"] for one in manifests} - first - last, last)
    made: list[pulumi.Resource] = []
    for kinds in stages:
        after = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=made))
        made = [_resource(one, after) for one in manifests if one["kind"] in kinds] or made
    return made


def _resource(manifest: Manifest, opts: pulumi.ResourceOptions) -> pulumi.Resource:
    version, kind = manifest["apiVersion"], manifest["kind"]
    name = logical_name(manifest)
    body = {key: value for key, value in manifest.items() if key not in ("apiVersion", "kind", "metadata")}
    kind_class = _CLASSES.get((version, kind))
    if kind_class is None:
        if "." not in version:
            raise TypeError(f"{version}/{kind} {name} is Kubernetes' own: give its kind a class in {__name__}")
        # As the SDK's CustomResource, which takes a spec and nothing else.
        properties = {"apiVersion": version, "kind": kind, "metadata": manifest["metadata"], **body}
        return pulumi.CustomResource(f"kubernetes:{version}:{kind}", name, properties, opts)
    return kind_class(name, metadata=manifest["metadata"], opts=opts, **{_argument(key): body[key] for key in body})


def _argument(key: str) -> str:
    """Kubernetes' name of a field as Python's argument: stringData -> string_data, roleRef -> role_ref."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in key)
