"""Requests to one cluster, on the kept `kubernetes` client; discovery only for custom resources, once a process."""

from __future__ import annotations

import dataclasses
import json
import ssl
import tempfile
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from infra.providers.offline.kubernetes import errors
from infra.providers.offline.kubernetes.kinds import Kind

if TYPE_CHECKING:
    from kubernetes.client import Configuration
    from kubernetes.dynamic import DynamicClient
    from kubernetes.dynamic.resource import Resource

T = TypeVar("T")

CONNECT_SECONDS = 15
"""How long a connection and its handshake may take: an API server with a whole platform to take in, on processors that
it shares with all that starts, needs more than its usual moment, and who asks again only adds to its work."""
ANSWER_SECONDS = 30
"""How long one answer may take: a connection through an address that has just moved may never get one."""
RETRY_SECONDS = 150
"""How long a request is repeated: longer than a control plane's failover takes, lost answers included, and than API
servers keep the address of a Service that they did not finish (60 s, after the answer that was waited for)."""
CONNECTIONS = 32
_FILES = threading.Lock()
"""The library has one file for what two kubeconfigs have in common."""


class NoSuchKind(errors.ApiError):
    """The cluster does not have the custom resource, or not yet."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(f"the cluster has no kind {kind}: is its CustomResourceDefinition applied?", status=404)


class Cluster:
    """Connects at the first request. Safe for use by several threads."""

    def __init__(self, kubeconfig: dict[str, Any], *, cancelled: threading.Event | None = None) -> None:
        self._kubeconfig = kubeconfig
        self._cancelled = cancelled or threading.Event()
        self._lock = threading.Lock()
        self._client: DynamicClient | None = None
        self._discovered: dict[str, dict[str, Kind]] = {}
        self._down = False

    def get(
        self, kind: Kind, namespace: str | None, name: str, *, retry: float = RETRY_SECONDS
    ) -> dict[str, Any] | None:
        """The live object, or None when there is none."""
        try:
            return self._call("read", kind, namespace, name, "get", retry=retry)
        except errors.ApiError as error:
            if error.status == 404:
                return None
            raise

    def apply(
        self,
        kind: Kind,
        obj: dict[str, Any],
        *,
        manager: str,
        force: bool = False,
        dry_run: bool = False,
        retry: float = RETRY_SECONDS,
    ) -> dict[str, Any]:
        """Server-side apply: the object as the server has it then."""
        metadata = obj["metadata"]
        options: dict[str, Any] = {"body": obj, "field_manager": manager}
        if force:
            options["force_conflicts"] = "true"
        if dry_run:
            options["dry_run"] = "All"
        return self._call(
            "apply", kind, metadata.get("namespace"), metadata["name"], "server_side_apply", retry=retry, **options
        )

    def delete(self, kind: Kind, namespace: str | None, name: str, *, propagation: str) -> bool:
        """Asks for the deletion; False when the object is gone already."""
        try:
            self._call("delete", kind, namespace, name, "delete", propagation_policy=propagation)
        except errors.ApiError as error:
            if error.status == 404:
                return False
            raise
        return True

    def find(self, kind: Kind, namespace: str | None, *, labels: str = "", fields: str = "") -> list[dict[str, Any]]:
        """The objects of a namespace, or of the cluster, that the selectors choose."""
        found = self._call(
            "find", kind, namespace, None, "get", label_selector=labels or None, field_selector=fields or None
        )
        common = {"apiVersion": kind.api_version, "kind": kind.name}
        return [{**common, **item} for item in found.get("items") or []]

    def logs(self, namespace: str, pod: str, container: str, *, lines: int, previous: bool) -> list[str]:
        """The last lines of a container's log; none when there is no log."""
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        query = [("container", container), ("tailLines", str(lines)), ("previous", str(previous).lower())]
        try:
            raw = self._request(f"read the log of {pod}", lambda: self._raw("get", path, query_params=query), retry=0)
        except errors.ApiError:
            return []
        return raw.decode(errors="replace").splitlines()

    def resolve(self, kind: Kind) -> Kind:
        """The kind with its plural and its scope; NoSuchKind where the cluster does not serve it."""
        if kind.plural is not None:
            return kind
        with self._lock:
            known = self._discovered.get(kind.api_version, {})
        if kind.name not in known:
            known = self._discover(kind)
            with self._lock:
                self._discovered[kind.api_version] = known
        try:
            return known[kind.name]
        except KeyError:
            raise NoSuchKind(kind) from None

    def _discover(self, kind: Kind) -> dict[str, Kind]:
        path = f"/apis/{kind.api_version}"
        try:
            answer = json.loads(self._request(f"discover {kind.api_version}", lambda: self._raw("get", path)))
        except errors.ApiError as error:
            if error.status == 404:
                raise NoSuchKind(kind) from None
            raise
        return {
            entry["kind"]: dataclasses.replace(
                kind, name=entry["kind"], plural=entry["name"], namespaced=entry["namespaced"]
            )
            for entry in answer.get("resources", [])
            if "/" not in entry["name"]
        }

    def _call(
        self,
        verb: str,
        kind: Kind,
        namespace: str | None,
        name: str | None,
        method: str,
        *,
        retry: float = RETRY_SECONDS,
        **options: Any,
    ) -> dict[str, Any]:
        kind = self.resolve(kind)
        place = "/".join(part for part in (namespace, name) if part)

        def send() -> bytes:
            client = self._connected()
            call = getattr(client, method)
            where = {"name": name, "namespace": namespace if kind.namespaced else None}
            timeout = (CONNECT_SECONDS, ANSWER_SECONDS)
            return call(_resource(kind, client), **where, serialize=False, _request_timeout=timeout, **options).data

        return json.loads(self._request(f"{verb} {kind} {place}".strip(), send, retry=retry))

    def _raw(self, method: str, path: str, **options: Any) -> bytes:
        timeout = (CONNECT_SECONDS, ANSWER_SECONDS)
        return self._connected().request(method, path, serialize=False, _request_timeout=timeout, **options).data

    def _request(self, doing: str, send: Callable[[], T], *, retry: float = RETRY_SECONDS) -> T:
        """Sends until it succeeds, is refused for good, or has failed for `retry` seconds.

        Once nothing has taken a connection for that long, the next requests are sent once: taking down what stood in a
        cluster that is gone must not wait for every single object.
        """
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError, ReadTimeoutError

        until, pause = time.monotonic() + retry, 0.2
        while True:
            problem: errors.ApiError | errors.Unreachable
            no_connection = False
            try:
                answer = send()
                self._down = False
                return answer
            except ApiException as error:
                if not error.status:
                    problem = errors.Unreachable(f"{doing}: no answer from {self._server()}: {error.reason}")
                else:
                    problem = errors.of_response(error.status, error.body, doing=doing)
            except (HTTPError, OSError) as error:
                no_connection = not isinstance(error, ReadTimeoutError)
                problem = errors.Unreachable(f"{doing}: no answer from {self._server()}: {_short(error)}")
            refused = isinstance(problem, errors.ApiError) and not problem.transient
            if refused or time.monotonic() + pause > until or (self._down and no_connection):
                self._down = no_connection
                raise problem
            if self._cancelled.wait(pause):
                raise errors.Cancelled(f"{doing}: interrupted")
            pause = min(pause * 2, 2.0)

    def _server(self) -> str:
        return self._client.configuration.host if self._client is not None else "the API server"

    def _connected(self) -> DynamicClient:
        with self._lock:
            if self._client is None:
                self._client = _connect(self._kubeconfig)
            return self._client


def _connect(kubeconfig: dict[str, Any]) -> DynamicClient:
    # Imported here: it takes most of a second, and a run that changes nothing needs no request.
    from kubernetes.client import ApiClient, Configuration
    from kubernetes.dynamic import DynamicClient

    configuration = Configuration()
    # Retrying is _request's, which knows what is worth it and can be interrupted.
    configuration.retries = False
    configuration.connection_pool_maxsize = CONNECTIONS
    trust = _credentials(kubeconfig, configuration)
    client = ApiClient(configuration)
    client.rest_client.pool_manager.connection_pool_kw["ssl_context"] = trust
    # Without a discoverer: the library's asks the server at once and leaves a file in the shared temporary folder.
    return DynamicClient(client, discoverer=lambda *_: None)


def _credentials(kubeconfig: dict[str, Any], configuration: Configuration) -> ssl.SSLContext:
    """Takes a kubeconfig into the configuration; its certificates and key into what is returned.

    The library leaves them in the shared temporary folder as files, until an end of the process that a plugin does not
    have: it is killed, or ends itself at once. A key must be a file only for as long as it is read.
    """
    from kubernetes import config

    with _FILES, tempfile.TemporaryDirectory(prefix="isthmus-kubernetes-") as folder:
        config.load_kube_config_from_dict(
            kubeconfig, client_configuration=configuration, persist_config=False, temp_file_path=folder
        )
        trust = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
        if configuration.cert_file:
            trust.load_cert_chain(configuration.cert_file, configuration.key_file)
    trust.check_hostname = configuration.verify_ssl
    configuration.ssl_ca_cert = configuration.cert_file = configuration.key_file = None
    return trust


def _resource(kind: Kind, client: DynamicClient) -> Resource:
    from kubernetes.dynamic.resource import Resource

    return Resource(
        prefix="apis" if kind.group else "api",
        group=kind.group,
        api_version=kind.version,
        kind=kind.name,
        name=kind.plural,
        namespaced=kind.namespaced,
        client=client,
    )


def _short(error: BaseException) -> str:
    """The cause, without the object addresses that urllib3 puts in front of it."""
    return str(error).rpartition(">: ")[2] or type(error).__name__
