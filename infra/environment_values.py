"""What keys of an environment file are made of: the base of every part, and values that say what is wrong with them."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from infra import quantities


def _address(value: Any) -> IPv4Address:
    try:
        return IPv4Address(value if isinstance(value, (str, IPv4Address)) else "")
    except ValueError:
        raise ValueError(f"{value!r} is not an IPv4 address; write one like 10.90.0.11") from None


def _network(value: Any) -> IPv4Network:
    try:
        network = IPv4Network(value if isinstance(value, (str, IPv4Network)) else "", strict=False)
    except ValueError:
        raise ValueError(f"{value!r} is not an IPv4 network; write one like 10.90.0.0/24") from None
    if str(network) != str(value):
        raise ValueError(f"{value!r} names a host, not a network; write {network}")
    return network


def _version(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"v1\.\d+\.\d+", value):
        raise ValueError(f"{value!r} is not a whole version; write it like v1.37.2")
    return value


def _label(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?", value):
        raise ValueError(f"{value!r} is not a name; use at most 32 of a-z, 0-9 and -, from a letter on")
    return value


def _quantity(value: Any) -> str:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str):
        raise ValueError(f"{value!r} is not a quantity; write it in quotes, cores like 500m, bytes like 512Mi")
    quantities.parse(text)
    return text


def _taint(value: Any) -> str:
    effects = "NoSchedule|PreferNoSchedule|NoExecute"
    if not isinstance(value, str) or not re.fullmatch(rf"[\w./-]+(=[\w.-]*)?:({effects})", value):
        raise ValueError(f"{value!r} is not a taint; write it like gpu=true:NoSchedule")
    return value


def _host_key(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"(ssh-ed25519|ecdsa-\S+|ssh-rsa) [A-Za-z0-9+/=]+", value):
        raise ValueError("this is not a host key; write type and key as `ssh-keyscan` prints them, without the host")
    return value


Address = Annotated[IPv4Address, BeforeValidator(_address)]
Network = Annotated[IPv4Network, BeforeValidator(_network)]
Version = Annotated[str, BeforeValidator(_version), Field(examples=["v1.37.2"])]
Label = Annotated[str, BeforeValidator(_label)]
Quantity = Annotated[str, BeforeValidator(_quantity), WithJsonSchema({"type": ["string", "integer"]})]
Taint = Annotated[str, BeforeValidator(_taint)]
HostKey = Annotated[str, BeforeValidator(_host_key)]
InstanceType = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*\.[a-z0-9-]+$", examples=["m7i.xlarge"])]
AddonVersion = Annotated[str, Field(pattern=r"^v\d+\.\d+\.\d+-eksbuild\.\d+$", examples=["v1.12.1-eksbuild.2"])]
EksVersion = Annotated[str, Field(pattern=r"^1\.\d{2}$", examples=["1.34"])]
Region = Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$", examples=["eu-central-1"])]
AccountId = Annotated[str, Field(pattern=r"^\d{12}$")]
RoleArn = Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+$")]
Email = Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")]
DriverName = Annotated[
    str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])$", examples=["nfs.csi.k8s.io", "driver.longhorn.io"])
]
Port = Annotated[int, Field(ge=1, le=65535)]


class Model(BaseModel):
    """Read-only, no unknown key, and no guessing: "2" is not 2."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Amounts(Model):
    cpu: Quantity
    memory: Quantity


class Resources(Model):
    """As Kubernetes means them; both are required, so that no workload is unbounded."""

    requests: Amounts
    limits: Amounts
