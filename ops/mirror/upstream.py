"""Copies artefacts from their publishers, on sites that reach them, and holds them to the recorded sums."""

from __future__ import annotations

import re
import socket
import tarfile
from pathlib import Path, PurePosixPath

import httpx

from infra.paths import CACHE
from ops.mirror import work
from ops.mirror.catalog import File, Image
from ops.mirror.store import sha256


class Reach:
    """Whether this site reaches the publishers; each is asked once, with little patience."""

    def __init__(self, seconds: float = 3) -> None:
        self._seconds = seconds
        self._known: dict[str, bool] = {}

    def __call__(self, upstream: File | Image) -> bool:
        if isinstance(upstream, Image):
            host = upstream.image.split("/", 1)[0]
            host = "registry-1.docker.io" if host == "docker.io" else host
            return self._ask(host, "GET", f"https://{host}/v2/", (200, 401))
        hosts = {httpx.URL(str(url)).host: str(url) for url in (upstream.url, upstream.checksums) if url}
        return all(self._ask(host, "HEAD", url, (200,)) for host, url in hosts.items())

    def _ask(self, host: str, method: str, url: str, genuine: tuple[int, ...]) -> bool:
        # A filtering proxy answers by itself (403, a login page), so only the publisher's own answers count.
        if host not in self._known:
            try:
                answer = httpx.request(method, url, timeout=self._seconds, follow_redirects=True)
                self._known[host] = answer.status_code in genuine
            except httpx.HTTPError:
                self._known[host] = False
        return self._known[host]


def nowhere(_: File | Image) -> bool:
    """The answer of a site that asks nobody."""
    return False


def fetch_file(name: str, upstream: File, out: Path, log: Path) -> tuple[Path, str]:
    """Downloads and checks a file; returns the program and the sha256 that the download was held to."""
    with httpx.Client(timeout=httpx.Timeout(30, read=120), follow_redirects=True) as client:
        wanted = upstream.sha256 or published_sum(_text(client, str(upstream.checksums)), upstream.url)
        part = CACHE / "mirror" / "downloads" / wanted
        if not (part.exists() and sha256(part) == wanted):
            _download(client, upstream.url, part)
        found = sha256(part)
    if found != wanted:
        part.unlink()
        raise work.StepFailed(
            f"checksum mismatch: {upstream.url} is {found}, its publisher says {wanted}",
            "run it again; if it stays, something between here and the publisher changes the file",
        )
    program = out / name
    if upstream.member:
        with tarfile.open(part) as archive:
            members = {str(PurePosixPath(member.name)): member for member in archive.getmembers()}
            for path in (upstream.member, *upstream.extras):
                member = members.get(str(PurePosixPath(path)))
                content = archive.extractfile(member) if member else None
                if content is None:
                    raise work.StepFailed(f"{upstream.url} holds no {path}", "mend upstream in the catalog")
                target = program if path == upstream.member else out / PurePosixPath(path).name
                target.write_bytes(content.read())
                target.chmod(0o755)
    else:
        program.write_bytes(part.read_bytes())
    program.chmod(0o755)
    log.write_text(f"{upstream.url} sha256 {wanted}\n")
    return program, wanted


def published_sum(text: str, url: str) -> str:
    """The sha256 that a checksum file gives for a download: its only one, or the one beside the file's name."""
    name = url.rsplit("/", 1)[-1]
    lines = [(match[0], line) for line in text.splitlines() if (match := re.search(r"\b[0-9a-f]{64}\b", line))]
    named = [value for value, line in lines if name in line.replace("*", " ").split()]
    sums = named or [value for value, _ in lines]
    if len(set(sums)) != 1:
        raise work.StepFailed(f"the checksum file for {name} gives {len(set(sums))} sums", "mend upstream.checksums")
    return sums[0]


def _text(client: httpx.Client, url: str) -> str:
    try:
        return client.get(url).raise_for_status().text
    except httpx.HTTPError as error:
        raise work.StepFailed(f"{url}: {error}", "check the address in the catalog and the network") from None


def _download(client: httpx.Client, url: str, target: Path) -> None:
    """Downloads, continuing what an interrupted run left."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".part")
    have = partial.stat().st_size if partial.exists() else 0
    try:
        with client.stream("GET", url, headers={"Range": f"bytes={have}-"} if have else {}) as answer:
            if answer.status_code == 416:
                partial.unlink()
                raise work.StepFailed(f"{url}: what was downloaded before is longer than the file", "run it again")
            answer.raise_for_status()
            with partial.open("ab" if answer.status_code == 206 else "wb") as sink:
                for piece in answer.iter_bytes(1 << 20):
                    sink.write(piece)
    except (httpx.HTTPError, socket.gaierror) as error:
        raise work.StepFailed(f"{url}: {error}", "check the network, then run it again: it continues") from None
    partial.rename(target)


def copy_image(upstream: Image, registry: str, log: Path) -> str:
    """Copies an image (this machine's platform) under the same name, unchanged; returns its manifest's digest.

    A pinned digest is checked by the copy itself; without one, the digest that upstream gives is recorded.
    """
    name = upstream.image
    source = name if upstream.digest == "resolve" else f"{name.rpartition(':')[0]}@{upstream.digest}"
    digest = log.with_suffix(".digest")
    command: list[str | Path] = [
        "skopeo",
        "copy",
        "--quiet",
        "--preserve-digests",
        "--dest-tls-verify=false",
        "--digestfile",
        digest,
    ]
    work.run([*command, f"docker://{source}", f"docker://{registry}/{name}"], log=log, env={"NO_PROXY": "127.0.0.1"})
    value = digest.read_text().strip()
    digest.unlink()
    return value
