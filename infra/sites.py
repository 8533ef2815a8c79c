"""The two sites, each from its machines to its workloads. Neither waits for the other: both are built at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

import pulumi
import pulumi_kubernetes as kubernetes

from infra import addressing, meshes, naming, nodes, shared_keys
from infra.artifacts import Index
from infra.cloud import lab_site
from infra.environment import Cloud, Environment
from infra.environment import Cluster as Identity
from infra.naming import TcpService
from infra.onprem import Site, SiteArgs
from infra.onprem.backups import Backups
from infra.platform import Platform, PlatformArgs, Provided, Shown, cluster, mesh, policies, published
from infra.platform.credentials import Keys
from infra.platform.csi import classes
from infra.platform.monitoring import Sender, from_outside
from infra.shared_keys import SharedKeys
from infra.workloads import Workloads, WorkloadsArgs, model_store, replication
from infra.workloads.model_store import ModelStore
from infra.workloads.replication import Copies

AlertSecrets = Mapping[str, pulumi.Output[str]]
"""Of those who are told of alerts, by their names."""


@dataclass(frozen=True, kw_only=True)
class Onprem:
    """What the cloud half needs of the on-prem site: its hosts, its cluster, and the keys that both take."""

    site: Site
    keys: SharedKeys
    platform: Platform


def onprem(env: Environment, index: Index, alert_secrets: AlertSecrets) -> Onprem:
    """The on-prem site."""
    backups = Backups("backups") if env.cloud else None
    site = Site(
        "onprem",
        SiteArgs(
            environment=env.name,
            site=env.onprem,
            kubernetes_version=env.kubernetes.version,
            index=index,
            tcp_services=[*_for_the_other_site(env), *_page(env)],
            linked=bool(env.cloud),
            peer=env.cloud.network.cidr if env.cloud else None,
            nvidia_hosts=nodes.nvidia_hosts(env),
            backup_store=backups.store(env.onprem.network.ingress_address) if backups else {},
        ),
    )
    joined = meshes.onprem(env)
    keys = shared_keys.make(env, pulumi.ResourceOptions(parent=site))
    inside = _inside(
        "onprem", site.kubeconfig, env.onprem.cluster, gone_with=site.cluster.playbook, meshed=bool(joined)
    )
    in_lab = lab_site.site(env.cloud) if env.cloud and env.cloud.provisioner == "lab" else None
    platform = Platform(
        "platform",
        PlatformArgs(
            cluster=cluster.of_hosts(
                env.onprem, linked=bool(env.cloud), mesh=joined, nvidia_hosts=nodes.nvidia_hosts(env)
            ),
            kubernetes_version=env.kubernetes.version,
            storage=env.platform.storage,
            object_store=env.platform.object_store,
            index=index,
            published=bool(env.cloud),
            keys=keys.store,
            backups_keys=keys.backups,
            accelerators=nodes.offers(env, "onprem"),
            monitoring=env.platform.monitoring,
            # The page at Amazon is behind a load balancer whose address is known to nobody beforehand.
            status=_shown(env, in_lab.network.ingress_address if in_lab else None),
            alert_secrets=alert_secrets,
            model_age_days=env.workloads.inference.max_model_age_days,
            for_autoscalers=env.workloads.inference.scales_by_requests,
            mesh_authority=keys.authority,
            over=keys.over,
        ),
        inside,
    )
    Workloads(
        "workloads",
        WorkloadsArgs(
            settings=env.workloads,
            index=index,
            platform=platform,
            store=model_store.garage(keys.store),
            trains=env.workloads.training.site == "onprem",
        ),
        inside,
    )
    pulumi.export("api_endpoint", addressing.api_url(env.onprem.network))
    pulumi.export("ingress_url", addressing.ingress_url(env.onprem.network))
    pulumi.export("kubeconfig", site.kubeconfig)
    if backups:
        pulumi.export(naming.BACKUPS_KEY_OUTPUT, backups.private_key)
    return Onprem(site=site, keys=keys, platform=platform)


def cloud(env: Environment, index: Index, other: Onprem, alert_secrets: AlertSecrets) -> None:
    """The cloud half: at Amazon on EKS, in a lab on machines, and the same platform and workloads on either."""
    assert env.cloud is not None
    if env.cloud.provisioner == "aws":
        _at_amazon(env, env.cloud, index, other, alert_secrets)
    else:
        _in_lab(env, env.cloud, index, other, alert_secrets)


def _at_amazon(env: Environment, settings: Cloud, index: Index, other: Onprem, alert_secrets: AlertSecrets) -> None:
    # Here: AWS's SDK takes a second to load, which a site that stands alone need not wait for.
    from infra.cloud import images
    from infra.cloud.cloud import Cloud as Half
    from infra.cloud.cloud import CloudArgs
    from infra.cloud.link import Link
    from infra.link import SiteLink, SiteLinkArgs

    def way_in(far_end: Link) -> list[pulumi.Resource]:
        link = SiteLink("link", SiteLinkArgs(environment=env, site=other.site, tunnels=far_end.tunnels))
        return [] if settings.public_access_cidrs else [link.playbook]

    half = Half("cloud", CloudArgs(environment=env, way_in=way_in))
    # Nodes become ready, and their groups with them, only when Cilium runs on them: beside them, not after them.
    needed = [*half.open, *half.way_in]
    inside = _inside(
        "cloud",
        half.kubeconfig,
        settings.cluster,
        gone_with=half.cluster,
        meshed=True,
        parent=half,
        depends_on=needed,
    )
    # After the add-ons that make the volumes.
    made = classes.create(
        classes.of_eks(half.data_key, half.file_system.id if half.file_system else None),
        opts=_after(inside, half.addons),
    )
    there = images.index(settings, index)
    names = images.platform(env), images.workloads(env)
    copied = images.Images(
        "images",
        names=(*names[0], *names[1]),
        there=there,
        repositories=half.repositories,
        opts=pulumi.ResourceOptions(parent=half),
    ).copied
    platform = Platform(
        "platform",
        PlatformArgs(
            cluster=cluster.of_eks(
                settings,
                env.onprem.network.cidr,
                half.cluster.endpoint.apply(_host),
                mesh=meshes.cloud(env.onprem, settings),
            ),
            kubernetes_version=f"v{settings.kubernetes_version}.0",
            # EBS' and EFS' own drivers are among the add-ons.
            storage=None,
            object_store=None,
            index=there,
            provided=Provided(ready=[half.addons, *made]),
            accelerators=nodes.offers(env, "cloud"),
            monitoring=env.platform.monitoring,
            status=_shown(env, env.onprem.network.ingress_address),
            alert_secrets=alert_secrets,
            model_age_days=env.workloads.inference.max_model_age_days,
            mesh_authority=other.keys.authority,
            sender=_sender(env, other),
        ),
        _after(inside, *(copied[name] for name in names[0])),
    )
    workloads = _workloads(
        env,
        there,
        platform,
        own=model_store.amazons(settings.region, half.models.bucket.bucket),
        backups=model_store.amazons(settings.region, half.backups.bucket.bucket),
        other=other,
        opts=_after(inside, *half.identities, *(copied[name] for name in names[1])),
    )
    assert platform.entrance is not None
    _join(env, other, platform, host=published.host(platform.entrance.service), port=mesh.PORT)
    pulumi.export(naming.BACKUPS_BUCKET_OUTPUT, half.backups.bucket.bucket)
    pulumi.export("cloud_api_endpoint", half.cluster.endpoint)
    pulumi.export("cloud_ingress_url", published.host(workloads.inference.service).apply(_url))
    pulumi.export("cloud_kubeconfig", half.kubeconfig)
    pulumi.export("cloud_oidc_issuer", half.oidc_issuer)
    pulumi.export("cloud_node_role", half.node_role)


def _in_lab(env: Environment, settings: Cloud, index: Index, other: Onprem, alert_secrets: AlertSecrets) -> None:
    # Here: AWS's SDK takes a second to load, which a site that stands alone need not wait for.
    from infra.cloud.cloud import Cloud as Half
    from infra.cloud.cloud import CloudArgs
    from infra.cloud.lab import Lab, LabArgs
    from infra.link import Far, LabEnd, LabEndArgs, SiteLink, SiteLinkArgs

    lab = Lab("cloud-lab", LabArgs(environment=env, index=index, tcp_services=[naming.MESH, *_page(env)]))
    half = Half("cloud", CloudArgs(environment=env, endpoint=lab.endpoint, kubeconfig=lab.site.kubeconfig))
    assert lab.site.network is not None
    end = LabEnd("link-end", LabEndArgs(environment=env.name, cloud=settings, network=lab.site.network, index=index))
    SiteLink(
        "link",
        SiteLinkArgs(environment=env, site=other.site, tunnels=half.link.tunnels, far=Far(site=lab.site, end=end)),
    )
    hosts = lab_site.site(settings)
    # Inside the component of the cloud half, which tells these resources from the on-prem ones of the same names.
    gone_with = lab.site.cluster.playbook
    inside = _inside("cloud", lab.site.kubeconfig, hosts.cluster, gone_with=gone_with, meshed=True, parent=half)
    platform = Platform(
        "platform",
        PlatformArgs(
            cluster=cluster.of_hosts(hosts, mesh=meshes.cloud(env.onprem, settings)),
            kubernetes_version=env.kubernetes.version,
            # Where Amazon has its disks, a lab has the driver that comes with it.
            storage=env.platform.storage,
            object_store=None,
            index=index,
            accelerators=nodes.offers(env, "cloud"),
            monitoring=env.platform.monitoring,
            status=_shown(env, env.onprem.network.ingress_address),
            alert_secrets=alert_secrets,
            model_age_days=env.workloads.inference.max_model_age_days,
            for_autoscalers=env.workloads.inference.scales_by_requests,
            mesh_authority=other.keys.authority,
            sender=_sender(env, other),
        ),
        inside,
    )
    _join(env, other, platform, host=str(hosts.network.ingress_address), port=naming.MESH.port)
    api = policies.network(IPv4Network(lab_site.aws_api(settings)))
    own, backups = (
        ModelStore(
            endpoint=lab.endpoint,
            region=settings.region,
            bucket=bucket,
            keys=Keys(access_key_id="lab", secret_access_key="lab"),
            egress=[{"to": [api], "ports": policies.ports(lab_site.AWS_API_PORT)}],
        )
        for bucket in (half.models.bucket.bucket, half.backups.bucket.bucket)
    )
    _workloads(env, index, platform, own=own, backups=backups, other=other, opts=inside)
    pulumi.export(naming.BACKUPS_BUCKET_OUTPUT, half.backups.bucket.bucket)
    pulumi.export("cloud_api_endpoint", addressing.api_url(hosts.network))
    pulumi.export("cloud_ingress_url", addressing.ingress_url(hosts.network))
    pulumi.export("cloud_kubeconfig", half.kubeconfig)
    pulumi.export("cloud_oidc_issuer", half.oidc_issuer)
    pulumi.export("cloud_node_role", half.node_role)


def _join(env: Environment, onprem: Onprem, cloud: Platform, *, host: pulumi.Input[str], port: int) -> None:
    """Tells each site's agents where to ask the other; `host` and `port` are the cloud half's entrance.

    Last of all, and waited for by nothing: each site is whole without the other.
    """
    assert onprem.keys.authority is not None
    there = str(env.onprem.network.ingress_address)
    for platform, at, its_port in ((onprem.platform, host, port), (cloud, there, naming.MESH.port)):
        child = pulumi.ResourceOptions(parent=platform)
        mesh.introduce(platform.cluster, host=at, port=its_port, authority=onprem.keys.authority, opts=child)


def _workloads(
    env: Environment,
    index: Index,
    platform: Platform,
    *,
    own: ModelStore,
    backups: ModelStore,
    other: Onprem,
    opts: pulumi.ResourceOptions,
) -> Workloads:
    """The workloads of the cloud half: it serves from its `own` store, and copies between that and the on-prem one.

    Backups of on-prem hosts come to `backups`.
    """
    assert other.keys.backups is not None
    there = env.onprem.network.ingress_address
    others = model_store.garage_from_outside(other.keys.store, there)
    sealed = model_store.garage_from_outside(
        other.keys.backups, there, bucket=naming.BACKUPS_BUCKET, secret=naming.BACKUPS_SECRET
    )
    control_planes = [host.name for host in env.onprem.having("control_plane")]
    trains = env.workloads.training.site == "cloud"
    source, destination = (own, others) if trains else (others, own)
    return Workloads(
        "workloads",
        WorkloadsArgs(
            settings=env.workloads,
            index=index,
            platform=platform,
            store=own,
            trains=trains,
            copies=[
                Copies(work=replication.champion(env.workloads.inference), source=source, destination=destination),
                Copies(work=replication.backups(control_planes), source=sealed, destination=backups),
            ],
        ),
        opts,
    )


def _after(opts: pulumi.ResourceOptions, *needed: pulumi.Resource) -> pulumi.ResourceOptions:
    return pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=list(needed)))


def _host(url: str) -> str:
    """Of https://HOST."""
    return url.removeprefix("https://")


def _url(host: str) -> str:
    return f"http://{host}" if host else ""


def _for_the_other_site(env: Environment) -> list[TcpService]:
    """What the on-prem site's ingress address serves for the cloud half."""
    if env.cloud is None:
        return []
    return [naming.OBJECT_STORE, naming.MESH, *([naming.VIEW] if env.platform.monitoring else [])]


def _sender(env: Environment, other: Onprem) -> Sender | None:
    """How the cloud half's Prometheus reaches the view over both sites, if there is one."""
    over = other.keys.over
    return from_outside(over.keys.far, env.onprem.network.ingress_address) if over else None


def _page(env: Environment) -> list[TcpService]:
    """The status page at a site's ingress address, if the environment has one."""
    return [naming.status_page(env.platform.status.port)] if env.platform.status else []


def _shown(env: Environment, peer: IPv4Address | None) -> Shown | None:
    """What a site's status page shows; `peer` is the other site's ingress address."""
    settings = env.platform.status
    return Shown(settings=settings, model=env.workloads.inference.model, peer=peer) if settings else None


def _inside(
    name: str,
    kubeconfig: pulumi.Input[str],
    identity: Identity,
    *,
    gone_with: pulumi.Resource,
    meshed: bool,
    parent: pulumi.Resource | None = None,
    depends_on: Sequence[pulumi.Resource] = (),
) -> pulumi.ResourceOptions:
    """Options of what is in a site's cluster. Nothing there is deleted one by one when the cluster itself is.

    `meshed`: whether policies have to say which cluster's pods they mean. `depends_on`: what has to be done before the
    cluster's API can be used.
    """
    provider = kubernetes.Provider(
        name,
        kubeconfig=kubeconfig,
        # A renewed certificate in the kubeconfig is not another cluster.
        cluster_identifier=identity.name,
        # What an interrupted run made before the engine heard of it is taken over, not refused.
        upsert_existing_objects=True,
        opts=pulumi.ResourceOptions(parent=parent, deleted_with=gone_with, depends_on=list(depends_on)),
    )
    return pulumi.ResourceOptions(
        parent=parent,
        providers=[provider],
        deleted_with=gone_with,
        transformations=[policies.of_cluster(identity.name)] if meshed else None,
    )
