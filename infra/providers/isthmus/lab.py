"""The labs on this host: whose they are, faults by hand, and their complete removal.

A lab is what one checkout made for one environment: containers and a network that carry its name as labels. One lab
runs on a host at a time, because machines, addresses and the floating addresses exist once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.providers.isthmus import hostprep
from infra.providers.isthmus.handler import ResourceError
from infra.providers.isthmus.podman import CGROUP_PARENT, Podman, PodmanError

CHECKOUT, ENVIRONMENT, ROLE = "isthmus.checkout", "isthmus.env", "isthmus.role"
ACTIONS = ("power-off", "power-on", "freeze", "thaw", "reboot", "cut", "heal")


@dataclass(frozen=True, kw_only=True)
class Lab:
    """One checkout's lab. `machines` maps a name to running, stopped or paused."""

    checkout: str
    environment: str
    machines: dict[str, str] = field(default_factory=dict)
    alive: bool = False
    """Whether any of its processes runs, the mirror's included."""


def labels(checkout: str, environment: str, role: str) -> list[str]:
    """podman's flags that mark what a lab owns."""
    pairs = ((CHECKOUT, checkout), (ENVIRONMENT, environment), (ROLE, role))
    return [flag for key, value in pairs for flag in ("--label", f"{key}={value}")]


def status_of(container: dict[str, Any] | None) -> str:
    """A container's state in the words of this provider, from `inspect` or from `ps`."""
    if container is None:
        return "missing"
    state = container["State"]
    word, pid = (state["Status"], state["Pid"]) if isinstance(state, dict) else (state, container.get("Pid", 0))
    # podman's record may be older than the truth: nothing watches a container whose monitor was killed.
    if word in ("running", "paused") and Path(f"/proc/{pid}").exists():
        return word
    return "stopped"


def labs(podman: Podman | None = None) -> list[Lab]:
    """Every lab of this host."""
    podman = podman or Podman.default()
    found: dict[tuple[str, str], dict[str, str]] = {}
    running: set[tuple[str, str]] = set()
    for network in podman.list_networks():
        if CHECKOUT in (network.get("labels") or {}):
            found.setdefault((network["labels"][CHECKOUT], network["labels"][ENVIRONMENT]), {})
    for container in podman.containers(f"label={CHECKOUT}"):
        owner = (container["Labels"][CHECKOUT], container["Labels"][ENVIRONMENT])
        status = status_of(container)
        machines = found.setdefault(owner, {})
        if container["Labels"].get(ROLE) == "machine":
            machines[container["Names"][0]] = status
        if status != "stopped":
            running.add(owner)
    return [
        Lab(checkout=owner[0], environment=owner[1], machines=machines, alive=owner in running)
        for owner, machines in sorted(found.items())
    ]


def claim(checkout: str, environment: str, podman: Podman) -> None:
    """Make sure that no other lab is in the way: a dead one is cleaned up, a live one is refused by name.

    Raises ResourceError.
    """
    for lab in labs(podman):
        if (lab.checkout, lab.environment) == (checkout, environment):
            continue
        if lab.alive:
            raise ResourceError(
                f"the lab '{lab.environment}' of the checkout {lab.checkout} runs on this host "
                f"({', '.join(sorted(lab.machines)) or 'its mirror'}), and there is room for one: "
                "end it with `make down` there, or with `make down ALL=1` from any checkout"
            )
        remove_lab(lab.checkout, lab.environment, podman=podman)


def machine_power(name: str, action: str, podman: Podman | None = None) -> str:
    """A fault by hand, or its end: power-off (as if unplugged), power-on, freeze, thaw, reboot; cut (uplinks), heal.

    :return: the machine's status afterwards. Raises ResourceError.
    """
    podman = podman or Podman.default()
    if action not in ACTIONS:
        raise ResourceError(f"DO={action} is not known; it can be {', '.join(ACTIONS)}")
    machines = {machine: status for lab in labs(podman) for machine, status in lab.machines.items()}
    if name not in machines:
        raise ResourceError(
            f"there is no machine {name}; there are: {', '.join(sorted(machines)) or 'none, run `make up`'}"
        )
    status = machines[name]
    if action == "power-off" and status == "paused":
        # A frozen process takes no signal, not even the last one.
        podman("unpause", name)
    match action, status:
        case ("power-off", "running" | "paused"):
            podman.kill(name)
        case ("power-on", "stopped"):
            start(name, podman)
        case ("freeze", "running"):
            podman("pause", name)
        case ("thaw", "paused"):
            podman("unpause", name)
        case ("reboot", "running"):
            reboot(name, podman)
        case ("cut" | "heal", "running"):
            set_uplinks(name, "down" if action == "cut" else "up", podman)
        case ("power-off", "stopped") | ("power-on" | "thaw", "running") | ("freeze", "paused"):
            pass
        case _:
            raise ResourceError(f"{name} is {status}; {action} does not apply to it")
    return status_of(podman.inspect(name))


def set_uplinks(name: str, to: str, podman: Podman) -> None:
    """Take what joins the machine to other networks than its site's `down` or `up`. Raises ResourceError."""
    # eth1 and on; a machine without uplinks, and so without a link to cut, has eth0 alone
    script = f'cd /sys/class/net && set -- eth[1-9]* && [ -e "$1" ] && for i; do ip link set "$i" {to}; done'
    try:
        podman.execute(name, "sh", "-c", script)
    except PodmanError as error:
        raise ResourceError(
            f"{name} has no uplinks that could be taken {to}; the link's far end is the cloud site's machine ...-vpn"
        ) from error


def reboot(name: str, podman: Podman) -> None:
    """An orderly restart from inside, as a person at the machine would do it."""
    # systemd goes down while it answers, so the command's end says nothing; podman's restart policy brings it back.
    hostprep.attempt(*podman.command("exec", name, "systemctl", "reboot"))


def start(name: str, podman: Podman) -> None:
    """Start a container and keep its bridge's hardware address as it was.

    A bridge that is made anew gets a random one, and every ARP entry for the gateway in the machines would be stale.
    """
    hostprep.allow_realtime(CGROUP_PARENT)
    podman("start", name)
    pin_bridges(podman)


def mac_of(address: str) -> str:
    """A hardware address of our own making for an IPv4 address: the same at every start, so no ARP entry goes stale."""
    return "02:69:" + ":".join(f"{int(octet):02x}" for octet in address.split("."))


def pin_bridges(podman: Podman) -> None:
    """Give every bridge of the lab that is up the hardware address that belongs to its gateway's address."""
    for network in podman.list_networks():
        bridge = Path("/sys/class/net", network["network_interface"], "address")
        gateway = mac_of(network["subnets"][0]["gateway"])
        if bridge.exists() and bridge.read_text().strip() != gateway:
            hostprep.attempt("ip", "link", "set", "dev", network["network_interface"], "address", gateway)


def remove_lab(
    checkout: str | None = None, environment: str | None = None, *, podman: Podman | None = None
) -> list[str]:
    """Remove a checkout's labs (None: every checkout's) with all that they left on the host; disks' folders stay.

    :return: what could not be undone, as sentences for a person; empty when nothing is left.
    """
    podman = podman or Podman.default()
    filters = [f"label={CHECKOUT}" + (f"={checkout}" if checkout else "")]
    if environment:
        filters.append(f"label={ENVIRONMENT}={environment}")
    if names := [container["Id"] for container in podman.containers(*filters)]:
        podman.remove(*names)
    for network in podman.list_networks():
        owner = network.get("labels") or {}
        if CHECKOUT not in owner or checkout not in (None, owner[CHECKOUT]):
            continue
        if environment in (None, owner[ENVIRONMENT]):
            remove_network(network, podman)
    if labs(podman):
        return []
    hostprep.remove_cgroups(CGROUP_PARENT)
    hostprep.remove_network_remains()
    stuck = hostprep.release(podman.root)
    # podman mounts its own layer folder onto itself, again at each call, and leaves it so.
    hostprep.attempt("umount", str(podman.root / "overlay"))
    return [f"the kernel kept {setting} changed until the host's next restart" for setting in stuck]


def remove_network(network: dict[str, Any], podman: Podman) -> None:
    """Remove a network and its bridge."""
    podman("network", "rm", "--force", network["name"])
    bridge = network["network_interface"]
    if Path("/sys/class/net", bridge).exists():
        hostprep.attempt("ip", "link", "delete", bridge)
