"""Makes, reads, changes and deletes things of a kind at the API that the settings name."""

from __future__ import annotations

import functools
import hashlib
import json
import threading
from collections.abc import Callable
from typing import Final

from infra.providers.offline.aws.errors import AwsFault, Refused, is_gone, is_unknown_to_the_api, refused
from infra.providers.offline.aws.kind import UNEXERCISED, Client, Kind, NotActive, Properties
from infra.providers.offline.aws.settings import Settings

PREVIEWS_ONLY: Final = (
    "the stand-in for the aws plugin makes things at a lab's endpoint only, and none is set; "
    "run this where get.pulumi.com is reached"
)


class Unfinished(Exception):
    """Something was made and is not usable; `outputs` is what is known of it."""

    def __init__(self, message: str, rid: str, outputs: Properties) -> None:
        super().__init__(message)
        self.rid = rid
        self.outputs = outputs


class Things:
    """The four things that can be done. `say` takes a line for the engine's log."""

    def __init__(self, settings: Settings, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._say = say
        self._told: set[str] = set()
        self._found = functools.cache(settings.client)
        self._one_at_a_time = threading.Lock()

    def tags(self, inputs: Properties) -> dict[str, str]:
        """The tags of a thing: those of everything, and its own."""
        return {**self._settings.default_tags, **(inputs.get("tags") or {})}

    def create(self, kind: Kind, name: str, inputs: Properties) -> tuple[str, Properties]:
        """Its id and outputs. Raises Refused, or Unfinished for what exists but cannot be used yet."""
        if not self._settings.endpoints:
            raise Refused(PREVIEWS_ONLY)
        wanted = {**inputs, "tagsAll": self.tags(inputs)}
        aws = self._client(kind.service)
        try:
            rid = kind.create(aws, wanted)
        except AwsFault as error:
            if not is_unknown_to_the_api(kind, error):
                raise refused(kind, name, "create", error) from error
            self._tell(kind)
            digest = hashlib.sha256(json.dumps([kind.token, name, inputs], sort_keys=True, default=str).encode())
            return f"lab-{digest.hexdigest()[:12]}", {**wanted, UNEXERCISED: True}
        try:
            return rid, self._settled(kind, aws, rid, wanted)
        except NotActive as error:
            raise Unfinished(str(error), rid, wanted) from error
        except AwsFault as error:
            raise Unfinished(str(refused(kind, name, "create", error)), rid, wanted) from error

    def read(self, kind: Kind, name: str, rid: str, state: Properties) -> Properties | None:
        """What AWS knows of it now; None when it is gone."""
        if state.get(UNEXERCISED):
            return {}
        try:
            return kind.read(self._client(kind.service), rid, state)
        except AwsFault as error:
            if is_gone(kind, error):
                return None
            raise refused(kind, name, "read", error) from error

    def update(self, kind: Kind, name: str, rid: str, olds: Properties, news: Properties) -> Properties:
        """Makes new inputs true, and finishes what an earlier run could not; gives the outputs.

        `olds` is the last known state, and stays it where this raises: the next run does all of it once more.
        """
        wanted = {**news, "tagsAll": self.tags(news)}
        if olds.get(UNEXERCISED):
            return {**olds, **wanted}
        aws = self._client(kind.service)
        try:
            if any(olds.get(key) != value for key, value in news.items() if key != "tags"):
                kind.update(aws, rid, olds, wanted)
            now = self._settled(kind, aws, rid, {**olds, **wanted})
            before, after = olds.get("tagsAll") or {}, wanted["tagsAll"]
            if kind.tags and before != after:
                target = now["arn"] if kind.service == "eks" else rid
                kind.tags(aws, target, after, sorted(before.keys() - after.keys()))
            return {**now, "tagsAll": after}
        except NotActive as error:
            raise Unfinished(str(error), rid, olds) from error
        except AwsFault as error:
            raise refused(kind, name, "update", error) from error

    def delete(self, kind: Kind, name: str, rid: str, state: Properties) -> None:
        """Takes it away; what is gone already is well."""
        if state.get(UNEXERCISED):
            return
        try:
            kind.delete(self._client(kind.service), rid, state)
        except AwsFault as error:
            if not is_gone(kind, error):
                raise refused(kind, name, "delete", error) from error

    def _client(self, service: str) -> Client:
        """The service's client, made when it is first asked for: boto3 makes one at a time, and many threads ask."""
        with self._one_at_a_time:
            return self._found(service)

    def _settled(self, kind: Kind, aws: Client, rid: str, known: Properties) -> Properties:
        """What is known of it once it can be used."""
        if kind.settle:
            kind.settle(aws, rid, known)
        return {**known, **(kind.read(aws, rid, known) or {})}

    def _tell(self, kind: Kind) -> None:
        if kind.token not in self._told:
            self._told.add(kind.token)
            self._say(f"not exercised here: {kind.token} (the lab's AWS API does not know it)")
