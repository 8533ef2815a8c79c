"""Packs what check.py needs on a host with a GPU: programs, images, configuration and objects, all this checkout's own.

    .venv/bin/python -m tests.gpu.pack FOLDER

Programs and images are the mirror's, made if need be. Configuration is rendered from the roles' templates, objects by
the program itself, from the accelerators of environments/prod.yaml.
"""

from __future__ import annotations

import io
import json
import lzma
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import yaml
from pulumi_kubernetes import core

from infra import environment, nodes
from infra.accelerators import NVIDIA, AcceleratorRequest
from infra.artifacts import Artifact, Index
from infra.nodes import Offer
from infra.paths import CACHE, ROOT
from infra.platform import pods
from infra.platform.device_plugins import DevicePlugins, DevicePluginsArgs
from infra.workloads import accelerated
from ops.mirror.registry import Storage
from ops.mirror.sync import sync
from tests.infra import recording
from tests.infra.manifests import rendered

PROGRAMS = {
    "bin/etcd": "etcd",
    "bin/kube-apiserver": "kube-apiserver-binary",
    "bin/kube-controller-manager": "kube-controller-manager-binary",
    "bin/kube-scheduler": "kube-scheduler-binary",
    **{f"bin/{one}": one for one in ("kubelet", "containerd", "containerd-shim-runc-v2", "ctr")},
    **{f"bin/{one}": one for one in ("nvidia-container-runtime", "nvidia-ctk")},
    **{f"cni/{one}": one for one in ("loopback", "ptp", "host-local")},
}
"""Place in the package -> artefact. What is in bin lies in /usr/bin of the node."""

IMAGES = ("pause", "nvidia-device-plugin")
SLICES = 4
FILTERS = ({"id": lzma.FILTER_X86}, {"id": lzma.FILTER_LZMA2, "preset": 6})
PART_MIB = 50
"""Parts of the package are no larger, so that it goes over links that limit a file's size."""


def pack(out: Path) -> None:
    sync([*PROGRAMS.values(), *IMAGES, "machine"])
    index = Index.load()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for place, name in PROGRAMS.items():
            (folder / place).parent.mkdir(exist_ok=True)
            shutil.copyfile(index.artifact(name).local, folder / place)
            (folder / place).chmod(0o755)
        _runc(index.artifact("machine").local, folder / "bin")
        for name in IMAGES:
            _image(index.artifact(name), folder / f"{name}.tar")
        _configuration(index, folder / "containerd")
        (folder / "objects.json").write_text(json.dumps(objects(index), indent=1))
        _parts(folder, out)
    for name in ("check.py", "node.py", "vector_add.py"):
        shutil.copy(Path(__file__).with_name(name), out)


def objects(index: Index) -> dict[str, Any]:
    """The program's objects for whole devices and for slices, and a pod that asks for one as training does."""
    env = environment.load(ROOT / "environments" / "prod.yaml")
    (whole,) = nodes.offers(env, "onprem")
    sliced = Offer(accelerator=whole.accelerator.model_copy(update={"time_slicing": SLICES}), taints=whole.taints)
    return {
        "labels": whole.accelerator.node_selector,
        "taints": whole.taints,
        "slices": SLICES,
        "whole": _made(lambda: DevicePlugins("device-plugins", DevicePluginsArgs(offers=(whole,), index=index))),
        "sliced": _made(lambda: DevicePlugins("device-plugins", DevicePluginsArgs(offers=(sliced,), index=index))),
        "pod": _made(lambda: _pod(whole, index.artifact("nvidia-device-plugin")))[0],
    }


def _pod(offer: Offer, image: Artifact) -> core.v1.Pod:
    """Confined, bounded and placed by what training uses. The plugin's image has a Python, and names all devices."""
    request = AcceleratorRequest(resource=NVIDIA)
    container: Any = {
        "name": "user",
        "image": pods.image(image),
        "resources": accelerated.amounts(recording.local().workloads.training.resources, request),
        "security_context": pods.locked(),
    }
    spec: Any = {
        "restart_policy": "Never",
        "automount_service_account_token": False,
        "termination_grace_period_seconds": 0,
        "security_context": pods.unprivileged(),
        "containers": [container],
        **accelerated.placement(request, [offer]),
    }
    return core.v1.Pod("user", metadata={"name": "user", "namespace": "users"}, spec=spec)


def _made(program: Callable[[], Any]) -> list[dict[str, Any]]:
    made = rendered.manifests(recording.record(program))
    # The engine knows no whole numbers; the API server does.
    return json.loads(json.dumps(made), parse_float=lambda text: int(float(text)))


def _runc(machine: Path, target: Path) -> None:
    """Debian's, as hosts have it; it needs the host's libseccomp."""
    with tarfile.open(machine) as tar:
        program = tar.extractfile(next(one for one in tar if one.name.removeprefix("./") == "usr/sbin/runc"))
        assert program, "a file"
        (target / "runc").write_bytes(program.read())
    (target / "runc").chmod(0o755)


def _image(artifact: Artifact, target: Path) -> None:
    """An OCI layout of what the registry holds, under the names by which the kubelet looks for it."""
    storage = Storage(CACHE / "mirror" / "registry")
    content = storage.blob(artifact.digest).read_bytes()
    manifest = {"mediaType": json.loads(content)["mediaType"], "digest": artifact.digest, "size": len(content)}
    names = (artifact.image, f"{artifact.image.rpartition(':')[0]}@{artifact.digest}")
    named = [{**manifest, "annotations": {"io.containerd.image.name": name}} for name in names]
    with tarfile.open(target, "w") as tar:
        for file, told in (("oci-layout", {"imageLayoutVersion": "1.0.0"}), ("index.json", {"manifests": named})):
            data = json.dumps({"schemaVersion": 2, **told}).encode()
            member = tarfile.TarInfo(file)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        for digest in storage.parts(artifact.digest):
            tar.add(storage.blob(digest), f"blobs/{digest.replace(':', '/')}")


def _configuration(index: Index, folder: Path) -> None:
    """containerd's files as the roles containerd and nvidia write them."""
    engine = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False, keep_trailing_newline=True)
    engine.filters["to_json"] = json.dumps
    (folder / "conf.d").mkdir(parents=True)
    for role, template, name in (
        ("containerd", "config.toml.j2", "config.toml"),
        ("nvidia", "containerd.toml.j2", "conf.d/50-nvidia.toml"),
    ):
        files = ROOT / "ansible" / "roles" / role
        values = yaml.safe_load((files / "defaults" / "main.yml").read_text())
        # A rented machine may lack the capability, as a lab's machines do.
        values |= {"containerd_restrict_oom_score_adj": True, "containerd_pause_image": index.artifact("pause").image}
        text = (files / "templates" / template).read_text()
        (folder / name).write_text(engine.from_string(text).render(values))


def _parts(folder: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as made:
        whole = Path(made, "pack.tar.xz")
        with lzma.open(whole, "wb", filters=FILTERS) as packed, tarfile.open(fileobj=packed, mode="w|") as tar:
            tar.add(folder, ".")
        with whole.open("rb") as origin:
            for number, part in enumerate(iter(lambda: origin.read(PART_MIB << 20), b"")):
                (out / f"pack.tar.xz.{number:02}").write_bytes(part)


if __name__ == "__main__":
    pack(Path(sys.argv[1]))
