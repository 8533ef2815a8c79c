"""Property values on the wire."""

from __future__ import annotations

import pytest
from google.protobuf import struct_pb2
from pulumi.runtime import rpc

from infra.providers.isthmus.handler import UNKNOWN
from infra.providers.offline.values import OUTPUT, SECRET, SIGNATURE, UNKNOWN_STRING, decode, dotted, encode


def test_the_wire_format_is_the_sdks() -> None:
    sdk = (rpc._special_sig_key, rpc._special_secret_sig, rpc._special_output_value_sig, rpc.UNKNOWN)
    assert sdk == (SIGNATURE, SECRET, OUTPUT, UNKNOWN_STRING)


def test_values_secrets_and_unknowns_come_back_as_they_went() -> None:
    values = {
        "a": {"b": ["x", {"c": "hidden"}]},
        "n": 3,
        "f": 0.5,
        "t": True,
        "z": None,
        "u": UNKNOWN,
        "e": {},
        "l": [],
    }
    secrets = {("a", "b", 1, "c"), ("u",)}
    back = decode(encode(values, secrets))
    assert back.values == values
    assert back.secrets == secrets
    assert isinstance(back.values["n"], int)
    assert back.values["t"] is True


def test_a_secret_path_that_is_not_there_is_passed_over() -> None:
    assert decode(encode({"a": 1}, {("b", 0, "c")})).secrets == frozenset()


def test_an_output_value_is_its_value_or_unknown() -> None:
    struct = struct_pb2.Struct()
    struct.update({"known": {SIGNATURE: OUTPUT, "value": "x", "secret": True}, "unknown": {SIGNATURE: OUTPUT}})
    back = decode(struct)
    assert back.values == {"known": "x", "unknown": UNKNOWN}
    assert back.secrets == {("known",)}


def test_an_asset_is_refused() -> None:
    struct = struct_pb2.Struct()
    struct.update({"spec": {"file": {SIGNATURE: "c44067f5952c0a294b673a41bacd8c17", "text": "x"}}})
    with pytest.raises(ValueError, match=r"spec\.file"):
        decode(struct)


def test_paths_are_written_as_pulumi_does() -> None:
    assert dotted(("spec", "containers", 0, "env")) == "spec.containers[0].env"
    assert dotted(("metadata", "labels", "app.kubernetes.io/name")) == 'metadata.labels["app.kubernetes.io/name"]'
