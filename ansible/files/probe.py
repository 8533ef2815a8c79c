"""Asks one host, in one round trip and without changing it, for everything that preflight judges and the roles need.

Runs on the host with its own Python and standard library only. Takes one argument, JSON: paths (to measure), packages,
address (of this host), mirror_url, ctr (containerd's command), floating ([[address, port], ...]). Prints one JSON
object.
"""

import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

CAP_SYS_RESOURCE = 24
CONTAINER_TYPES = ("docker", "podman", "lxc", "lxc-libvirt", "systemd-nspawn", "container-other")


def run(*command):
    """The output of a command; nothing when it is missing or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def read(path):
    try:
        return pathlib.Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def field(text, name):
    """The number after `name:` in a file of /proc; 0 when it is not there."""
    found = re.search(rf"^{name}:\s+(\w+)", text, re.MULTILINE)
    return found.group(1) if found else "0"


def os_release():
    pairs = (line.split("=", 1) for line in read("/etc/os-release").splitlines() if "=" in line)
    return {key: value.strip('"') for key, value in pairs}


def free_gib(path):
    """Free space where the folder is, or will be."""
    folder = pathlib.Path(path)
    while not folder.exists():
        folder = folder.parent
    return round(shutil.disk_usage(folder).free / 2**30, 1)


def listeners():
    """Port -> name of the process that listens on it."""
    found = {}
    for line in run("ss", "-ltnpH").splitlines():
        columns = line.split()
        name = re.search(r'\(\("([^"]+)"', line)
        found[columns[3].rpartition(":")[2]] = name.group(1) if name else "unknown"
    return found


def interfaces():
    """Address -> interface, for each address that this host holds."""
    answer = json.loads(run("ip", "-j", "address", "show") or "[]")
    return {info["local"]: link["ifname"] for link in answer for info in link["addr_info"] if "local" in info}


def mirror(url):
    """Empty when the registry answers, else why not."""
    try:
        with urllib.request.urlopen(url + "/v2/", timeout=5) as answer:
            return "" if answer.status == 200 else f"HTTP {answer.status}"
    except (OSError, ValueError, urllib.error.URLError) as error:
        return str(getattr(error, "reason", error))


def answers(address, port):
    """Does some host hold the address? A refused connection is an answer too."""
    try:
        socket.create_connection((address, port), timeout=1).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return True


def came_from():
    """Where the ssh session that this runs in came from: its ancestors know, also below sudo. Empty: from this host."""
    pid = os.getpid()
    while pid > 1:
        found = re.search(r"(?:^|\0)SSH_CONNECTION=([^ \0]+)", read(f"/proc/{pid}/environ"))
        if found:
            return found.group(1)
        pid = int(field(read(f"/proc/{pid}/status"), "PPid"))
    return ""


def api_server():
    """The version of the API server that kubeadm set up here; empty where there is none."""
    found = re.search(r"kube-apiserver:(v[0-9.]+)", read("/etc/kubernetes/manifests/kube-apiserver.yaml"))
    return found.group(1) if found else ""


def missing(packages):
    form = "${Package} ${db:Status-Status}\n"
    known = dict(line.split(" ", 1) for line in run("dpkg-query", "-W", "-f", form, *packages).splitlines())
    return [name for name in packages if known.get(name) != "installed"]


def main():
    asked = json.loads(sys.argv[1])
    with concurrent.futures.ThreadPoolExecutor() as pool:
        of_mirror = pool.submit(mirror, asked["mirror_url"])
        of_floating = {address: pool.submit(answers, address, port) for address, port in asked["floating"]}
        release, status, memory = os_release(), read("/proc/self/status"), read("/proc/meminfo")
        kernel = os.uname().release
        configs = ("/proc/config.gz", f"/boot/config-{kernel}", f"/lib/modules/{kernel}/config")
        held = interfaces()
        print(
            json.dumps(
                {
                    "os": release.get("ID", ""),
                    "os_version": release.get("VERSION_ID", ""),
                    "root": os.geteuid() == 0,
                    "systemd": pathlib.Path("/run/systemd/system").is_dir(),
                    "container": run("systemd-detect-virt", "--container").strip() in CONTAINER_TYPES,
                    "sys_resource": bool(int(field(status, "CapBnd"), 16) >> CAP_SYS_RESOURCE & 1),
                    "cgroup": 2 if pathlib.Path("/sys/fs/cgroup/cgroup.controllers").exists() else 1,
                    "kernel_config": any(pathlib.Path(path).exists() for path in configs),
                    "memory_mib": int(field(memory, "MemTotal")) // 1024,
                    "swap_mib": int(field(memory, "SwapTotal")) // 1024,
                    "free_gib": {path: free_gib(path) for path in asked["paths"]},
                    "listeners": listeners(),
                    "interface": held.get(asked["address"], ""),
                    "addresses": sorted(held),
                    "came_from": came_from(),
                    "api_server": api_server(),
                    "missing_packages": missing(asked["packages"]),
                    "mirror": of_mirror.result(),
                    "images": run(asked["ctr"], "--namespace", "k8s.io", "images", "list", "--quiet").split(),
                    "floating": [address for address, future in of_floating.items() if future.result()],
                    "time": time.time(),
                }
            )
        )


main()
