"""What nodes are launched from."""

from __future__ import annotations

from typing import Any, Final

from infra.providers.offline.aws.kind import Client, Properties, given, listed
from infra.providers.offline.aws.kinds.ec2_kind import ec2_kind, specified


def _template_data(inputs: Properties) -> dict[str, Any]:
    options = inputs.get("metadataOptions") or {}
    return {
        "MetadataOptions": given(
            HttpEndpoint=options.get("httpEndpoint"),
            HttpTokens=options.get("httpTokens"),
            HttpPutResponseHopLimit=options.get("httpPutResponseHopLimit"),
        ),
        "BlockDeviceMappings": [
            {
                "DeviceName": device["deviceName"],
                "Ebs": {
                    "VolumeType": device["ebs"]["volumeType"],
                    "VolumeSize": device["ebs"]["volumeSize"],
                    "Encrypted": device["ebs"]["encrypted"] == "true",
                    "DeleteOnTermination": device["ebs"]["deleteOnTermination"] == "true",
                },
            }
            for device in inputs.get("blockDeviceMappings") or []
        ],
        "TagSpecifications": [
            {"ResourceType": one["resourceType"], "Tags": listed(one["tags"])}
            for one in inputs.get("tagSpecifications") or []
        ],
        **given(UserData=inputs.get("userData")),
    }


def _make_template(aws: Client, inputs: Properties) -> str:
    made = aws.create_launch_template(
        LaunchTemplateName=inputs["name"],
        LaunchTemplateData=_template_data(inputs),
        TagSpecifications=specified("launch-template", inputs),
    )
    return made["LaunchTemplate"]["LaunchTemplateId"]


def _change_template(aws: Client, rid: str, _olds: Properties, news: Properties) -> None:
    made = aws.create_launch_template_version(LaunchTemplateId=rid, LaunchTemplateData=_template_data(news))
    if news.get("updateDefaultVersion"):
        number = str(made["LaunchTemplateVersion"]["VersionNumber"])
        aws.modify_launch_template(LaunchTemplateId=rid, DefaultVersion=number)


KINDS: Final = (
    ec2_kind(
        "LaunchTemplate",
        _make_template,
        lambda aws, rid: (
            aws.describe_launch_templates(LaunchTemplateIds=[rid])["LaunchTemplates"],
            lambda one: {"name": one["LaunchTemplateName"], "latestVersion": one["LatestVersionNumber"]},
        ),
        lambda aws, rid, _: aws.delete_launch_template(LaunchTemplateId=rid),
        "InvalidLaunchTemplateId.NotFound",
        update=_change_template,
        replace=("name",),
        named="name",
    ),
)
