"""The resources of the own provider `isthmus`, as the program sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pulumi
from pulumi.runtime.rpc import UNKNOWN

VALID_DAYS: Final = 3650
"""Of what signs or is signed, as kubeadm's own authorities."""


class Network(pulumi.CustomResource):
    """The lab's bridge and the site's mirror on it."""

    name: pulumi.Output[str]
    mirror_url: pulumi.Output[str]
    status: pulumi.Output[str]

    def __init__(
        self,
        resource_name: str,
        *,
        name: pulumi.Input[str],
        cidr: pulumi.Input[str],
        gateway: pulumi.Input[str],
        mirror_address: pulumi.Input[str],
        registry_binary: pulumi.Input[str],
        registry_storage: pulumi.Input[str],
        image: pulumi.Input[str],
        image_digest: pulumi.Input[str],
        checkout: pulumi.Input[str],
        environment: pulumi.Input[str],
        kind: pulumi.Input[str] = "site",
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """An empty `registry_binary` gives a network without a mirror. `image` is the path of the machine's tar.

        `kind`: a site reaches no other site; an uplink is reached from each.
        """
        inputs = {
            "name": name,
            "cidr": cidr,
            "gateway": gateway,
            "mirror_address": mirror_address,
            "registry_binary": registry_binary,
            "registry_storage": registry_storage,
            "image": image,
            "image_digest": image_digest,
            "checkout": checkout,
            "environment": environment,
            "kind": kind,
        }
        outputs = {"mirror_url": None, "status": None}
        super().__init__("isthmus:lab:Network", resource_name, {**inputs, **outputs}, opts)


class Machine(pulumi.CustomResource):
    """A lab machine that answers ssh."""

    hostname: pulumi.Output[str]
    address: pulumi.Output[str]
    host_key: pulumi.Output[str]
    container_id: pulumi.Output[str]
    status: pulumi.Output[str]

    def __init__(
        self,
        resource_name: str,
        *,
        hostname: pulumi.Input[str],
        network: pulumi.Input[str],
        address: pulumi.Input[str],
        image: pulumi.Input[str],
        image_digest: pulumi.Input[str],
        authorized_key: pulumi.Input[str],
        disks: pulumi.Input[Mapping[str, pulumi.Input[str]]],
        checkout: pulumi.Input[str],
        environment: pulumi.Input[str],
        mac: pulumi.Input[str] | None = None,
        uplinks: pulumi.Input[Mapping[str, pulumi.Input[str]]] | None = None,
        shared: pulumi.Input[Mapping[str, pulumi.Input[str]]] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """`disks` maps a mount point in the machine to a folder of the host, which the machine's end removes.

        `shared` maps one to a folder of several machines, which stays. `uplinks` maps other networks to the machine's
        addresses there.
        """
        inputs = {
            "hostname": hostname,
            "network": network,
            "address": address,
            "mac": mac,
            "uplinks": uplinks,
            "image": image,
            "image_digest": image_digest,
            "authorized_key": authorized_key,
            "disks": disks,
            "shared": shared,
            "checkout": checkout,
            "environment": environment,
        }
        outputs = {"host_key": None, "container_id": None, "status": None}
        super().__init__("isthmus:lab:Machine", resource_name, {**inputs, **outputs}, opts)


class AwsApi(pulumi.CustomResource):
    """The lab's AWS API, open to any credentials; `endpoint` is its URL, for the host and the lab's machines."""

    name: pulumi.Output[str]
    endpoint: pulumi.Output[str]
    status: pulumi.Output[str]

    def __init__(
        self,
        resource_name: str,
        *,
        name: pulumi.Input[str],
        network: pulumi.Input[str],
        address: pulumi.Input[str],
        registry: pulumi.Input[str],
        image: pulumi.Input[str],
        image_digest: pulumi.Input[str],
        account_id: pulumi.Input[str],
        data: pulumi.Input[str],
        checkout: pulumi.Input[str],
        environment: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """`registry`: the mirror's URL. `data` is the host's folder: a restart restores from it, the end removes it."""
        inputs = {
            "name": name,
            "network": network,
            "address": address,
            "registry": registry,
            "image": image,
            "image_digest": image_digest,
            "account_id": account_id,
            "data": data,
            "checkout": checkout,
            "environment": environment,
        }
        super().__init__("isthmus:lab:AwsApi", resource_name, {**inputs, "endpoint": None, "status": None}, opts)


class RandomSecret(pulumi.CustomResource):
    """A random value in hex, made once."""

    value: pulumi.Output[str]

    def __init__(
        self,
        resource_name: str,
        *,
        bytes: pulumi.Input[int],
        prefix: pulumi.Input[str] = "",
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """`bytes` of randomness, so twice as many digits, after `prefix`."""
        inputs = {"bytes": bytes, "prefix": prefix}
        super().__init__("isthmus:secret:RandomSecret", resource_name, {**inputs, "value": None}, opts)


class Authority(pulumi.CustomResource):
    """Signs certificates; made anew a year before it ends, and then they are too."""

    certificate: pulumi.Output[str]
    private_key: pulumi.Output[str]

    def __init__(
        self,
        resource_name: str,
        *,
        name: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """`name` is its subject. `certificate` and `private_key` (secret) are PEM."""
        outputs = {"certificate": None, "private_key": None, "not_after": None}
        super().__init__("isthmus:secret:Authority", resource_name, {"name": name, "days": VALID_DAYS, **outputs}, opts)


class Certificate(pulumi.CustomResource):
    """A key and its certificate, signed by an authority or else by itself; made anew a year before it ends."""

    certificate: pulumi.Output[str]
    private_key: pulumi.Output[str]

    def __init__(
        self,
        resource_name: str,
        *,
        names: pulumi.Input[Sequence[str]],
        addresses: pulumi.Input[Sequence[str]] | None = None,
        authority: Authority | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """`names`: DNS names, the first also the subject; `addresses`: IP addresses of the holder.

        `certificate` and `private_key` (secret) are PEM. One that signed itself proves a server to its clients; one of
        an authority also a client to its servers.
        """
        inputs: dict[str, Any] = {"names": names, "days": VALID_DAYS}
        if addresses:
            inputs["addresses"] = addresses
        if authority:
            inputs["authority"] = {"certificate": authority.certificate, "private_key": authority.private_key}
        outputs = {"certificate": None, "private_key": None, "not_after": None}
        super().__init__("isthmus:secret:Certificate", resource_name, {**inputs, **outputs}, opts)


class Image(pulumi.CustomResource):
    """An image of the mirror in a registry that a site's nodes pull from."""

    reference: pulumi.Output[str]
    digest: pulumi.Output[str]

    def __init__(
        self,
        resource_name: str,
        *,
        repository: pulumi.Input[str],
        reference: pulumi.Input[str],
        digest: pulumi.Input[str],
        storage: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """`repository` is its URL, `reference` what pods ask for, tag included; `storage`: the mirror's folder."""
        inputs = {"repository": repository, "reference": reference, "digest": digest, "storage": storage}
        super().__init__("isthmus:registry:Image", resource_name, inputs, opts)


class Playbook(pulumi.CustomResource):
    """An ansible playbook's run, kept up to date with its inventory, variables and roles."""

    results: pulumi.Output[dict[str, str]]
    summary: pulumi.Output[str]

    def __init__(
        self,
        resource_name: str,
        *,
        playbook: pulumi.Input[str],
        folder: pulumi.Input[str],
        inventory: pulumi.Input[Mapping[str, Any]],
        variables: pulumi.Input[Mapping[str, Any]],
        roles_digest: pulumi.Input[str],
        outputs: pulumi.Input[Sequence[str]],
        private_key_path: pulumi.Input[str],
        work_dir: pulumi.Input[str],
        timeout_s: pulumi.Input[int],
        check_on_diff: pulumi.Input[bool],
        reset_allowed: pulumi.Input[bool],
        reset_playbook: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """`results` (secret) holds what the playbook wrote for each name in `outputs`."""
        inputs = {
            "playbook": playbook,
            "folder": folder,
            "inventory": inventory,
            "variables": variables,
            "roles_digest": roles_digest,
            "outputs": outputs,
            "private_key_path": private_key_path,
            "work_dir": work_dir,
            "timeout_s": timeout_s,
            "check_on_diff": check_on_diff,
            "reset_allowed": reset_allowed,
            "reset_playbook": reset_playbook,
        }
        super().__init__("isthmus:ansible:Playbook", resource_name, {**inputs, "results": None, "summary": None}, opts)

    def result(self, name: str) -> pulumi.Output[str]:
        """What the playbook wrote for that name; unknown as long as no run of it has got there."""
        return self.results.apply(lambda found: found.get(name, UNKNOWN))
