"""File systems that several nodes share, and where each zone reaches them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from infra.providers.offline.aws.kind import Client, Kind, NotActive, Properties, given, listed, mapped

PATIENCE_S = 300
_ASK_S = 2


def _make(aws: Client, inputs: Properties) -> str:
    made = aws.create_file_system(
        # So that a create whose answer was lost is not made twice.
        **given(CreationToken=inputs.get("creationToken"), KmsKeyId=inputs.get("kmsKeyId")),
        Encrypted=bool(inputs.get("encrypted")),
        ThroughputMode=inputs.get("throughputMode", "bursting"),
        Tags=listed(inputs.get("tagsAll")),
    )
    return made["FileSystemId"]


def _look(aws: Client, rid: str, _state: Properties) -> Properties:
    found = aws.describe_file_systems(FileSystemId=rid)["FileSystems"][0]
    return {
        "arn": found["FileSystemArn"],
        "encrypted": found["Encrypted"],
        "tagsAll": mapped(found["Tags"]),
        **given(
            creationToken=found.get("CreationToken"),
            kmsKeyId=found.get("KmsKeyId"),
            throughputMode=found.get("ThroughputMode"),
        ),
    }


def _tag(aws: Client, rid: str, tags: Mapping[str, str], removed: list[str]) -> None:
    if tags:
        aws.tag_resource(ResourceId=rid, Tags=listed(tags))
    if removed:
        aws.untag_resource(ResourceId=rid, TagKeys=removed)


def _await(aws: Client, rid: str, _inputs: Properties) -> None:
    """A mount target needs a file system that is available."""
    deadline = time.monotonic() + PATIENCE_S
    while (state := aws.describe_file_systems(FileSystemId=rid)["FileSystems"][0]["LifeCycleState"]) != "available":
        if state == "error" or time.monotonic() > deadline:
            raise NotActive(f"the file system {rid} is {state}")
        time.sleep(_ASK_S)


def _make_target(aws: Client, inputs: Properties) -> str:
    made = aws.create_mount_target(
        FileSystemId=inputs["fileSystemId"], SubnetId=inputs["subnetId"], SecurityGroups=inputs["securityGroups"]
    )
    return made["MountTargetId"]


def _look_at_target(aws: Client, rid: str, _state: Properties) -> Properties:
    found = aws.describe_mount_targets(MountTargetId=rid)["MountTargets"][0]
    groups = aws.describe_mount_target_security_groups(MountTargetId=rid)["SecurityGroups"]
    return {"fileSystemId": found["FileSystemId"], "subnetId": found["SubnetId"], "securityGroups": groups}


def _change_target(aws: Client, rid: str, _olds: Properties, news: Properties) -> None:
    aws.modify_mount_target_security_groups(MountTargetId=rid, SecurityGroups=news["securityGroups"])


KINDS: Final = (
    Kind(
        token="aws:efs/fileSystem:FileSystem",
        service="efs",
        create=_make,
        read=_look,
        delete=lambda aws, rid, _: aws.delete_file_system(FileSystemId=rid),
        replace=frozenset({"encrypted", "kmsKeyId", "creationToken", "throughputMode"}),
        name="creationToken",
        gone=frozenset({"FileSystemNotFound"}),
        tags=_tag,
        settle=_await,
    ),
    Kind(
        token="aws:efs/mountTarget:MountTarget",
        service="efs",
        create=_make_target,
        read=_look_at_target,
        update=_change_target,
        delete=lambda aws, rid, _: aws.delete_mount_target(MountTargetId=rid),
        replace=frozenset({"fileSystemId", "subnetId"}),
        gone=frozenset({"MountTargetNotFound", "FileSystemNotFound"}),
    ),
)
