"""Devices that drivers of dynamic resource allocation tell of, beside those that a node has as extended resources."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from isthmus_status.kubernetes import Claim, DeviceClass, Slice, SliceDevice, SliceSpec, TaintRule
from isthmus_status.models import Device

BARRING = ("NoSchedule", "NoExecute")


def by_node(
    slices: Iterable[Slice], classes: Iterable[DeviceClass], claims: Iterable[Claim], rules: Sequence[TaintRule]
) -> dict[str, list[Device]]:
    """Node -> its devices of each driver. Those of no single node are left out: no node's line could show them.

    They have the name that pods ask for them by, where the class that is named like the driver has one. A device that
    its driver calls ill, by a taint, or an administrator, by a rule, is not handed out.
    """
    names = {one.metadata.name: one.spec.extended_resource_name for one in classes}
    results = (one for claim in claims for one in claim.status.allocation.devices.results)
    taken = {(one.driver, one.pool, one.device) for one in results}
    found: dict[tuple[str, str], Device] = {}
    for spec in (one.spec for one in slices if one.spec.node_name):
        name = names.get(spec.driver) or spec.driver
        so_far = found.get((spec.node_name, name), Device(name=name, capacity=0, allocatable=0, requested=0))
        well = [one for one in spec.devices if not _barred(spec, one, rules)]
        found[spec.node_name, name] = Device(
            name=name,
            capacity=so_far.capacity + len(spec.devices),
            allocatable=so_far.allocatable + len(well),
            requested=so_far.requested + sum((spec.driver, spec.pool.name, one.name) in taken for one in spec.devices),
        )
    nodes: dict[str, list[Device]] = {}
    for (node, _), device in sorted(found.items()):
        nodes.setdefault(node, []).append(device)
    return nodes


def _barred(spec: SliceSpec, device: SliceDevice, rules: Sequence[TaintRule]) -> bool:
    """Whether a pod that tolerates nothing does not get the device."""
    taints = [*device.taints, *(rule.spec.taint for rule in rules if _about(rule, spec, device))]
    return any(taint.effect in BARRING for taint in taints)


def _about(rule: TaintRule, spec: SliceSpec, device: SliceDevice) -> bool:
    """A rule without a selector is about no device, with an empty one about all."""
    named = rule.spec.device_selector
    return named is not None and all(
        wanted in ("", there)
        for wanted, there in ((named.driver, spec.driver), (named.pool, spec.pool.name), (named.device, device.name))
    )
