"""What is known of the model, and what to do while nothing is.

Facts are found in this order: in the service's own status, in that of another service of the
namespace that serves the same folder of the same claim, in what a facts pod left. Only then a Job
is made. Once the facts are in the service's own status, its Jobs go.

A ModelCache's job has read the model already: then the facts stand in the cache's status, and no
Job is made. While a cache has nothing to start with, its reason stands in their place.

Files that are overwritten in place are noticed by nobody, so the service's owner says so: another
value of the annotation `stoker.dev/reread-model` than the one that the status has makes facts that
were kept count for nothing but what runs, until a Job has read the folder once more.

What the worker found wrong with the model stands as `Planned=False` until the spec changes or a
later look finds something else: the cluster removes a failed Job after a while, and the next one
looks again.
"""

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from stoker import naming
from stoker.model import reasons
from stoker.model.location import Location, source_of
from stoker.model.observed import Observed, ObservedObject, ObservedPod
from stoker.model.plan import Apply, Delete, Verdict
from stoker.model.replica import Replica
from stoker.naming import Component
from stoker.plan import actions, failures
from stoker.render import facts as rendering
from stoker.render import objects
from stoker_worker import modelfacts
from stoker_worker.contract import Termination
from stoker_worker.modelfacts import FactsError, ModelFacts

PLANNED: Final = "Planned"  # the condition
_WORD_LIMIT: Final = 64
_REASON: Final = re.compile(r"[A-Z][A-Za-z0-9]{2,63}")


@dataclass(frozen=True, slots=True)
class Reading:
    """Facts, or why there are none."""

    source: str | None  # None where there is no claim
    facts: ModelFacts | None = None
    text: str | None = None  # the facts as they are kept
    last: ModelFacts | None = None  # what they were, while they are read once more
    reread: str = ""  # the owner's word that they were read for
    verdict: Verdict | None = None  # why there are none; None where there are
    failed: bool = False  # looking again will find the same, until somebody changes something
    forbidden: bool = False  # the cluster does not let us look
    writes: tuple[Apply | Delete, ...] = ()


def read(observed: Observed, wanted: Replica, *, ask: bool = True) -> Reading:
    """Look for the facts of this replica's model; without `ask` no Job is made for them."""
    uid = wanted.model_image or observed.claim_uids.get(wanted.claim)
    if uid is None:
        return Reading(None, verdict=_no_claim(observed, wanted.claim), writes=_removals(observed))
    source = source_of(uid, wanted.folder)
    status = observed.service.status.get("model")
    model: Mapping[str, Any] = status if isinstance(status, Mapping) else {}
    own = model.get("facts") if model.get("source") == source else None
    location = observed.location
    if location is not None and location.cache is not None:
        return _told_by_cache(observed, location, source, own)
    before, asked = str(model.get("reread") or ""), _asked(observed)
    again = ask and asked not in {"", before}
    for text in (own, observed.shared_facts):
        known = _parse(text) if isinstance(text, str) and not again else None
        if known is not None:
            # Until they are in our own status, the Job's pod is where they are.
            gone = _removals(observed) if text == own else ()
            kept = modelfacts.to_json(known)
            return Reading(source, known, kept, reread=before, writes=gone)
    last = _parse(own) if isinstance(own, str) else None
    found = replace(_look(observed, wanted, source, asked, ask=ask), last=last)
    return replace(found, reread=asked or before)


def nowhere(observed: Observed) -> Verdict:
    """Why there is no model to start with."""
    return _READING if observed.cache is None else observed.cache.verdict


def _told_by_cache(observed: Observed, location: Location, source: str, own: object) -> Reading:
    """The facts in the cache's status, or those that were taken from it before."""
    gone = _removals(observed)
    for text in (location.facts, own):
        known = _parse(text) if isinstance(text, str) else None
        if known is not None:
            return Reading(source, known, modelfacts.to_json(known), writes=gone)
    if location.unread is None:
        return Reading(source, verdict=nowhere(observed), writes=gone)
    verdict = Verdict(
        location.unread.reason, f"The model cannot be planned with: {location.unread.message}"
    )
    return Reading(source, verdict=verdict, failed=True, writes=gone)


def _asked(observed: Observed) -> str:
    """What the owner wrote to have the model read again; a long text is told by its hash."""
    text = observed.service.annotations.get(naming.ANNOTATION_REREAD, "")
    return text if len(text) <= _WORD_LIMIT else hashlib.sha256(text.encode()).hexdigest()


def _look(observed: Observed, wanted: Replica, source: str, asked: str, *, ask: bool) -> Reading:
    """What the Job says that reads the model, or the write that makes it."""
    if observed.job_refused is not None:
        return Reading(source, verdict=_forbidden(observed.job_refused), forbidden=True)
    job = rendering.render_facts(objects.owner_of(observed.service), wanted, source, asked)
    present = observed.object("Job", job["metadata"]["name"])
    others = _removals(observed, but=job["metadata"]["name"])
    if present is None:
        free = ("Job", job["metadata"]["name"]) not in observed.taken
        made = (Apply(job, reasons.MISSING),) if ask and free else ()
        return _kept(observed, Reading(source, verdict=_READING, writes=(*made, *others)))
    found = _result(observed, present, source, wanted.accelerators.resource)
    return _kept(observed, replace(found, writes=(*found.writes, *others)))


_READING: Final = Verdict(
    reasons.READING_MODEL, "The model's configuration and headers are being read."
)


def _result(observed: Observed, job: ObservedObject, source: str, resource: str | None) -> Reading:
    """What the Job's pods say."""
    pods = [
        pod
        for pod in observed.pods
        if pod.component is Component.FACTS and pod.name.startswith(f"{job.name}-")
    ]
    for pod in pods:
        if pod.result is not None:
            return _facts(pod.result, source)
    for pod in pods:
        verdict = _worker_says(pod)
        if verdict is not None:
            return Reading(source, verdict=verdict, failed=True)
    ended = {
        condition["type"]: str(condition.get("message") or "")
        for condition in (job.body.get("status") or {}).get("conditions") or []
        if condition.get("status") == "True"
    }
    cause = failures.failure_of(pods) or failures.unschedulable_of(pods, resource)
    if "Failed" in ended:
        message = cause.message if cause is not None else ended["Failed"]
        return Reading(source, verdict=_unread(message), failed=True)
    if "Complete" in ended and not pods:
        # Somebody removed the pod before it was read.
        return Reading(source, verdict=_READING, writes=(actions.delete(job, reasons.MISSING),))
    return Reading(source, verdict=cause or _READING)


def _facts(text: str, source: str) -> Reading:
    try:
        facts = modelfacts.from_dict(json.loads(text)["facts"])
        return Reading(source, facts, modelfacts.to_json(facts))
    except (FactsError, ValueError, TypeError, KeyError) as error:
        return Reading(source, verdict=_unread(f"the worker's answer is {error}"), failed=True)


def _parse(text: str) -> ModelFacts | None:
    """Facts that were kept; None where an operator of another version kept them."""
    try:
        return modelfacts.from_json(text)
    except FactsError:
        return None


def _worker_says(pod: ObservedPod) -> Verdict | None:
    for failure in pod.failures:
        said = Termination.parse(failure.termination) if failure.termination else None
        if said is not None and _REASON.fullmatch(said.reason):
            return Verdict(said.reason, f"The model cannot be planned with: {said.message}")
    return None


def _unread(message: str) -> Verdict:
    return Verdict(
        reasons.FACTS_NOT_READ,
        f"The model's configuration and headers could not be read: {message}",
    )


def _forbidden(message: str) -> Verdict:
    return Verdict(
        reasons.FACTS_NOT_ALLOWED,
        "The API server refuses the Job that reads the model, so nothing is planned; the engine "
        f"decides what the spec leaves open: {message}",
    )


def _no_claim(observed: Observed, claim: str) -> Verdict:
    used = observed.location is not None and observed.location.cache
    return Verdict(
        reasons.CLAIM_NOT_FOUND,
        f"There is no PersistentVolumeClaim {claim} in namespace "
        f"{observed.service.key.namespace}: "
        + (f"look at ModelCache {used}." if used else "create it, or correct model.uri."),
    )


def _removals(observed: Observed, but: str | None = None) -> tuple[Delete, ...]:
    """Our Jobs that are of no use any more."""
    return tuple(
        actions.delete(candidate, reasons.UNUSED)
        for candidate in observed.objects
        if candidate.kind == "Job" and candidate.name != but
    )


def _kept(observed: Observed, found: Reading) -> Reading:
    """While a Job looks again, what the last one said of this spec and this model still stands."""
    if found.facts is not None or found.failed:
        return found
    verdict = told(observed, "False")
    return found if verdict is None else replace(found, verdict=verdict, failed=True)


def told(observed: Observed, status: str, words: Collection[str] | None = None) -> Verdict | None:
    """What the last pass said of the plan for this very spec, if that was its word."""
    service = observed.service
    for condition in service.status.get("conditions") or ():
        if (
            condition.get("type") == PLANNED
            and condition.get("status") == status
            and condition.get("observedGeneration") == service.generation
            and (words is None or condition.get("reason") in words)
        ):
            return Verdict(str(condition["reason"]), str(condition.get("message")))
    return None
