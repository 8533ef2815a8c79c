"""The two sites, each from its machines to its workloads. Neither waits for the other: both are built at once."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Final

import pulumi
import pulumi_kubernetes as kubernetes

from infra import addressing, naming
from infra.artifacts import Index
from infra.cloud import lab_site
from infra.environment import Environment
from infra.environment import Onprem as Hosts
from infra.onprem import Site, SiteArgs
from infra.platform import Platform, PlatformArgs, cluster, policies
from infra.platform.credentials import Keys
from infra.workloads import Copies, Workloads, WorkloadsArgs, model_store
from infra.workloads.model_store import ModelStore

AWS_API_PORT: Final = 5000


@dataclass(frozen=True, kw_only=True)
class Onprem:
    """What the cloud half needs of the on-prem site: its hosts, and the keys of its object store."""

    site: Site
    keys: Keys


def onprem(env: Environment, index: Index) -> Onprem:
    """The on-prem site."""
    site = Site(
        "onprem",
        SiteArgs(
            environment=env.name,
            site=env.onprem,
            kubernetes_version=env.kubernetes.version,
            index=index,
            tcp_services=[naming.OBJECT_STORE] if env.cloud else [],
            linked=bool(env.cloud),
        ),
    )
    inside = _inside("onprem", site, env.onprem, None)
    platform = Platform(
        "platform",
        PlatformArgs(
            cluster=cluster.of_hosts(env.onprem, linked=bool(env.cloud)),
            kubernetes_version=env.kubernetes.version,
            object_store=env.platform.object_store,
            index=index,
            published=bool(env.cloud),
        ),
        inside,
    )
    assert platform.object_store is not None
    keys = platform.object_store.keys
    Workloads(
        "workloads",
        WorkloadsArgs(
            settings=env.workloads,
            index=index,
            platform=platform,
            store=model_store.garage(keys),
            trains=env.workloads.training.site == "onprem",
        ),
        inside,
    )
    pulumi.export("api_endpoint", addressing.api_url(env.onprem.network))
    pulumi.export("ingress_url", addressing.ingress_url(env.onprem.network))
    pulumi.export("kubeconfig", site.kubeconfig)
    return Onprem(site=site, keys=keys)


def cloud(env: Environment, index: Index, other: Onprem) -> None:
    """The cloud half; at Amazon its AWS resources and the link to them, in a lab a whole site."""
    # Here: AWS's SDK takes a second to load, which a site that stands alone need not wait for.
    from infra.cloud.cloud import Cloud, CloudArgs
    from infra.cloud.lab import Lab, LabArgs
    from infra.link import Far, LabEnd, LabEndArgs, SiteLink, SiteLinkArgs

    settings = env.cloud
    assert settings is not None
    if settings.provisioner == "aws":
        half = Cloud("cloud", CloudArgs(environment=env))
        SiteLink("link", SiteLinkArgs(environment=env, site=other.site, tunnels=half.link.tunnels))
        pulumi.export("cloud_kubeconfig", half.kubeconfig)
        return
    lab = Lab("cloud-lab", LabArgs(environment=env, index=index))
    half = Cloud("cloud", CloudArgs(environment=env, endpoint=lab.endpoint, kubeconfig=lab.site.kubeconfig))
    assert lab.site.network is not None
    end = LabEnd("link-end", LabEndArgs(environment=env.name, cloud=settings, network=lab.site.network, index=index))
    SiteLink(
        "link",
        SiteLinkArgs(environment=env, site=other.site, tunnels=half.link.tunnels, far=Far(site=lab.site, end=end)),
    )
    hosts = lab_site.site(settings)
    # Inside the component of the cloud half, which tells these resources from the on-prem ones of the same names.
    inside = _inside("cloud", lab.site, hosts, half)
    platform = Platform(
        "platform",
        PlatformArgs(
            cluster=cluster.of_hosts(hosts),
            kubernetes_version=env.kubernetes.version,
            object_store=None,
            index=index,
        ),
        inside,
    )
    api = policies.network(IPv4Network(lab_site.aws_api(settings)))
    own = ModelStore(
        endpoint=lab.endpoint,
        region=settings.region,
        bucket=half.models.bucket.bucket,
        keys=Keys(access_key_id="lab", secret_access_key="lab"),
        egress=[{"to": [api], "ports": policies.ports(AWS_API_PORT)}],
    )
    others = model_store.garage_from_outside(other.keys, env.onprem.network.ingress_address)
    trains = env.workloads.training.site == "cloud"
    source, destination = (own, others) if trains else (others, own)
    Workloads(
        "workloads",
        WorkloadsArgs(
            settings=env.workloads,
            index=index,
            platform=platform,
            store=own,
            trains=trains,
            copies=Copies(source=source, destination=destination),
        ),
        inside,
    )
    pulumi.export("cloud_api_endpoint", addressing.api_url(hosts.network))
    pulumi.export("cloud_ingress_url", addressing.ingress_url(hosts.network))
    pulumi.export("cloud_kubeconfig", half.kubeconfig)


def _inside(name: str, site: Site, hosts: Hosts, parent: pulumi.Resource | None) -> pulumi.ResourceOptions:
    """Options of what is in the site's cluster. Nothing there is deleted one by one when the cluster itself is."""
    playbook = site.cluster.playbook
    provider = kubernetes.Provider(
        name,
        kubeconfig=site.kubeconfig,
        # A renewed certificate in the kubeconfig is not another cluster.
        cluster_identifier=hosts.cluster.name,
        # What an interrupted run made before the engine heard of it is taken over, not refused.
        upsert_existing_objects=True,
        opts=pulumi.ResourceOptions(parent=parent, deleted_with=playbook),
    )
    return pulumi.ResourceOptions(parent=parent, providers=[provider], deleted_with=playbook)
