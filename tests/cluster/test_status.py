"""The status page of the running site: it says what kubectl says, and a browser shows it."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from infra import addressing
from infra.naming import INGRESS_CHECK_PATH, STATUS, STATUS_NAMESPACE
from infra.paths import state
from ops import cluster, sites
from ops.console import Failure
from ops.up import load
from tests.cluster import watching

ENVIRONMENT = os.environ.get("ISTHMUS_ENV", "local")
SITES = list(sites.of(load(ENVIRONMENT)))
pytestmark = pytest.mark.skipif(load(ENVIRONMENT).platform.status is None, reason="there is no status page")

PNG = b"\x89PNG\r\n\x1a\n"
WIDTH = 1400


@pytest.fixture(scope="module", params=SITES)
def site(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def url(environment: str, site: str) -> str:
    settings = load(environment)
    assert settings.platform.status
    return addressing.status_url(sites.one(settings, site).network, settings.platform.status.port)


def test_it_tells_of_every_node_what_kubectl_does(environment: str, site: str, url: str) -> None:
    def of_kubectl() -> dict[str, tuple[bool, str, bool]]:
        return {
            node["metadata"]["name"]: (
                cluster.ready(node),
                node["status"]["nodeInfo"]["kubeletVersion"],
                not node["spec"].get("unschedulable", False),
            )
            for node in cluster.items(environment, "nodes", site=site)
        }

    def of_page() -> dict[str, tuple[bool, str, bool]]:
        nodes = watching.page(url)["cluster"]["value"]["nodes"]
        return {one["name"]: (one["ready"], one["version"], one["schedulable"]) for one in nodes}

    assert agree(of_page, of_kubectl)
    assert of_page().keys() == {host.name for host in sites.one(load(environment), site).hosts}


def test_it_counts_the_pods_that_kubectl_counts(environment: str, site: str, url: str) -> None:
    def of_kubectl() -> dict[str, tuple[int, int]]:
        found: dict[str, list[bool]] = {}
        for pod in cluster.items(environment, "pods", site=site):
            if pod["status"].get("phase") not in ("Succeeded", "Failed"):
                found.setdefault(pod["metadata"]["namespace"], []).append(cluster.ready(pod))
        return {namespace: (sum(ready), len(ready)) for namespace, ready in found.items()}

    def of_page() -> dict[str, tuple[int, int]]:
        spaces = watching.page(url)["cluster"]["value"]["namespaces"]
        return {one["name"]: (one["ready"], one["pods"]) for one in spaces if one["pods"]}

    assert agree(of_page, of_kubectl)


def agree(page: Any, kubectl: Any) -> bool:
    """Whether both say the same at some moment: the page is some seconds behind, and pods come and go."""

    def same() -> bool | None:
        return True if page() == kubectl() else None

    return watching.eventually(90, same, lambda: f"the page says {page()}, kubectl {kubectl()}")


def test_what_is_requested_of_a_node_is_what_the_scheduler_counts(environment: str, site: str, url: str) -> None:
    def described(name: str) -> int:
        """Per cent of the node's processors, as `kubectl describe node` has it."""
        lines = cluster.kubectl(environment, "describe", "node", name, site=site).splitlines()
        (line,) = [one for one in lines[lines.index("Allocated resources:") :] if one.split()[:1] == ["cpu"]]
        return int(line.split("(")[1].split("%")[0])

    for node in watching.page(url)["cluster"]["value"]["nodes"]:

        def close(name: str = node["name"]) -> bool | None:
            now = {one["name"]: one["cpu"] for one in watching.page(url)["cluster"]["value"]["nodes"]}[name]
            return True if abs(100 * now["requested"] / now["allocatable"] - described(name)) <= 1 else None

        watching.eventually(60, close, lambda: f"of {node['name']} the page says {node['cpu']}")  # noqa: B023


def test_the_champion_is_what_inference_serves(environment: str, site: str, url: str) -> None:
    settings = load(environment)
    ingress = addressing.ingress_url(sites.one(settings, site).network)
    assert watching.get(f"{ingress}{INGRESS_CHECK_PATH}").status_code == 200
    served = watching.get(f"{ingress}/v2/models/{settings.workloads.inference.model}").json()
    champion = watching.page(url)["champion"]["value"]
    assert (champion["version"], champion["digest"]) == (served["versions"][0], served["parameters"]["digest"])


def test_each_site_shows_the_other(environment: str, url: str) -> None:
    expected = {one.cluster.name for one in sites.of(load(environment)).values()}

    def shown() -> bool | None:
        page = watching.get(url).text
        return True if all(f'id="{name}"' in page for name in expected) and "no answer" not in page else None

    watching.eventually(90, shown, lambda: watching.get(url).text)
    assert watching.get(url).text.count("<section") == len(expected)


def test_it_may_change_nothing_and_see_no_secret(environment: str, site: str) -> None:
    account = f"--as=system:serviceaccount:{STATUS_NAMESPACE}:{STATUS}"

    def may(verb: str, what: str) -> bool:
        # Its status is 1 for a no, which is no failure here.
        asked = ("auth", "can-i", verb, what, "--all-namespaces", account, "--quiet")
        try:
            cluster.kubectl(environment, *asked, site=site)
        except Failure:
            return False
        return True

    assert may("list", "pods") and may("list", "nodes")
    for verb, what in (("list", "secrets"), ("list", "configmaps"), ("delete", "pods"), ("create", "pods")):
        assert not may(verb, what), f"{verb} {what}"


def test_a_browser_shows_it(environment: str, site: str, url: str) -> None:
    picture = state(environment) / f"status-{site}.png"
    picture.unlink(missing_ok=True)
    champion = watching.page(url)["champion"]["value"]
    with tempfile.TemporaryDirectory() as profile:
        dom = browse(url, profile, "--dump-dom")
        browse(url, profile, f"--screenshot={picture}", f"--window-size={WIDTH},1600", "--hide-scrollbars")
    for host in sites.one(load(environment), site).hosts:
        assert f">{host.name}<" in dom
    assert champion["version"] in dom and champion["digest"] in dom
    content = picture.read_bytes()
    assert content.startswith(PNG)
    assert int.from_bytes(content[16:20]) == WIDTH
    assert len(content) > 30_000, "hardly anything is drawn"
    print(f"picture: {picture}")


def browse(url: str, profile: str, *arguments: str) -> str:
    """What headless Chromium prints. No sandbox: it runs as root here, and opens a page of ours."""
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-proxy-server"]
    home = {**os.environ, "HOME": profile, "TMPDIR": profile}
    done = subprocess.run(
        [*command, f"--user-data-dir={Path(profile) / 'chromium'}", *arguments, f"{url}/"],
        env=home,
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
