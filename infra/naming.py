"""Names and numbers that several parts agree on; those that a user may choose are in the environment file instead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LABELS: Final = {"app.kubernetes.io/managed-by": "isthmus"}
"""On every Kubernetes object of the program; selectors use app.kubernetes.io/name."""

REGISTRIES: Final = ("registry.k8s.io", "quay.io", "docker.io", "nvcr.io", "registry.isthmus.internal")
"""Registries whose images nodes take from the site's mirror, under their canonical names."""

MIRROR_PORT: Final = 5000

NODE_FILES: Final = (
    "kubeadm",
    "kubelet",
    "kubectl",
    "etcdctl",
    "etcdutl",
    "containerd",
    "containerd-shim-runc-v2",
    "ctr",
)
"""Files that hosts take from the mirror; kubectl and etcd's tools control planes alone."""

KUBEADM_IMAGES: Final = (
    "pause",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "etcd-image",
    "coredns-image",
)
"""Images that control planes pull before kubeadm runs, by tag, because kubeadm's manifests name them so."""

NETWORK_IMAGES: Final = ("cilium",)
"""Images of the pods that a node must run before it is Ready."""

POD_IMAGES: Final = (*NETWORK_IMAGES, "cilium-operator", "coredns-image", "metrics-server")
"""Images that every host pulls once it is a member, by digest, because our manifests name them so: a pod that has to
move then starts at once."""

WORKER_IMAGES: Final = {"onprem": ("inference", "garage"), "cloud": ("inference", "replication")}
"""Those that a site's workers pull beside them. Training is not among them: it is large, and runs on one host."""

INGRESS_NODE_PORT: Final = 30080
"""NodePort of the inference service: where the load balancers send requests while they know no pod."""

INGRESS_PODS: Final = "inference-pods"
"""The Service whose name in the cluster's DNS has the address of each pod that serves."""

INGRESS_POD_PORT: Final = 8080
"""Where each of those pods listens."""

LOAD_BALANCER_METRICS_PORT: Final = 8405
"""Where, at its host's own address, each load balancer tells Prometheus of itself."""

ETCD_METRICS_PORT: Final = 2381
CONTAINERD_METRICS_PORT: Final = 1338
CILIUM_METRICS_PORT: Final = 9962
HUBBLE_METRICS_PORT: Final = 9965
GPU_METRICS_PORT: Final = 9400
"""Where the others of a host do; the last is the DCGM exporter's."""

MIRROR_METRICS_PORT: Final = 5001
"""Where a lab's registry does."""

INGRESS_CHECK_PATH: Final = "/v2/health/ready"
"""Answers 200 where a model is served; the load balancers ask it."""


@dataclass(frozen=True, kw_only=True)
class TcpService:
    """What a site serves at its ingress address beside HTTP; every host that runs workloads has it at `node_port`."""

    name: str
    port: int
    node_port: int


OBJECT_STORE: Final = TcpService(name="object-store", port=3900, node_port=30390)
"""The on-prem object store, for the site at the other end of the link."""

MESH: Final = TcpService(name="mesh", port=12379, node_port=32379)
"""Where a site tells the agents of the other one of its pods and Services. Not at etcd's own port, which control planes
have, nor at the NodePort: Cilium lets nobody listen there."""

MESH_IMAGE: Final = "clustermesh-apiserver"
"""The image of what tells them, with its etcd."""


VIEW: Final = TcpService(name="view", port=9443, node_port=30943)
"""The view over both sites, for what the site at the other end of the link has measured."""


def status_page(port: int) -> TcpService:
    """The page that shows the sites, for people and for the other site's page."""
    return TcpService(name=STATUS, port=port, node_port=30808)


ALIAS: Final = "champion"

OBJECT_STORE_NAMESPACE: Final = "object-store"
WORKLOADS_NAMESPACE: Final = "workloads"
STATUS_NAMESPACE: Final = "status"
INGRESS_PODS_NAME: Final = f"{INGRESS_PODS}.{WORKLOADS_NAMESPACE}.svc.cluster.local:{INGRESS_POD_PORT}"
"""NAME:PORT by which the load balancers learn the pods, and to which they send what reaches the ingress address."""

CREDENTIALS_SECRET: Final = "object-store-credentials"
S3_ENDPOINT: Final = "http://garage.object-store.svc.cluster.local:3900"
S3_REGION: Final = "garage"
S3_BUCKET: Final = "models"
BACKUPS_BUCKET: Final = "backups"
"""Where control planes send backups, on their way to the other site."""
BACKUPS_SECRET: Final = "backups-credentials"
"""The Secret with the key for it, which no workload on that site has."""
BACKUPS_BUCKET_OUTPUT: Final = "backups_bucket"
BACKUPS_KEY_OUTPUT: Final = "backups_key"
"""Outputs of the stack: the bucket of the other site where they are in the end, and the private key that opens them."""

OBJECT_STORE_PATH: Final = "/var/lib/isthmus/object-store"
"""Where a host keeps its replica of the object store."""

METRICS_PATH: Final = "/var/lib/isthmus/metrics"
"""Where a host's own services leave files (NAME.prom) with what they tell Prometheus; the node exporter reads them."""

MACHINE_DISKS: Final = (
    "/etc/kubernetes",
    "/var/lib/containerd",
    "/var/lib/kubelet",
    "/var/lib/etcd",
    OBJECT_STORE_PATH,
)
"""What of a lab machine is a disk of its own: it outlives the machine, so that one made anew is the same cluster's
member, and it holds what overlay cannot carry."""

LAB_NAS: Final = "/srv/nas"
"""Where each lab machine of a site sees the folder that the site's volumes are in."""
LAB_POOL: Final = "/pool/content"
"""Where the lab's driver has mounted the file system that they are parts of: below a volume of its pod, since nothing
else of the container can be written to."""

LAB_STORAGE: Final = ("lab-csi", "csi-provisioner", "csi-resizer", "csi-snapshotter")
"""Images of the lab's storage: its driver, and upstream's controllers beside it."""
SNAPSHOTS: Final = ("snapshot-controller", "snapshot-crds")
"""What binds snapshots, whichever driver makes them: an image, and the kinds of objects."""
MONITORING: Final = ("prometheus", "alertmanager", "node-exporter", "kube-state-metrics")
"""Images of monitoring."""
GRAFANA: Final = "grafana"
"""The image, and the app, that has dashboards of what Prometheus keeps."""
CUSTOM_METRICS: Final = "prometheus-adapter"
"""The image, and the app, that has metrics of Prometheus for autoscalers."""
REQUESTS_METRIC: Final = "inference_requests_per_second"
"""What it has of each pod that serves."""
STATUS: Final = "status"
"""The image, and the app, of the page that shows the sites."""
STORAGE_NAMESPACE: Final = "storage"
STORAGE_CLASS: Final = "isthmus"
"""The default class of every site: a volume that one host writes to at a time."""
SHARED_CLASS: Final = "isthmus-shared"
"""A volume that pods on several hosts write to at once."""


def disk_folder(mount_point: str) -> str:
    """The name of the folder that holds a machine's disk: /var/lib/etcd -> var-lib-etcd."""
    return mount_point.strip("/").replace("/", "-")
