"""The catalog refuses what is wrong, and says where and why."""

from __future__ import annotations

import copy
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ops.console import Failure
from ops.mirror import catalog, golang, images, plan, toolchains, upstream
from ops.mirror.plan import Planner
from ops.mirror.steps import steps
from ops.mirror.store import Store

GOOD: dict[str, Any] = {
    "modules": {"tool": {"path": "example.org/tool", "version": "v1.2.3"}},
    "artifacts": {
        "program": {
            "kind": "file",
            "version": "v1.2.3",
            "licence": "MIT",
            "upstream": {"url": "https://example.org/program", "checksums": "https://example.org/SUMS"},
            "build": {"from": "go", "module": "tool", "package": "example.org/tool/cmd/program"},
            "used_by": ["tests"],
        },
        "image": {
            "kind": "image",
            "version": "v1.2.3",
            "licence": "MIT",
            "ref": "example.org/tool/image:v1.2.3",
            "upstream": {"image": "example.org/tool/image:v1.2.3", "digest": "resolve"},
            "build": {"from": "image", "folder": "mirror/images/image", "inputs": ["program"]},
            "used_by": ["tests"],
        },
    },
}


def write(tmp_path: Path, content: Any) -> Path:
    pins = tmp_path / "mirror" / "go" / "tool"
    pins.mkdir(parents=True, exist_ok=True)
    (pins / "go.mod").write_text("module m\n\ngo 1.26\n\nrequire example.org/tool v1.2.3\n")
    path = tmp_path / "mirror" / "catalog.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def refusal(tmp_path: Path, content: Any) -> str:
    with pytest.raises(Failure) as caught:
        catalog.load(write(tmp_path, content), tmp_path)
    return str(caught.value)


def test_the_projects_own_catalog_is_accepted_and_complete() -> None:
    names = set(catalog.load().artifacts)
    assert {
        "kubeadm",
        "kube-apiserver",
        "etcd-image",
        "cilium",
        "garage",
        "machine",
        "cilium-chart",
        "inference",
    } <= names


def test_a_good_catalog_is_accepted(tmp_path: Path) -> None:
    loaded = catalog.load(write(tmp_path, GOOD), tmp_path)
    assert loaded.artifacts["image"].needs == ("program",)


def at(*path: str) -> Callable[[Any, Any], None]:
    def change(content: Any, value: Any) -> None:
        for key in path[:-1]:
            content = content[key]
        if value is None:
            del content[path[-1]]
        else:
            content[path[-1]] = value

    return change


BAD: list[tuple[str, Callable[[Any, Any], None], Any, tuple[str, ...]]] = [
    ("unknown key", at("artifacts", "program", "colour"), "red", ("program: colour", "unknown key")),
    ("unknown key inside build", at("artifacts", "program", "build", "flags"), "x", ("build.flags", "unknown key")),
    ("no version", at("artifacts", "program", "version"), None, ("program: version", "required")),
    ("no licence", at("artifacts", "program", "licence"), None, ("program: licence", "required")),
    ("nobody uses it", at("artifacts", "program", "used_by"), [], ("program: used_by", "at least 1")),
    ("no checksum", at("artifacts", "program", "upstream", "checksums"), None, ("program", "exactly one of sha256")),
    ("plain http", at("artifacts", "program", "upstream", "url"), "http://x/y", ("program: upstream.url", "https")),
    ("wrong digest", at("artifacts", "image", "upstream", "digest"), "latest", ("image: upstream.digest", "sha256")),
    ("other name upstream", at("artifacts", "image", "upstream", "image"), "a.b/c:v1", ("image", "canonical name")),
    ("kind and build disagree", at("artifacts", "program", "kind"), "chart", ("program", "makes a file")),
    ("image without a name", at("artifacts", "image", "ref"), None, ("image", "every image has one")),
    ("a served image", at("artifacts", "image", "served"), True, ("image", "served is for files")),
    (
        "unknown module",
        at("artifacts", "program", "build", "module"),
        "none",
        ("program", "'none' is not among modules"),
    ),
    ("unknown input", at("artifacts", "image", "build", "inputs"), ["gone"], ("image", "'gone'", "does not hold")),
    ("needs itself", at("artifacts", "image", "build", "inputs"), ["image"], ("image", "needs itself")),
    ("pins disagree", at("modules", "tool", "version"), "v9.9.9", ("tool: version", "go.mod", "must agree")),
    (
        "not built, and had everywhere",
        at("artifacts", "image", "build"),
        {"from": "upstream", "why": "no way", "otherwise": "leave it out"},
        ("image", "what is not built", "on_request"),
    ),
    (
        "not built, without a way out",
        at("artifacts", "image", "build"),
        {"from": "upstream", "why": "no way"},
        ("image: build.otherwise", "required"),
    ),
    (
        "a file that is not built",
        at("artifacts", "program", "build"),
        {"from": "upstream", "why": "no way", "otherwise": "leave it out"},
        ("program", "makes a image"),
    ),
    ("unknown way to build", at("artifacts", "program", "build", "from"), "magic", ("program", "magic")),
]


@pytest.mark.parametrize(("change", "value", "words"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_a_bad_entry_is_refused_by_name_key_and_rule(
    tmp_path: Path, change: Callable[[Any, Any], None], value: Any, words: tuple[str, ...]
) -> None:
    content = copy.deepcopy(GOOD)
    change(content, value)
    said = refusal(tmp_path, content)
    assert [word for word in words if word not in said] == [], said


def test_a_key_given_twice_is_refused(tmp_path: Path) -> None:
    text = yaml.safe_dump(GOOD) + "modules: {}\n"
    assert "given twice" in refusal(tmp_path, text)


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    content = copy.deepcopy(GOOD)
    del content["artifacts"]["program"]["licence"]
    content["artifacts"]["image"]["colour"] = "red"
    said = refusal(tmp_path, content)
    assert "program: licence" in said
    assert "image: colour" in said


def test_a_module_may_be_pinned_beside_another(tmp_path: Path) -> None:
    content = copy.deepcopy(GOOD)
    content["modules"]["other"] = {"path": "example.org/other", "version": "v2.0.0", "pins": "tool"}
    assert "other: version: mirror/go/tool/go.mod does not require example.org/other v2.0.0" in refusal(
        tmp_path, content
    )
    content["modules"]["other"] = {**content["modules"]["tool"], "pins": "tool"}
    assert catalog.load(write(tmp_path, content), tmp_path).modules["other"].pins == "tool"


def test_an_image_of_our_own_may_take_files_of_a_module_that_the_catalog_holds(tmp_path: Path) -> None:
    content = copy.deepcopy(GOOD)
    image = content["artifacts"]["image"]
    image["upstream"] = {"none": "this project's own"}
    tree = {"module": "tool", "path": "api.proto"}
    image["build"] = {"from": "workload", "folder": "mirror/images/image", "base": "program", "trees": {"a": tree}}
    assert catalog.load(write(tmp_path, content), tmp_path).artifacts["image"].modules == ("tool",)
    tree["module"] = "nowhere"
    assert "image: build: module 'nowhere' is not among modules" in refusal(tmp_path, content)


def test_what_is_never_built_is_copied_whatever_is_asked_for(tmp_path: Path) -> None:
    entry = catalog.load().artifacts["grafana"]
    assert isinstance(entry.build, catalog.FromUpstream) and entry.on_request
    sources: tuple[plan.Source, ...] = ("auto", "build", "upstream")
    made = {Planner(catalog.load(), Store(tmp_path), source, upstream.nowhere).planned("grafana") for source in sources}
    assert [one.source for one in made] == ["upstream"], "one plan, whatever is preferred"


def test_every_build_module_is_in_the_catalog() -> None:
    folders = {path.parent.name for path in (catalog.ROOT / "mirror" / "go").glob("*/go.mod")}
    assert folders == {module.pins or name for name, module in catalog.load().modules.items()}


def test_the_c_compiler_has_its_part_in_the_key_and_the_build_of_what_it_links(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    entries = catalog.load().artifacts
    builds = {name: entries[name].build for name in ("nvidia-device-plugin-binary", "kubectl")}
    told: dict[str, dict[str, str]] = {}
    for name, build in builds.items():
        assert isinstance(build, catalog.GoProgram)
        module = catalog.load().modules[build.module]
        monkeypatch.setattr(golang.toolchains, "go", lambda _: Path("go"))
        monkeypatch.setattr(golang.work, "run", lambda *_, env, name=name, **__: told.update({name: env}))
        golang.build(build.module, module, [build], tmp_path, tmp_path / "log")
    assert told["nvidia-device-plugin-binary"]["CGO_ENABLED"] == "1"
    assert told["kubectl"]["CGO_ENABLED"] == "0", "static: it runs on any Debian, and in an image with nothing else"

    def keys() -> dict[str, str]:
        planner = Planner(catalog.load(), Store(tmp_path), "build", upstream.nowhere)
        return {name: planner.planned(name).key for name in builds}

    before = keys()
    monkeypatch.setattr(toolchains, "cc_version", lambda: "gcc 99")
    after = keys()
    assert before["kubectl"] == after["kubectl"]
    assert before["nvidia-device-plugin-binary"] != after["nvidia-device-plugin-binary"]


def test_compilers_make_no_debug_information_as_no_program_keeps_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    known = catalog.load()
    built = {entry.build.module for entry in known.artifacts.values() if isinstance(entry.build, catalog.GoProgram)}
    assert not [name for name in built if not known.modules[name].ldflags.startswith("-s -w")]

    def keys() -> dict[str, str]:
        planner = Planner(catalog.load(), Store(tmp_path), "build", upstream.nowhere)
        return {name: planner.planned(name).key for name in ("kubectl", "nvidia-device-plugin-binary", "garage-binary")}

    before = keys()
    monkeypatch.setattr(golang, "FLAGS", ("-trimpath",))
    after = keys()
    assert [name for name in before if before[name] != after[name]] == ["kubectl", "nvidia-device-plugin-binary"]


def test_what_all_workloads_share_has_its_part_in_the_key_and_the_build_of_each(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def key() -> str:
        return Planner(catalog.load(), Store(tmp_path), "build", upstream.nowhere).planned("training").key

    before = key()
    changed = tmp_path / "slim.py"
    changed.write_text("# another")
    monkeypatch.setattr(plan, "IN_ALL_WORKLOADS", (str(changed),))
    assert key() != before
    monkeypatch.setattr(images, "IN_ALL_WORKLOADS", (str(changed),))
    monkeypatch.setattr(images.work, "run", lambda *_, **__: None)
    recipe = catalog.load().artifacts["training"].build
    assert isinstance(recipe, catalog.FromWorkload)
    images.stage_workload(recipe, {}, tmp_path / "context", tmp_path / "log")
    assert (tmp_path / "context" / "slim.py").read_text() == "# another"


def test_a_program_of_our_own_parts_has_its_part_in_the_key(tmp_path: Path) -> None:
    folder = Path("mirror", "go", "coredns")
    shutil.copytree(catalog.ROOT / folder, tmp_path / folder)

    def key() -> str:
        planner = Planner(catalog.load(), Store(tmp_path / "store"), "build", upstream.nowhere, root=tmp_path)
        return planner.planned("coredns").key

    before = key()
    (tmp_path / folder / "tools.go").write_text("package tools")
    assert key() == before, "it is not built from that"
    (tmp_path / folder / "main.go").write_text("package main")
    assert key() != before


def pinned(module: str) -> dict[str, str]:
    """Path -> version of what a module's go.mod requires."""
    text = (catalog.ROOT / "mirror" / "go" / module / "go.mod").read_text()
    return dict(re.findall(r"^(?:require )?\s*([\w.~/-]+) (v\S+)(?: // indirect)?$", text, re.M))


@pytest.mark.parametrize(
    ("module", "base", "own"),
    [
        ("metrics-server", "kubernetes", set()),
        ("kube-state-metrics", "kubernetes", set()),
        ("coredns", "kubernetes", {"github.com/coredns/caddy"}),
        ("helm", "kubernetes", {"golang.org/x/crypto", "k8s.io/apiextensions-apiserver", "k8s.io/kubectl"}),
        ("csi", "prometheus", set()),
    ],
)
def test_libraries_of_kubernetes_are_pinned_alike_so_that_they_are_compiled_once(
    module: str, base: str, own: set[str]
) -> None:
    ours, theirs = pinned(module), pinned(base)
    assert {"k8s.io/api", "k8s.io/client-go", "golang.org/x/net", "google.golang.org/protobuf"} <= ours.keys()
    assert {path for path in ours.keys() & theirs.keys() if ours[path] != theirs[path]} == own


def test_the_crate_is_the_first_thing_to_be_made(tmp_path: Path) -> None:
    planned = Planner(catalog.load(), Store(tmp_path), "build", upstream.nowhere).plan(["kubectl", "garage-binary"])
    assert [step.name for step in steps(planned)] == ["garage-binary", "go kubernetes"]
