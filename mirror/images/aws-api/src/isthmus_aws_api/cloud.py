"""moto's server, made to repeat itself: whatever does not depend on a request alone is given a moment of its own."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any, Final

import moto.core.responses
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from flask import Flask
from moto import backends
from moto.core.base_backend import AccountSpecificBackend
from moto.moto_api._internal import mock_random
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

from isthmus_aws_api import moment
from isthmus_aws_api.wire import SERVICES

PLAIN_HTTP: Final = {"Bool": {"aws:SecureTransport": "false"}}

BEGINNING: Final = 1577836800.0
"""2020-01-01: the birthday of what an account has from the start, such as its default network."""


@contextlib.contextmanager
def within(now: moment.Moment) -> Iterator[Callable[[], bool]]:
    """moment.within, for moto's own source of chance too. Gives a function that says whether anything was drawn."""
    mock_random.seed(now.seed)
    fresh = mock_random.getstate()
    with moment.within(now):
        yield lambda: mock_random.getstate() != fresh


@contextlib.contextmanager
def aside(name: str) -> Iterator[None]:
    """For what is made once, by whichever request comes first: the same for a name, and no part of that request."""
    state = mock_random.getstate()
    try:
        with within(moment.Moment(at=BEGINNING, seed=name)):
            yield
    finally:
        mock_random.setstate(state)


def application() -> Callable[..., Any]:
    """The WSGI application of all services; they are imported now, because some draw names as they are imported."""
    _keep_key_pairs()
    _steady_ids_of_answers()
    _steady_regions()
    with aside("import"):
        for service in SERVICES:
            backends.get_backend(service)  # type: ignore[call-overload]
    _steady_endpoint_services()
    _transport_counts_as_encrypted()
    return DomainDispatcherApplication(_app_of)


def _app_of(service: Any) -> Flask:
    if service in SERVICES:
        return create_backend_app(service)
    app = Flask("none")

    @app.route("/", defaults={"path": ""}, methods=["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH"])
    @app.route("/<path:path>", methods=["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH"])
    def refuse(path: str) -> tuple[str, int]:  # noqa: ARG001
        return f"the lab's AWS API does not offer {service}; it offers {', '.join(SERVICES)}", 501

    return app


def _steady_regions() -> None:
    """moto makes a region of a service, with its default network and images, at the first request, even a read."""
    make = AccountSpecificBackend.__getitem__

    def get(self: Any, region: str) -> Any:
        if ("aws" if region == "global" else region) in self.keys():
            return make(self, region)
        with aside(f"{self.service_name} {self.account_id} {region}"):
            return make(self, region)

    AccountSpecificBackend.__getitem__ = get  # type: ignore[method-assign]


def _steady_endpoint_services() -> None:
    """The list of what a VPC endpoint can lead to is made at the first request for it, and would import all of moto."""
    from moto.ec2.models import vpcs

    for names in (vpcs.IMPLEMENTED_ENDPOINT_SERVICES, vpcs.COVERED_ENDPOINT_SERVICES):
        # Of the others moto then has a plain entry, as of most.
        names[:] = [name for name in names if name.partition(".")[0] in SERVICES]
    collect = vpcs.VPCBackend._collect_default_endpoint_services

    def get(account: str, region: str) -> Any:
        with aside(f"endpoint services {account} {region}"):
            return collect(account, region)

    vpcs.VPCBackend._collect_default_endpoint_services = staticmethod(get)  # type: ignore[method-assign,assignment]


def _transport_counts_as_encrypted() -> None:
    """moto reads no conditions, so a bucket that refuses plain HTTP would refuse everything.

    Here plain HTTP stands for HTTPS: nothing of it leaves the machine. What else a policy says holds.
    """
    from moto.iam.access_control import IAMPolicy, PermissionResult
    from moto.s3.models import FakeBucket

    def get(self: Any, action: str, resource: str) -> Any:
        policy = json.loads(self.policy or b'{"Statement": []}')
        statements = policy["Statement"] if isinstance(policy["Statement"], list) else [policy["Statement"]]
        policy["Statement"] = [one for one in statements if one.get("Condition") != PLAIN_HTTP]
        if not policy["Statement"]:
            return PermissionResult.NEUTRAL
        return IAMPolicy(json.dumps(policy)).is_action_permitted(action, resource)

    FakeBucket.get_permission = get  # type: ignore[method-assign]


def _steady_ids_of_answers() -> None:
    """The number of an answer is not of what was made: drawing it does not count."""
    draw = moto.core.responses.gen_amzn_requestid_long

    def get(headers: Any = None) -> str:
        state = mock_random.getstate()
        try:
            return draw(headers)
        finally:
            mock_random.setstate(state)

    moto.core.responses.gen_amzn_requestid_long = get  # type: ignore[assignment]


def _keep_key_pairs() -> None:
    rsa.generate_private_key = moment.key_pairs(rsa.generate_private_key, _pem, _private_key)
    ec.generate_private_key = moment.key_pairs(ec.generate_private_key, _pem, _private_key)
    ed25519.Ed25519PrivateKey.generate = staticmethod(  # type: ignore[method-assign,assignment]
        moment.key_pairs(ed25519.Ed25519PrivateKey.generate, _pem, _private_key)
    )


def _pem(key: Any) -> str:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def _private_key(pem: str) -> Any:
    # Our own key, whose check would take a tenth of a second.
    return serialization.load_pem_private_key(pem.encode(), None, unsafe_skip_rsa_key_validation=True)
