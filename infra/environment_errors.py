"""What the model of an environment refuses, in words: pydantic's errors as lines with the key, the rule and the fix."""

from __future__ import annotations

import difflib
from typing import Any

from pydantic import BaseModel, ValidationError

Location = tuple[int | str, ...]


def explained(refused: ValidationError, model: type[BaseModel]) -> list[str]:
    """A line for each error: a misspelt key is not also a missing one, nor is a list short of a faulty entry."""
    errors: list[Any] = refused.errors()
    unknown = [error["loc"] for error in errors if error["type"] == "extra_forbidden"]
    meant = {(*location[:-1], _meant(location, model)) for location in unknown}
    inside = {error["loc"][:depth] for error in errors for depth in range(1, len(error["loc"]))}
    told_already = {"missing": meant, "too_short": inside}
    return [_line(error, model) for error in errors if error["loc"] not in told_already.get(error["type"], ())]


def _line(error: Any, model: type[BaseModel]) -> str:
    location, kind, value = error["loc"], error["type"], error["input"]
    if kind == "extra_forbidden":
        near, known = _meant(location, model), ", ".join(_fields_at(location[:-1], model))
        fix = f"did you mean `{near}`?" if near else f"remove it; known here: {known}"
        return f"{_key(location)}: unknown key; {fix}"
    if kind == "missing":
        return f"{_key(location)}: required key is missing; add it as in {_example(location)}"
    if kind == "value_error":
        return f"{_key(location)}: {error['ctx']['error']}"
    rule = error["msg"][0].lower() + error["msg"][1:]
    shown = f"{value!r} is refused, " if isinstance(value, (str, int, float, bool)) else ""
    return f"{_key(location)}: {shown}{rule}; correct it as in {_example(location)}"


def _key(location: Location) -> str:
    """("onprem", "hosts", 1, "address") as a reader finds it: onprem.hosts[1].address."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".") or "file"


def _example(location: Location) -> str:
    """The reviewed file that shows the key: a lab has no cloud of Amazon's own, no state there, and tells nobody."""
    elsewhere = location[:1] in (("cloud",), ("state",)) or location[:3] == ("platform", "monitoring", "alerts")
    return "environments/prod.yaml" if elsewhere else "environments/local.yaml"


def _fields_at(location: Location, model: type[BaseModel]) -> list[str]:
    """The keys that the model knows where `location` leads, from the schema that it generates."""
    schema = root = model.model_json_schema()
    for part in location:
        schema = schema["items"] if isinstance(part, int) else schema["properties"][part]
        options = [schema, *schema.get("anyOf", ())]  # a part that may be left out is this or null
        ref = next((option["$ref"] for option in options if "$ref" in option), None)
        schema = root["$defs"][ref.rpartition("/")[2]] if ref else schema
    return list(schema.get("properties", {}))


def _meant(location: Location, model: type[BaseModel]) -> str | None:
    """The key of the model that an unknown key is probably a misspelling of."""
    return next(iter(difflib.get_close_matches(str(location[-1]), _fields_at(location[:-1], model), n=1)), None)
