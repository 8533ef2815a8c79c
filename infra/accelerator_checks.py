"""Rules of accelerators between the keys of an environment: each yields "key: what is wrong; how to fix it"."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING

from infra import nodes
from infra.accelerators import SIMULATED_DEVICES, SIMULATIONS, Accelerator

if TYPE_CHECKING:
    from infra.environment import Environment


def _entries(environment: Environment) -> list[tuple[str, Accelerator]]:
    return [(f"platform.accelerators[{at}]", one) for at, one in enumerate(environment.platform.accelerators)]


def names(environment: Environment) -> Iterator[str]:
    """Each names the objects of its plugin."""
    for (first, one), (other, second) in combinations(_entries(environment), 2):
        if one.name == second.name:
            yield f"{other}.name: {second.name} is also the name of {first}; give every accelerator its own name"


def where_they_are(environment: Environment) -> Iterator[str]:
    """A selector finds nodes, on sites that can have such devices, and no node has two plugins for one name."""
    for key, one in _entries(environment):
        having = [nodes_ for nodes_ in nodes.of(environment) if one.selects(nodes_.labels)]
        if not having:
            labels = ", ".join(f"{name}: {value}" for name, value in one.node_selector.items())
            yield (
                f"{key}.node_selector: no host with the role worker and no node group has the labels {labels}; "
                "add them to those that have the devices"
            )
        for nodes_ in having:
            site = environment.onprem if nodes_.site == "onprem" else environment.cloud
            lab = site is not None and site.provisioner == "lab"
            if one.plugin in SIMULATIONS and not lab:
                yield (
                    f"{key}.plugin: {one.plugin} is for labs, but {nodes_.key} is real; use nvidia, or remove the entry"
                )
            if one.plugin == "nvidia" and lab:
                yield f"{key}.plugin: nvidia needs GPUs, but {nodes_.key} is a lab's; use simulated there"
    for (first, one), (other, second) in combinations(_entries(environment), 2):
        shared = [n.key for n in nodes.of(environment) if one.selects(n.labels) and second.selects(n.labels)]
        if one.plugin == second.plugin and shared:
            yield (
                f"{other}.node_selector: it selects {shared[0]}, and so does {first}, with the same plugin; "
                "select different nodes by another label"
            )


def settings(environment: Environment) -> Iterator[str]:
    """Each plugin has its own settings."""
    for key, one in _entries(environment):
        if one.plugin in SIMULATIONS:
            if one.time_slicing is not None:
                yield f"{key}.time_slicing: the {one.plugin} plugin has no such setting; remove the key"
            if one.mig_strategy != "none":
                yield f"{key}.mig_strategy: the {one.plugin} plugin has no such setting; remove the key"
        elif one.time_slicing is not None and one.mig_strategy == "mixed":
            yield (
                f"{key}.time_slicing: with mig_strategy mixed it does not say which size of part is shared; "
                "use single, or remove one of the two keys"
            )


def training(environment: Environment) -> Iterator[str]:
    """What training asks for is offered where it runs, and can be had."""
    request, site = environment.workloads.training.accelerator, environment.workloads.training.site
    if request is None:
        return
    key = "workloads.training.accelerator"
    offered = [o.accelerator for o in nodes.offers(environment, site) if o.accelerator.offers(request.resource)]
    if not offered:
        yield (
            f"{key}.resource: no accelerator offers {request.resource} on the site {site}; "
            "add one to platform.accelerators, or ask for what is there"
        )
    if request.resource in SIMULATIONS.values() and request.count > SIMULATED_DEVICES:
        yield f"{key}.count: {request.count} are more than the {SIMULATED_DEVICES} of a host; lower it"
    if request.count > 1 and any(one.time_slicing for one in offered):
        yield (
            f"{key}.count: {request.count} slices of {request.resource} may be of one device, and give no more "
            "than one then; use 1, or remove time_slicing"
        )
