"""The model of `environments/<env>.yaml`: the one reviewed file of an environment.

`load` gives a frozen Environment or raises InvalidEnvironment, which lists every problem, each in one line that names
the key, the rule and the fix. Rules within one key are here and in environment_values.py, rules between keys in
environment_checks.py; environment_errors.py words what the model refuses. No pulumi here: the file can be checked
anywhere. Command: `python -m infra.environment schema | check FILE...`
"""

from __future__ import annotations

import hashlib
import json
import sys
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Final, Literal, cast

from pydantic import Field, ValidationError

from infra import environment_checks, environment_errors, strict_yaml
from infra.accelerators import Accelerator, AcceleratorRequest
from infra.alerts import Alerts
from infra.autoscaling import Autoscaling
from infra.environment_values import (
    AccountId,
    AddonVersion,
    Address,
    DriverName,
    EksVersion,
    Email,
    HostKey,
    InstanceType,
    Label,
    Model,
    Network,
    Port,
    Quantity,
    Region,
    Resources,
    RoleArn,
    Taint,
    Version,
)

ANYWHERE: Final = IPv4Network("0.0.0.0/0")

AddonName = Literal["coredns", "aws_ebs_csi_driver", "aws_efs_csi_driver", "eks_pod_identity_agent", "metrics_server"]

Role = Literal["control_plane", "worker", "load_balancer"]


class InvalidEnvironment(Exception):
    """An environment file that cannot be used; `problems` holds one line for each reason."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Kubernetes(Model):
    version: Version = Field(description="what runs on hosts, a lab's cloud half too; as mirror/catalog.yaml pins it")


class Cluster(Model):
    name: Label = Field(description="Cilium's name of the cluster; differs between meshed clusters")
    id: int = Field(ge=1, le=255, description="Cilium's number of the cluster; differs between meshed clusters")


class SiteNetwork(Model):
    cidr: Network = Field(description="range of the hosts")
    admin_cidrs: tuple[Network, ...] = Field(
        default=(ANYWHERE,),
        min_length=1,
        strict=False,
        description="who may reach the hosts' SSH and API servers directly; not who may use the floating addresses",
    )
    gateway: Address
    mirror_address: Address = Field(description="the site's registry, which serves images and files")
    mirror_metrics_port: Port | None = Field(
        default=None, description="where it tells Prometheus of itself, over HTTP at /metrics; a lab's always does"
    )
    api_address: Address = Field(description="floating address of the Kubernetes API")
    api_port: Port = 8443
    ingress_address: Address = Field(description="floating address of what the cluster serves to people")
    ingress_port: Port = 80
    pod_cidr: Network = Field(description="range of the pods; each host takes a /24 of it")
    service_cidr: Network = Field(description="range of the Services' cluster addresses")


class Ssh(Model):
    user: str = Field(default="root", pattern=r"^[a-z_][a-z0-9_-]*$", description="who Ansible logs in as")
    port: Port = 22


class Host(Model):
    name: Label
    address: Address
    roles: tuple[Role, ...] = Field(min_length=1, strict=False, description="what the host is")
    labels: dict[str, str] = Field(default_factory=dict, description="Kubernetes node labels")
    taints: tuple[Taint, ...] = Field(default=(), strict=False, description="Kubernetes node taints")
    host_key: HostKey | None = Field(default=None, description="the host's ssh key; a lab machine makes its own")


class Onprem(Model):
    provisioner: Literal["lab", "hosts"] = Field(description="lab boots machines here; hosts are there already")
    reset_allowed: bool = Field(default=False, description="may `pulumi destroy` wipe the hosts; else it is refused")
    check_hosts: bool = Field(default=False, description="does every preview run Ansible's check mode on the hosts")
    cluster: Cluster
    network: SiteNetwork
    ssh: Ssh = Ssh()
    hosts: tuple[Host, ...] = Field(min_length=1, strict=False)

    def having(self, role: Role) -> tuple[Host, ...]:
        """The hosts with that role, as the file orders them."""
        return tuple(host for host in self.hosts if role in host.roles)

    def workers(self) -> tuple[Host, ...]:
        """The hosts that take any pod: workers without a taint."""
        return tuple(host for host in self.having("worker") if not host.taints)


class CloudNetwork(Model):
    """Pods and Services have ranges of their own: Cilium's overlay carries them, so pods take no VPC addresses."""

    cidr: Network = Field(description="range of the VPC: nodes, load balancers, endpoints; /16 to /20")
    pod_cidr: Network = Field(description="range of the pods")
    service_cidr: Network = Field(description="range of the Services' cluster addresses")
    nat: Literal["per_zone", "single"] = Field(
        default="per_zone", description="NAT gateways: one a zone, or one for all, cheaper and lost with its zone"
    )


class NodeGroup(Model):
    name: Label
    capacity: Literal["on_demand", "spot"]
    instance_types: tuple[InstanceType, ...] = Field(min_length=1, strict=False)
    zones: tuple[str, ...] = Field(
        default=(),
        min_length=1,
        strict=False,
        description="those of cloud.zones that its nodes are in, where AWS does not offer the types in each; else all",
    )
    accelerator: Literal["none", "nvidia"] = Field(default="none", description="nvidia: nodes start with the driver")
    disk_gib: int = Field(default=50, ge=20, le=16384, description="root volume of a node, GiB")
    min: int = Field(ge=0, le=450)
    desired: int = Field(ge=0, le=450, description="how many nodes there are to be")
    max: int = Field(ge=1, le=450)
    labels: dict[str, str] = Field(default_factory=dict, description="Kubernetes node labels")
    taints: tuple[Taint, ...] = Field(default=(), strict=False, description="Kubernetes node taints")


class Addons(Model):
    """EKS add-ons, each pinned; `aws eks describe-addon-versions` lists what there is."""

    coredns: AddonVersion
    aws_ebs_csi_driver: AddonVersion
    aws_efs_csi_driver: AddonVersion | None = Field(
        default=None, description="with it there is a file system too, for volumes that several nodes write to"
    )
    eks_pod_identity_agent: AddonVersion
    metrics_server: AddonVersion
    configuration: dict[AddonName, dict[str, Any]] = Field(
        default_factory=dict, description="an add-on's settings; `aws eks describe-addon-configuration` says which"
    )

    def versions(self) -> dict[AddonName, str]:
        """Key of each add-on -> its version."""
        return cast("dict[AddonName, str]", self.model_dump(exclude_none=True, exclude={"configuration"}))


class Link(Model):
    """The tunnels between the sites."""

    site_address: Address = Field(description="the site's public address, where its end of both tunnels is")
    site_asn: int = Field(default=65010, ge=64512, le=65534, description="private number of the site's network (BGP)")
    cloud_asn: int = Field(default=64512, ge=64512, le=65534, description="private number of the cloud's network")


class Budget(Model):
    monthly_usd: int = Field(ge=1, description="what all in the account may cost a month")
    emails: tuple[Email, ...] = Field(
        min_length=1, strict=False, description="who hears of 80 % and of a forecast over"
    )


class Cloud(Model):
    provisioner: Literal["aws", "lab"] = Field(description="aws is Amazon's; lab answers its API on this machine")
    account_id: AccountId = Field(description="the only AWS account that is touched")
    region: Region
    zones: tuple[str, ...] = Field(
        min_length=2,
        max_length=6,
        strict=False,
        description="zones of that region; fixed once the cluster exists: EKS takes no subnets of another one",
    )
    kubernetes_version: EksVersion = Field(
        description="as EKS names it, such as 1.34; AWS is asked whether it offers it, and raises it when support ends"
    )
    cluster: Cluster
    network: CloudNetwork
    public_access_cidrs: tuple[Network, ...] = Field(
        default=(), strict=False, description="who may reach the API from the internet; nobody without it"
    )
    platform_team_roles: tuple[RoleArn, ...] = Field(min_length=1, strict=False, description="who administers it")
    node_groups: tuple[NodeGroup, ...] = Field(min_length=1, strict=False)
    addons: Addons
    link: Link
    budget: Budget
    log_retention_days: Literal[7, 14, 30, 60, 90, 180, 365] = 90
    deletable: bool = Field(default=False, description="may buckets with content, keys and the cluster be deleted")

    def zones_of(self, group: NodeGroup) -> tuple[str, ...]:
        """The zones that the group's nodes are in."""
        return group.zones or self.zones


class ObjectStore(Model):
    replicas: int = Field(ge=1, le=7, description="one a worker; 1, or at least 3 to bear a loss")
    capacity: Quantity = Field(description="bytes of each replica")
    resources: Resources


class LabStorage(Model):
    """The driver that comes with the lab: its machines share one folder of this machine."""

    capacity: Quantity = Field(description="bytes of all volumes and snapshots of a site together")


class Volumes(Model):
    """A kind of volumes that a driver of the site makes."""

    provisioner: DriverName = Field(description="the driver's name; `kubectl get csidrivers` lists those that run")
    parameters: dict[str, str] = Field(default_factory=dict, description="what the driver asks of a storage class")
    binds: Literal["immediately", "with_pod"] = Field(
        default="with_pod", description="with_pod: a volume is made where its first pod is scheduled"
    )
    snapshots: bool = Field(default=False, description="can the driver make snapshots")
    snapshot_parameters: dict[str, str] = Field(default_factory=dict, description="the same, of a snapshot class")


class SiteStorage(Model):
    """Storage that the site has, with a CSI driver that its owners run: NFS, Rook-Ceph, Longhorn, a vendor's."""

    default: Volumes = Field(description="volumes that one host writes to at a time")
    shared: Volumes | None = Field(default=None, description="volumes that several hosts write to at once")


class Storage(Model):
    """One of the two: which driver makes the volumes of the on-prem site."""

    lab: LabStorage | None = Field(default=None, description="of a lab")
    site: SiteStorage | None = Field(default=None, description="of real hosts")


class Grafana(Model):
    """Dashboards of what Prometheus keeps, on each site. Its image is copied from its publisher and never built."""

    resources: Resources


class Monitoring(Model):
    """Prometheus, its rules and Alertmanager, on each site."""

    replicas: int = Field(ge=1, le=3, description="of each, on hosts of their own; 2 bear the loss of one")
    scrape_seconds: int = Field(default=30, ge=10, le=120, description="between two looks at everything")
    capacity: Quantity = Field(description="bytes of each Prometheus; the oldest goes when it is full")
    resources: Resources = Field(description="of each Prometheus")
    alerts: Alerts | None = Field(default=None, description="whom alerts are sent to; without it nobody is told")
    grafana: Grafana | None = Field(default=None, description="dashboards of what Prometheus keeps; optional")


class Status(Model):
    """A page that shows the sites at a glance, on each site; it shows alerts, so it needs monitoring."""

    port: int = Field(default=8080, ge=1024, le=65535, description="where it is, at the site's ingress address")
    refresh_seconds: int = Field(default=10, ge=5, le=300, description="between two looks at everything")


class Platform(Model):
    storage: Storage | None = Field(default=None, description="where volumes come from; without it there are none")
    object_store: ObjectStore
    accelerators: tuple[Accelerator, ...] = Field(default=(), strict=False, description="devices that pods may ask for")
    monitoring: Monitoring | None = Field(default=None, description="who watches the sites; without it nobody does")
    status: Status | None = Field(default=None, description="the page that shows the sites; without it there is none")


class Training(Model):
    site: Literal["onprem", "cloud"] = Field(default="onprem", description="where it runs; the other site gets a copy")
    threshold: float = Field(gt=0, lt=1, description="accuracy on held-out data that a served model needs, 0 to 1")
    seed: int = Field(ge=0, le=2**32 - 1)
    resources: Resources
    accelerator: AcceleratorRequest | None = None


class Inference(Model):
    model: Label = Field(description="the model that is trained and served")
    replicas: int = Field(
        ge=2, le=32, description="each on a worker of its own; 2 or more, so that one may be lost; at most 32"
    )
    autoscaling: Autoscaling | None = Field(
        default=None, description="more replicas under load; without it, `replicas`"
    )
    poll_seconds: int = Field(default=5, ge=1, le=300, description="how soon a newly promoted model is noticed")
    max_model_age_days: int | None = Field(
        default=None,
        ge=1,
        le=3650,
        description="an alert tells when what is served was first published longer ago; without it none does",
    )
    resources: Resources

    @property
    def scales_by_requests(self) -> bool:
        """Whether there is a target of requests a second."""
        return self.autoscaling is not None and self.autoscaling.target_requests_per_second is not None


class Workloads(Model):
    training: Training
    inference: Inference


class State(Model):
    """Where the engine keeps what it knows; both are made by the first `make up`. It needs credentials of AWS."""

    bucket: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", description="S3 bucket, versioned and encrypted")
    region: Region
    key_alias: str = Field(pattern=r"^alias/[a-zA-Z0-9/_-]+$", description="KMS key of the secrets in the state")


class Environment(Model):
    name: Label = Field(description="also the file's name and the Pulumi stack's")
    state: State | None = Field(default=None, description="the engine's state; without it a folder of this checkout")
    kubernetes: Kubernetes
    onprem: Onprem
    cloud: Cloud | None = Field(default=None, description="the cloud half; without it the site stands alone")
    platform: Platform
    workloads: Workloads


def parse(path: Path) -> Environment:
    """The file as the model alone takes it; raises OSError, or ValueError (pydantic's for what the model refuses)."""
    return Environment.model_validate(strict_yaml.parse(path.read_text(encoding="utf-8")))


def load(path: Path) -> Environment:
    """The environment that the file describes; raises InvalidEnvironment with every problem that it has."""
    shown = f"{path.parent.name}/{path.name}"
    try:
        environment = parse(path)
    except OSError as error:
        raise InvalidEnvironment([f"{shown}: cannot be read ({error.strerror}); name one of environments/"]) from error
    except ValidationError as error:
        raise InvalidEnvironment(
            [f"{shown}: {line}" for line in environment_errors.explained(error, Environment)]
        ) from error
    except ValueError as error:
        raise InvalidEnvironment([f"{shown}: {error}"]) from error
    problems = environment_checks.problems(environment)
    if environment.name != path.stem:
        problems.insert(0, f"name: {environment.name} is not the file's name; write {path.stem} or rename the file")
    if problems:
        raise InvalidEnvironment([f"{shown}: {problem}" for problem in problems])
    return environment


def digest(path: Path) -> str:
    """What `sha256sum` prints for the file: a reviewer can compare it with the stack's output."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def schema() -> str:
    """The JSON Schema of an environment file, for editors; environments/schema.json is this text."""
    return json.dumps({"title": "Isthmus environment"} | Environment.model_json_schema(), indent=2) + "\n"


def main(arguments: list[str]) -> int:
    """`schema` prints the JSON Schema, `check FILE...` the problems of files."""
    match arguments:
        case ["schema"]:
            sys.stdout.write(schema())
            return 0
        case ["check", *files] if files:
            bad = 0
            for file in files:
                try:
                    load(Path(file))
                    sys.stdout.write(f"{file}: valid, sha256 {digest(Path(file))}\n")
                except InvalidEnvironment as error:
                    bad += 1
                    sys.stderr.write(f"{error}\n")
            return 1 if bad else 0
        case _:
            sys.stderr.write("usage: python -m infra.environment schema | check FILE...\n")
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
