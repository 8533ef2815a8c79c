"""The resource isthmus:ansible:Playbook: hosts in the state that a playbook describes, with a readable diff."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from infra.providers.isthmus import leavers, playbook_inputs
from infra.providers.isthmus.events import Recorder
from infra.providers.isthmus.handler import Change, Context, PartialFailure, ResourceError, has_unknown
from infra.providers.isthmus.hints import headline
from infra.providers.isthmus.journal import Journal
from infra.providers.isthmus.kubeconfig import near_its_end
from infra.providers.isthmus.playbook_diff import RECORD, RUN, changed_hosts, input_diff, join
from infra.providers.isthmus.redaction import Redactor, secret_values
from infra.providers.isthmus.runner import Job, Outcome, run

State = dict[str, Any]


class Playbook:
    """Runs ansible when an input changed, when the last run did not finish, when a refresh found drift, or when the
    kubeconfig among its results is near its end.

    Outputs: `results` (secret; what the play wrote into the folder of its variable isthmus_outputs, by file name),
    `summary` (counts per host of the last run), `completed` (whether that run finished), `drift` (tasks that would
    change a host, as the last refresh saw it), `leaving` (who left before a run that did not finish).
    """

    token: ClassVar[str] = "isthmus:ansible:Playbook"
    outputs: ClassVar[tuple[str, ...]] = ("results", "summary", "completed", "drift", "leaving")
    secrets: ClassVar[frozenset[str]] = frozenset({"results"})

    def check(self, news: State) -> dict[str, str]:
        """Property -> reason for each input that is refused."""
        return playbook_inputs.check(news)

    def diff(self, ctx: Context, rid: str, olds: State, news: State) -> list[Change]:  # noqa: ARG002
        """The inputs that differ, and on request (`check_on_diff`) what check mode would change on each host."""
        changes = input_diff(olds, news)
        if not olds.get("completed"):
            changes.append(Change(path="completed", kind="update", detail="the last run did not finish: it continues"))
        elif olds.get("drift"):
            drift = ", ".join(olds["drift"])
            changes.append(Change(path="drift", kind="update", detail=f"the hosts have drifted: {drift}"))
        if (days := near_its_end(olds)) is not None:
            changes.append(Change(path="results", kind="update", detail=_end(days)))
        if news.get("check_on_diff") and not has_unknown(news):
            changes += self._host_changes(ctx, olds, news)
        return changes

    def create(self, ctx: Context, news: State) -> tuple[str, State]:
        """Run the playbook. A failure keeps what was reached; the next `up` goes on from there."""
        rid = ctx.urn.rpartition("::")[2] or Path(news["playbook"]).stem
        try:
            return rid, self._apply(ctx, {}, news)
        except PartialFailure as failure:
            failure.rid = rid
            raise

    def update(self, ctx: Context, rid: str, olds: State, news: State) -> State:  # noqa: ARG002
        """Run the playbook again, unless only inputs changed that hosts never see."""
        settled = olds.get("completed") and not olds.get("drift") and not news.get("check_on_diff")
        if (
            settled
            and near_its_end(olds) is None
            and input_diff(olds, news, RECORD)
            and not input_diff(olds, news, RUN)
        ):
            return {**_outputs(olds), **news}
        return self._apply(ctx, olds, news)

    def read(self, ctx: Context, rid: str, state: State) -> State | None:  # noqa: ARG002
        """Look for drift in check mode. Hosts that cannot be reached are no drift, and no reason to fail."""
        if not state.get("completed"):
            return state
        recorder, outcome = self._run(ctx, state, check=True)
        if not outcome.succeeded:
            ctx.log.warning(f"drift is not fully known: {_reason(recorder, outcome)}")
            if not recorder.changes:
                return state
        drift = sorted({f"{change.host}: {change.task}" for change in recorder.changes})
        for line in drift:
            ctx.log.warning(f"drift: {line}; the next `make up` repairs it")
        return {**state, "drift": drift}

    def delete(self, ctx: Context, rid: str, state: State) -> None:  # noqa: ARG002
        """Run the reset playbook, if the environment allows it. Hosts that are gone do not stand in the way."""
        hosts = ", ".join(playbook_inputs.host_names(state)) or "no host"
        if not state.get("reset_allowed"):
            raise ResourceError(
                f"refused to reset {hosts}: the environment protects these hosts. If they shall be emptied, set "
                "`onprem.reset_allowed: true` in the environment file, run `make up` to record it, and delete again"
            )
        recorder, outcome = self._run(ctx, {**state, "playbook": state["reset_playbook"]})
        if outcome.succeeded:
            return
        failures = recorder.failures
        if outcome.stopped or not failures or not all(failure.unreachable for failure in failures):
            raise ResourceError(f"the reset did not finish: {_reason(recorder, outcome)}")
        gone = ", ".join(failure.host for failure in failures)
        ctx.log.warning(f"not reset, because unreachable: {gone}. Their disks keep what the cluster wrote to them")

    def _apply(self, ctx: Context, olds: State, news: State) -> State:
        leaving = leavers.find(olds, news["inventory"])
        state = {**_outputs(olds), **news, "completed": False, "leaving": leaving}
        if not olds or olds.get("inventory") != news["inventory"]:
            playbook_inputs.forget_facts(news)
        try:
            recorder, outcome = self._run(ctx, news, changed_hosts=changed_hosts(olds, news), leaving=leaving)
        except Exception as error:
            raise PartialFailure(f"playbook {news['playbook']} did not start: {error}", state=state) from error
        state["summary"] = recorder.summary
        state["results"] = {**state["results"], **outcome.results}
        if not outcome.succeeded:
            raise PartialFailure(_reason(recorder, outcome), state=state)
        if missing := [name for name in news.get("outputs", []) if name not in state["results"]]:
            message = f"playbook {news['playbook']} ran, but wrote no file {', '.join(missing)} into isthmus_outputs"
            raise PartialFailure(message, state=state)
        lost = [host for host in leavers.gone(leaving, news["inventory"]) if host in recorder.unreachable]
        if lost:
            ctx.log.warning(
                f"not told that they left, because unreachable: {', '.join(lost)}. Wipe them before they are started "
                "again, or they go on with what they did"
            )
        if (days := near_its_end(state)) is not None:
            ctx.log.warning(f"{_end(days)}, also on the host that it was fetched from, which should have renewed it")
        return {**state, "completed": True, "drift": [], "leaving": {}}

    def _host_changes(self, ctx: Context, olds: State, news: State) -> list[Change]:
        leaving = leavers.find(olds, news["inventory"])
        recorder, outcome = self._run(ctx, news, leaving=leaving, check=True, quiet=True)
        if not outcome.succeeded:
            ctx.log.warning(f"what would change on the hosts is not fully known: {_reason(recorder, outcome)}")
        merged: dict[str, list[str]] = {}
        for change in recorder.changes:
            path = join(join("hosts", change.host), change.task)
            merged.setdefault(path, []).append(change.detail)
        return [
            Change(path=path, kind="update", detail="\n".join(filter(None, details)) or "would change; no diff to show")
            for path, details in merged.items()
        ]

    def _run(
        self,
        ctx: Context,
        state: State,
        *,
        changed_hosts: list[str] | None = None,
        leaving: leavers.Leavers | None = None,
        check: bool = False,
        quiet: bool = False,
    ) -> tuple[Recorder, Outcome]:
        hidden = secret_values(state["variables"]) | set((state.get("results") or {}).values())
        redact = Redactor.of(hidden)
        job = Job(
            folder=Path(state["folder"]),
            playbook=state["playbook"],
            inventory=state["inventory"],
            variables={**state["variables"], "reset_allowed": bool(state.get("reset_allowed"))},
            private_key=Path(state["private_key_path"]),
            work_dir=Path(state["work_dir"]),
            timeout_s=int(state["timeout_s"]),
            changed_hosts=changed_hosts,
            leaving=leaving or {},
            check=check,
            cancelled=ctx.cancelled,
        )
        with Journal.open(job.work_dir, job.playbook, ctx.log, check=check) as journal:
            recorder = Recorder(log=journal, redact=redact, check=check, quiet=quiet, where=str(journal.path))
            return recorder, run(job, recorder)


def _outputs(state: State) -> State:
    empty = {"results": {}, "summary": "", "completed": False, "drift": [], "leaving": {}}
    return {key: state.get(key, value) for key, value in empty.items()}


def _end(days: int) -> str:
    return f"the kubeconfig ends in {days} days" if days >= 0 else "the kubeconfig has ended"


def _reason(recorder: Recorder, outcome: Outcome) -> str:
    """Why a run did not succeed, in one line that ends with the place of its log."""
    if outcome.stopped:
        reason = f"ansible was ended, because {outcome.stopped}"
    elif recorder.failures:
        reason = headline(recorder.failures)
    else:
        reason = f"ansible stopped: {recorder.complaint or recorder.redact(outcome.last_words)}"
    return f"{reason} (log: {recorder.where})"
