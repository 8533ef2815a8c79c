"""Roles and their policies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from infra.providers.offline.aws.kind import Client, Kind, Properties, given, listed, mapped

GONE: Final = frozenset({"NoSuchEntity"})


def _make_role(aws: Client, inputs: Properties) -> str:
    aws.create_role(
        RoleName=inputs["name"],
        AssumeRolePolicyDocument=inputs["assumeRolePolicy"],
        Tags=listed(inputs.get("tagsAll")),
        **given(Description=inputs.get("description")),
    )
    return inputs["name"]


def _look_at_role(aws: Client, rid: str, _state: Properties) -> Properties:
    role = aws.get_role(RoleName=rid)["Role"]
    return {
        "arn": role["Arn"],
        "name": role["RoleName"],
        "assumeRolePolicy": json.dumps(role["AssumeRolePolicyDocument"]),
        "tagsAll": mapped(role.get("Tags")),
    }


def _tag_role(aws: Client, rid: str, tags: Mapping[str, str], removed: list[str]) -> None:
    if tags:
        aws.tag_role(RoleName=rid, Tags=listed(tags))
    if removed:
        aws.untag_role(RoleName=rid, TagKeys=removed)


def _put_policy(aws: Client, inputs: Properties) -> str:
    aws.put_role_policy(RoleName=inputs["role"], PolicyName=inputs["name"], PolicyDocument=inputs["policy"])
    return f"{inputs['role']}:{inputs['name']}"


def _look_at_policy(aws: Client, rid: str, _state: Properties) -> Properties:
    role, name = rid.split(":")
    return {"policy": json.dumps(aws.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"])}


def _attach(aws: Client, inputs: Properties) -> str:
    aws.attach_role_policy(RoleName=inputs["role"], PolicyArn=inputs["policyArn"])
    return f"{inputs['role']}/{inputs['policyArn']}"


def _look_at_attachment(aws: Client, _rid: str, state: Properties) -> Properties | None:
    attached = aws.list_attached_role_policies(RoleName=state["role"])["AttachedPolicies"]
    return {} if any(one["PolicyArn"] == state["policyArn"] for one in attached) else None


KINDS: Final = (
    Kind(
        token="aws:iam/role:Role",
        service="iam",
        create=_make_role,
        read=_look_at_role,
        update=lambda aws, rid, _, news: aws.update_assume_role_policy(
            RoleName=rid, PolicyDocument=news["assumeRolePolicy"]
        ),
        delete=lambda aws, rid, _: aws.delete_role(RoleName=rid),
        replace=frozenset({"name", "description"}),
        name="name",
        gone=GONE,
        tags=_tag_role,
        documents=frozenset({"assumeRolePolicy"}),
    ),
    Kind(
        token="aws:iam/rolePolicy:RolePolicy",
        service="iam",
        create=_put_policy,
        read=_look_at_policy,
        update=lambda aws, _rid, _olds, news: _put_policy(aws, news),
        delete=lambda aws, rid, _: aws.delete_role_policy(RoleName=rid.split(":")[0], PolicyName=rid.split(":")[1]),
        replace=frozenset({"role", "name"}),
        name="name",
        gone=GONE,
        documents=frozenset({"policy"}),
    ),
    Kind(
        token="aws:iam/rolePolicyAttachment:RolePolicyAttachment",
        service="iam",
        create=_attach,
        read=_look_at_attachment,
        delete=lambda aws, _rid, state: aws.detach_role_policy(RoleName=state["role"], PolicyArn=state["policyArn"]),
        replace=frozenset({"role", "policyArn"}),
        gone=GONE,
    ),
)
