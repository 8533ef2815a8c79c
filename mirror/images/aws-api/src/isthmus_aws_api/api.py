"""The API that clients talk to: one request at a time, each in its own moment, noted before it is answered."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from isthmus_aws_api import cloud, wire
from isthmus_aws_api.journal import Damaged, Journal, Record
from isthmus_aws_api.moment import Moment
from isthmus_aws_api.wire import Request

HEALTH = "/moto-api/health"
"""No bucket can have that name: moto keeps it for itself."""

logger = logging.getLogger("isthmus.aws-api")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the application said. `drew`: it made something by chance, so even a read has left something behind."""

    status: str
    headers: list[tuple[str, str]]
    body: bytes
    drew: bool

    @property
    def refused(self) -> bool:
        """Whether nothing was done."""
        return self.status[0] in "45"

    @property
    def digest(self) -> str:
        """The status and what identifies the rest, to see whether a replay came to the same."""
        text = json.dumps([self.status, sorted(self.headers)]).encode() + self.body
        return f"{self.status[:3]} {hashlib.sha256(text).hexdigest()}"


class Api:
    """A WSGI application. `warnings` says what could not be brought back, a line each."""

    def __init__(self, journal: Journal, application: Callable[..., Any]) -> None:
        self._journal, self._application = journal, application
        self._one_at_a_time = threading.Lock()
        self.restored = 0
        self.warnings: list[str] = []

    def restore(self) -> None:
        """Do again what was done before. Raises Damaged when the journal cannot be read on."""
        began = time.monotonic()
        for record in self._journal.records():
            self.restored += 1
            if fault := self._repeat(record):
                self._warn(f"not restored: {record.what}: {fault}")
        if self._journal.dropped:
            self._warn(f"journal: {self._journal.dropped}")
        logger.info("restored %d requests in %.1f s", self.restored, time.monotonic() - began)

    def _warn(self, text: str) -> None:
        self.warnings.append(text)
        logger.warning("%s", text)

    def _repeat(self, record: Record) -> str:
        try:
            body = self._journal.body(record)
        except Damaged as error:
            return str(error)
        request = Request(environ=record.environ, names=record.names, body=body)
        answer = self._carry_out(request, Moment(at=record.at, seed=record.seed, keys=record.keys))
        if answer.digest == record.answer:
            return ""
        now, before = answer.status[:3], record.answer[:3]
        return f"answers {now} now, was {before}" if now != before else "gives another answer than it did"

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """See PEP 3333."""
        if environ.get("PATH_INFO") == HEALTH:
            answer = _plain("200 OK", json.dumps({"restored": self.restored, "warnings": self.warnings}))
        else:
            try:
                # Before its turn: a slow upload holds up nobody.
                request = wire.received(environ)
            except wire.BrokenOff as error:
                answer = _plain("400 Bad Request", f"the request broke off: {error}")
            else:
                with self._one_at_a_time:
                    answer = self._serve(request)
        start_response(answer.status, answer.headers)
        return [answer.body]

    def _serve(self, request: Request) -> Answer:
        moment = Moment(at=time.time(), seed=secrets.token_hex(8))
        answer = self._carry_out(request, moment)
        if answer.refused or (request.reads and not answer.drew):
            return answer
        try:
            self._journal.append(request, at=moment.at, seed=moment.seed, keys=moment.keys, answer=answer.digest)
        except OSError:
            # Memory is ahead of the journal now. A restart makes them agree again, and the client is told nothing.
            logger.exception("%s: the journal cannot be written; ending, so that nothing is promised", request.what)
            os._exit(1)
        return answer

    def _carry_out(self, request: Request, moment: Moment) -> Answer:
        said: list[Any] = []
        with cloud.within(moment) as drew:
            try:
                parts = self._application(
                    request.wsgi(), lambda status, headers, _=None: said.extend([status, headers])
                )
                body = b"".join(parts)
                return Answer(status=said[0], headers=list(said[1]), body=body, drew=drew())
            except Exception:
                logger.exception("%s: moto fails", request.what)
                return _plain("500 Internal Server Error", f"{request.what}: moto fails; the log says why")


def _plain(status: str, text: str) -> Answer:
    headers = [("Content-Type", "application/json" if text[:1] == "{" else "text/plain")]
    return Answer(status=status, headers=headers, body=text.encode(), drew=False)
