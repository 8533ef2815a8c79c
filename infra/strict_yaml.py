"""YAML as a reviewed file needs it: one document, no key twice, no key that is not text."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml


class YamlProblem(ValueError):
    """The text is not the YAML that a reviewer believes to read; the message says where and what to do."""


class _StrictLoader(yaml.SafeLoader):
    """PyYAML keeps the last of two equal keys in silence: a reviewer then reads one value and gets the other."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: dict[Hashable, int] = {}
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if not isinstance(key, str):
                raise YamlProblem(f"line {line}: key {key!r} is not text; write it in quotes")
            if key in seen:
                raise YamlProblem(f"line {line}: key `{key}` is also on line {seen[key]}; keep one of the two")
            seen[key] = line
        return super().construct_mapping(node, deep)


def parse(text: str) -> dict[str, Any]:
    """The mapping that `text` holds; raises YamlProblem with the line and the fix."""
    try:
        # A subclass of SafeLoader makes plain values only.
        value = yaml.load(text, Loader=_StrictLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f"line {mark.line + 1}: " if mark else ""
        raise YamlProblem(f"{line}not valid YAML ({error.problem}); check indentation and quotes there") from error
    except yaml.YAMLError as error:
        raise YamlProblem(f"not valid YAML ({error}); write plain UTF-8 text") from error
    if not isinstance(value, dict):
        raise YamlProblem("the file does not hold keys and values; start from environments/local.yaml")
    return value
