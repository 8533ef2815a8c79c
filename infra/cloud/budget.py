"""What the cloud half may cost a month, and who hears when it is about to cost more."""

from __future__ import annotations

import pulumi
from pulumi_aws import budgets

from infra.environment import Cloud

WARNINGS = (("ACTUAL", 80), ("FORECASTED", 100))
"""Kind of sum, and the percentage of the budget above which it is told."""


def budget(name: str, *, cloud: Cloud, environment: str, opts: pulumi.ResourceOptions) -> budgets.Budget:
    """The budget of the whole account, which is the environment's own.

    Not of the environment's tag: bills know a tag only once the organization's management account has activated it as
    one of cost allocation. Until then such a budget counts nothing, and never warns.
    """
    return budgets.Budget(
        name,
        name=f"isthmus-{environment}",
        budget_type="COST",
        time_unit="MONTHLY",
        limit_amount=str(cloud.budget.monthly_usd),
        limit_unit="USD",
        notifications=[
            {
                "comparison_operator": "GREATER_THAN",
                "notification_type": kind,
                "threshold": percent,
                "threshold_type": "PERCENTAGE",
                "subscriber_email_addresses": list(cloud.budget.emails),
            }
            for kind, percent in WARNINGS
        ],
        opts=opts,
    )
