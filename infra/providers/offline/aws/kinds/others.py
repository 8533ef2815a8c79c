"""Services of which only a kind or two is used: keys, logs, images, budgets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from infra.providers.offline.aws.kind import Client, Kind, Properties, given

Tags = Mapping[str, str]


def _key_tags(tags: Tags | None) -> list[dict[str, str]]:
    return [{"TagKey": key, "TagValue": value} for key, value in sorted((tags or {}).items())]


def _make_key(aws: Client, inputs: Properties) -> str:
    made = aws.create_key(
        Description=inputs["description"], Policy=inputs["policy"], Tags=_key_tags(inputs.get("tagsAll"))
    )
    return made["KeyMetadata"]["KeyId"]


def _change_key(aws: Client, rid: str, olds: Properties, news: Properties) -> None:
    if olds.get("policy") != news["policy"]:
        aws.put_key_policy(KeyId=rid, PolicyName="default", Policy=news["policy"])
    if olds.get("description") != news["description"]:
        aws.update_key_description(KeyId=rid, Description=news["description"])


def _rotate_key(aws: Client, rid: str, news: Properties) -> None:
    turn = aws.enable_key_rotation if news.get("enableKeyRotation") else aws.disable_key_rotation
    turn(KeyId=rid)


def _look_at_key(aws: Client, rid: str, _state: Properties) -> Properties | None:
    found = aws.describe_key(KeyId=rid)["KeyMetadata"]
    if found["KeyState"] == "PendingDeletion":
        return None
    tags = aws.list_resource_tags(KeyId=rid)["Tags"]
    return {
        "arn": found["Arn"],
        "keyId": rid,
        "description": found["Description"],
        "enableKeyRotation": aws.get_key_rotation_status(KeyId=rid)["KeyRotationEnabled"],
        "policy": aws.get_key_policy(KeyId=rid, PolicyName="default")["Policy"],
        "tagsAll": {tag["TagKey"]: tag["TagValue"] for tag in tags},
    }


def _tag_key(aws: Client, rid: str, tags: Tags, removed: list[str]) -> None:
    if tags:
        aws.tag_resource(KeyId=rid, Tags=_key_tags(tags))
    if removed:
        aws.untag_resource(KeyId=rid, TagKeys=removed)


def _make_alias(aws: Client, inputs: Properties) -> str:
    aws.create_alias(AliasName=inputs["name"], TargetKeyId=inputs["targetKeyId"])
    return inputs["name"]


def _look_at_alias(aws: Client, rid: str, _state: Properties) -> Properties | None:
    for page in aws.get_paginator("list_aliases").paginate():
        for alias in page["Aliases"]:
            if alias["AliasName"] == rid:
                return {"arn": alias["AliasArn"], **given(targetKeyId=alias.get("TargetKeyId"))}
    return None


def _make_log_group(aws: Client, inputs: Properties) -> str:
    name = inputs["name"]
    tags = inputs.get("tagsAll") or {}
    aws.create_log_group(logGroupName=name, **given(kmsKeyId=inputs.get("kmsKeyId"), tags=tags or None))
    return name


def _keep_logs(aws: Client, rid: str, news: Properties) -> None:
    aws.put_retention_policy(logGroupName=rid, retentionInDays=news["retentionInDays"])


def _look_at_log_group(aws: Client, rid: str, _state: Properties) -> Properties | None:
    for group in aws.describe_log_groups(logGroupNamePrefix=rid)["logGroups"]:
        if group["logGroupName"] == rid:
            tags = aws.list_tags_log_group(logGroupName=rid)["tags"]
            return {
                "arn": group["arn"].removesuffix(":*"),
                "name": rid,
                "tagsAll": tags,
                **given(retentionInDays=group.get("retentionInDays"), kmsKeyId=group.get("kmsKeyId")),
            }
    return None


def _tag_log_group(aws: Client, rid: str, tags: Tags, removed: list[str]) -> None:
    if tags:
        aws.tag_log_group(logGroupName=rid, tags=dict(tags))
    if removed:
        aws.untag_log_group(logGroupName=rid, tags=removed)


def _make_repository(aws: Client, inputs: Properties) -> str:
    encryption = inputs["encryptionConfigurations"][0]
    aws.create_repository(
        repositoryName=inputs["name"],
        imageTagMutability=inputs["imageTagMutability"],
        imageScanningConfiguration={"scanOnPush": inputs["imageScanningConfiguration"]["scanOnPush"]},
        encryptionConfiguration={"encryptionType": encryption["encryptionType"], "kmsKey": encryption["kmsKey"]},
        tags=[{"Key": key, "Value": value} for key, value in (inputs.get("tagsAll") or {}).items()],
    )
    return inputs["name"]


def _look_at_repository(aws: Client, rid: str, _state: Properties) -> Properties:
    found = aws.describe_repositories(repositoryNames=[rid])["repositories"][0]
    tags = aws.list_tags_for_resource(resourceArn=found["repositoryArn"])["tags"]
    return {
        "arn": found["repositoryArn"],
        "name": rid,
        "repositoryUrl": found["repositoryUri"],
        "imageTagMutability": found["imageTagMutability"],
        "imageScanningConfiguration": {"scanOnPush": found["imageScanningConfiguration"]["scanOnPush"]},
        "tagsAll": {tag["Key"]: tag["Value"] for tag in tags},
    }


def _change_repository(aws: Client, rid: str, _olds: Properties, news: Properties) -> None:
    aws.put_image_tag_mutability(repositoryName=rid, imageTagMutability=news["imageTagMutability"])
    scan = {"scanOnPush": news["imageScanningConfiguration"]["scanOnPush"]}
    aws.put_image_scanning_configuration(repositoryName=rid, imageScanningConfiguration=scan)


def _tag_repository(aws: Client, rid: str, tags: Tags, removed: list[str]) -> None:
    arn = aws.describe_repositories(repositoryNames=[rid])["repositories"][0]["repositoryArn"]
    if tags:
        aws.tag_resource(resourceArn=arn, tags=[{"Key": key, "Value": value} for key, value in tags.items()])
    if removed:
        aws.untag_resource(resourceArn=arn, tagKeys=removed)


def _put_image_policy(aws: Client, inputs: Properties) -> str:
    aws.put_lifecycle_policy(repositoryName=inputs["repository"], lifecyclePolicyText=inputs["policy"])
    return inputs["repository"]


ACCOUNT: Final = "123456789012"
"""The account that moto answers for; budgets alone want to be told."""


def _budget(inputs: Properties) -> dict[str, Any]:
    return {
        "BudgetName": inputs["name"],
        "BudgetType": inputs["budgetType"],
        "TimeUnit": inputs["timeUnit"],
        "BudgetLimit": {"Amount": inputs["limitAmount"], "Unit": inputs["limitUnit"]},
        "CostFilters": {one["name"]: one["values"] for one in inputs.get("costFilters") or []},
    }


def _make_budget(aws: Client, inputs: Properties) -> str:
    notifications = [
        {
            "Notification": {
                "NotificationType": one["notificationType"],
                "ComparisonOperator": one["comparisonOperator"],
                "Threshold": float(one["threshold"]),
                "ThresholdType": one["thresholdType"],
            },
            "Subscribers": [
                {"SubscriptionType": "EMAIL", "Address": address} for address in one["subscriberEmailAddresses"]
            ],
        }
        for one in inputs.get("notifications") or []
    ]
    aws.create_budget(AccountId=ACCOUNT, Budget=_budget(inputs), NotificationsWithSubscribers=notifications)
    return f"{ACCOUNT}:{inputs['name']}"


def _look_at_budget(aws: Client, rid: str, _state: Properties) -> Properties:
    found = aws.describe_budget(AccountId=ACCOUNT, BudgetName=rid.partition(":")[2])["Budget"]
    return {"name": found["BudgetName"], "limitUnit": found["BudgetLimit"]["Unit"]}


KINDS: Final = (
    Kind(
        token="aws:kms/key:Key",
        service="kms",
        create=_make_key,
        read=_look_at_key,
        update=_change_key,
        settle=_rotate_key,
        delete=lambda aws, rid, state: aws.schedule_key_deletion(
            KeyId=rid, PendingWindowInDays=state["deletionWindowInDays"]
        ),
        gone=frozenset({"NotFoundException"}),
        tags=_tag_key,
        documents=frozenset({"policy"}),
    ),
    Kind(
        token="aws:kms/alias:Alias",
        service="kms",
        create=_make_alias,
        read=_look_at_alias,
        update=lambda aws, rid, _, news: aws.update_alias(AliasName=rid, TargetKeyId=news["targetKeyId"]),
        delete=lambda aws, rid, _: aws.delete_alias(AliasName=rid),
        replace=frozenset({"name"}),
        name="name",
        gone=frozenset({"NotFoundException"}),
    ),
    Kind(
        token="aws:cloudwatch/logGroup:LogGroup",
        service="logs",
        create=_make_log_group,
        read=_look_at_log_group,
        update=lambda *_: None,
        settle=_keep_logs,
        delete=lambda aws, rid, _: aws.delete_log_group(logGroupName=rid),
        replace=frozenset({"name", "kmsKeyId"}),
        name="name",
        gone=frozenset({"ResourceNotFoundException"}),
        tags=_tag_log_group,
    ),
    Kind(
        token="aws:ecr/repository:Repository",
        service="ecr",
        create=_make_repository,
        read=_look_at_repository,
        update=_change_repository,
        delete=lambda aws, rid, state: aws.delete_repository(repositoryName=rid, force=bool(state.get("forceDelete"))),
        replace=frozenset({"name", "encryptionConfigurations"}),
        name="name",
        gone=frozenset({"RepositoryNotFoundException"}),
        tags=_tag_repository,
    ),
    Kind(
        token="aws:ecr/lifecyclePolicy:LifecyclePolicy",
        service="ecr",
        create=_put_image_policy,
        read=lambda aws, rid, _: {"policy": aws.get_lifecycle_policy(repositoryName=rid)["lifecyclePolicyText"]},
        update=lambda aws, _rid, _olds, news: _put_image_policy(aws, news),
        delete=lambda aws, rid, _: aws.delete_lifecycle_policy(repositoryName=rid),
        replace=frozenset({"repository"}),
        gone=frozenset({"RepositoryNotFoundException", "LifecyclePolicyNotFoundException"}),
        documents=frozenset({"policy"}),
    ),
    Kind(
        token="aws:budgets/budget:Budget",
        service="budgets",
        create=_make_budget,
        read=_look_at_budget,
        delete=lambda aws, rid, _: aws.delete_budget(AccountId=ACCOUNT, BudgetName=rid.partition(":")[2]),
        # Nothing but a sum and addresses: made anew, nothing is lost.
        replace=frozenset(
            {"name", "limitAmount", "limitUnit", "timeUnit", "budgetType", "costFilters", "notifications"}
        ),
        name="name",
        gone=frozenset({"NotFoundException"}),
    ),
)
