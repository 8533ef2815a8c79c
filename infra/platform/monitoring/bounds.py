"""What the environment file allows, as series that rules compare with; a pure function.

So the rules stay files, which promtool reads and tests as they are. What an environment does not name is no series, and
a rule that compares with none never fires.
"""

from __future__ import annotations

from typing import Any, Final

import yaml

MODEL_AGE: Final = "site:model_age_allowed:seconds"
FILE: Final = "bounds.yaml"

_DAY_S: Final = 24 * 60 * 60


def files(*, model_age_days: int | None) -> dict[str, str]:
    """The file of rules that record them, by its name; none where there is nothing to record."""
    if model_age_days is None:
        return {}
    record: dict[str, Any] = {"record": MODEL_AGE, "expr": f"vector({model_age_days * _DAY_S})"}
    return {FILE: yaml.safe_dump({"groups": [{"name": "bounds", "rules": [record]}]}, sort_keys=False)}
