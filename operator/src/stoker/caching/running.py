"""One job of a cache: made, looked at, read. What it says is a value; the caller decides.

A Job that failed is counted once: its uid goes into the status, and the pass after that removes it.
Then there is none until its time has come; the same content has the same name again.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from stoker.caching.context import Context
from stoker.caching.memory import Attempt
from stoker.model import reasons
from stoker.model.observed import ObservedObject, ObservedPod
from stoker.model.plan import Apply, Verdict
from stoker.plan import failures
from stoker.render import cache as rendering
from stoker.render.cache import CacheJob
from stoker_worker.cachecontract import EXIT_STANDS, FetchResult, Progress, failure

_REASON: Final = re.compile(r"[A-Z][A-Za-z0-9]{2,63}")
_WAITING: Final = "waiting"


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of a job in this pass."""

    keep: str | None = None  # name of the Job that must not be removed yet
    write: Apply | None = None
    result: FetchResult | None = None  # it ended well
    failed: Attempt | None = None  # it failed, now or before, and waits for its time
    progress: Progress | None = None  # as its pod says
    placed: bool = False  # its container runs
    verdict: Verdict | None = None  # what keeps it from going on

    @property
    def under_way(self) -> bool:
        """Whether there is, or is about to be, a Job that has not ended."""
        return self.keep is not None and self.result is None and self.failed is None


def run(context: Context, job: CacheJob, before: Attempt | None) -> Ran:
    """Make the Job, or read what the one that is there says."""
    manifest = rendering.render_job(context.owner, job, context.caches)
    name = str(manifest["metadata"]["name"])
    observed, now = context.observed, context.now
    present = observed.object("Job", name)
    # A node's memory names no Job: it has one at a time.
    known = before if before is not None and before.job in {"", name} else None
    if present is None:
        if known is not None and now.unix < known.retry_at:
            return Ran(failed=known)
        if ("Job", name) in observed.taken:
            return Ran(verdict=_taken(name))
        return Ran(keep=name, write=Apply(manifest, reasons.MISSING))
    if known is not None and present.uid.startswith(known.uid):
        return Ran(failed=known)  # told; it is not kept, so it goes
    pods = [pod for pod in observed.pods if pod.name.startswith(f"{name}-")]
    return _read(context, present, pods, known)


def _read(
    context: Context, job: ObservedObject, pods: list[ObservedPod], before: Attempt | None
) -> Ran:
    for pod in pods:
        result = FetchResult.parse(pod.result) if pod.result is not None else None
        if result is not None:
            return Ran(keep=job.name, result=result)
    ended = _ended(job)
    if "Failed" in ended:
        verdict, stands = _why(pods, ended["Failed"])
        return _failed(context, job, before, verdict, stands=stands)
    if "Complete" in ended and not pods:
        return Ran()  # somebody removed the pod before it was read: once more
    if "Complete" in ended:
        said = next((pod.result for pod in pods if pod.result), "nothing")
        verdict = Verdict(reasons.JOB_FAILED, f"The job's answer is not understood: {said[:200]}")
        return _failed(context, job, before, verdict, stands=True)
    return _under_way(context, job, pods)


def _failed(
    context: Context, job: ObservedObject, before: Attempt | None, verdict: Verdict, *, stands: bool
) -> Ran:
    name = "" if before is not None and not before.job else job.name
    unix = context.now.unix
    return Ran(
        keep=job.name,
        failed=Attempt.after(before, name, job.uid, verdict, stands=stands, unix=unix),
    )


def give_up(context: Context, ran: Ran, before: Attempt | None, verdict: Verdict) -> Ran:
    """Count a job as failed whose pod will not start; the pass after this one removes it."""
    job = None if ran.keep is None else context.observed.object("Job", ran.keep)
    if job is None:
        return ran
    return _failed(context, job, before, verdict, stands=True)


def _under_way(context: Context, job: ObservedObject, pods: list[ObservedPod]) -> Ran:
    running = next((pod for pod in pods if pod.phase == "Running" and not pod.deleting), None)
    page = None if running is None else context.observed.progress.get(running.uid)
    if running is not None:
        return Ran(job.name, progress=page, placed=True, verdict=_waits(page))
    fresh = [pod for pod in pods if pod.phase == "Pending"]
    cause = failures.failure_of(fresh) or failures.unschedulable_of(
        fresh, context.placement.accelerators.resource
    )
    return Ran(job.name, verdict=cause or _last_word(pods))


def _last_word(pods: list[ObservedPod]) -> Verdict | None:
    """What the last pod said, while the next one of the same Job is on its way."""
    for pod in sorted(pods, key=lambda each: each.created, reverse=True):
        said = _termination(pod)
        if said is not None:
            return said[0]
    return None


def _waits(page: Progress | None) -> Verdict | None:
    """A job that waits for its source says for what."""
    if page is None or page.state != _WAITING or not _REASON.fullmatch(page.reason):
        return None
    until = f"until {_clock(page.until)}: " if page.until is not None else ""
    return Verdict(page.reason, f"{until}{page.message}"[:1000])


def _clock(unix: float) -> str:
    return datetime.fromtimestamp(unix, UTC).strftime("%H:%M:%S UTC")


def _why(pods: list[ObservedPod], said: str) -> tuple[Verdict, bool]:
    """Why a Job failed, and whether that stands until somebody changes something."""
    for pod in sorted(pods, key=lambda each: each.created, reverse=True):
        found = _termination(pod)
        if found is not None:
            return found
    cause = failures.failure_of(pods)
    if cause is not None:
        return Verdict(_word(cause.reason), cause.message), False
    return Verdict(reasons.JOB_FAILED, f"The job failed: {said or 'no reason given'}"), False


def _word(reason: str) -> str:
    """No engine crashes in a cache's pod."""
    return reasons.JOB_FAILED if reason == reasons.ENGINE_CRASHED else reason


def _termination(pod: ObservedPod) -> tuple[Verdict, bool] | None:
    for each in pod.failures:
        said = failure(each.termination) if each.termination else None
        if said is not None and _REASON.fullmatch(said.reason):
            return Verdict(said.reason, said.message), each.exit_code == EXIT_STANDS
    return None


def _ended(job: ObservedObject) -> Mapping[str, str]:
    return {
        str(condition["type"]): str(condition.get("message") or "")
        for condition in (job.body.get("status") or {}).get("conditions") or []
        if condition.get("status") == "True"
    }


def _taken(name: str) -> Verdict:
    return Verdict(reasons.NAME_TAKEN, f"Job {name} exists and is not this cache's: delete it.")
