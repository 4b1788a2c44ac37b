"""One pass over one service: observe → sample → decide → apply → status → events → wake.

How a pass may end is said in `ending`.
"""

import dataclasses
import logging
from collections.abc import Mapping
from typing import Any, Final

from stoker import autoscale
from stoker.clock import Clock
from stoker.cluster.apply import Applier
from stoker.cluster.claims import CLAIM_RETRY_S
from stoker.cluster.events import EventPoster
from stoker.cluster.kinds import SERVICE
from stoker.cluster.observe import Observer
from stoker.cluster.status import StatusWriter
from stoker.errors import (
    Refused,
)
from stoker.external.source import Interest
from stoker.model import reasons
from stoker.model.load import Load
from stoker.model.moment import Moment, earliest
from stoker.model.observed import Key, Observed, ObservedService
from stoker.model.past import Past
from stoker.model.plan import Event, Plan
from stoker.model.platform import Platform
from stoker.model.scale import History
from stoker.naming import Component
from stoker.plan import measured, strain, windows
from stoker.plan.service import plan_service
from stoker.plan.stored import lacks_report
from stoker.plan.strain import Strains
from stoker.plan.windows import Windows
from stoker.reconcile.ending import Passes, tags
from stoker.reconcile.ends import Ends
from stoker.reconcile.steady import Steady
from stoker.telemetry.costmetrics import CostMetrics
from stoker.telemetry.metrics import Metrics
from stoker.telemetry.sampler import Samplers

_log = logging.getLogger(__name__)

# A stranger's object may go away without our being told.
_TAKEN_RETRY_S: Final = 10.0
# What the API server refused, it may accept after a change of quota or policy.
_REFUSED_RETRY_S: Final = 30.0
# A service that scales is looked at this often even where nobody reports its load.
_LOOK_AGAIN_S: Final = 20.0
# A namespace that forbids Jobs is not asked again for a while.
_NO_JOBS_S: Final = 300.0


class ServiceReconciler:
    """The worker of the queue for InferenceServices."""

    def __init__(
        self,
        *,
        clock: Clock,
        platform: Platform,
        observer: Observer,
        applier: Applier,
        status: StatusWriter,
        events: EventPoster,
        samplers: Samplers,
        metrics: Metrics,
        costs: CostMetrics,
        interest: Interest,
    ) -> None:
        self._clock = clock
        self._platform = platform
        self._observer = observer
        self._applier = applier
        self._status = status
        self._events = events
        self._samplers = samplers
        self._metrics = metrics
        self._costs = costs
        self._interest = interest
        self._histories: dict[Key, History] = {}
        self._windows: dict[Key, Windows] = {}
        self._strains: dict[Key, Strains] = {}
        self._pasts: dict[Key, Past] = {}
        self._steady: dict[Key, Steady] = {}
        # Why the Job that reads a model was refused, and when to ask again.
        self._no_jobs: dict[Key, tuple[str, float]] = {}
        self._ends = Ends(clock.unix())
        self._passes = Passes(clock, _log, SERVICE.name, metrics)

    async def reconcile(self, key: Key) -> float | None:
        """Look at a service once; when to look again."""
        return await self._passes.run(key, self._pass)

    async def _pass(self, key: Key, number: int) -> float | None:
        observed = await self._observer.observe(key)
        if observed is None or observed.service.deleting:
            self._forget(key)
            return None
        now = Moment(self._clock.monotonic(), self._clock.unix())
        said, until = self._no_jobs.get(key, ("", 0.0))
        if now.monotonic < until:
            observed = dataclasses.replace(observed, job_refused=said)
        service = observed.service
        scaling = None if service.spec is None else service.spec.scaling
        asked_until = self._interest.until(key)  # somebody else's autoscaler wants its load
        wanted, calm = sampling_of(service, asked=asked_until is not None)
        timed = scaling is not None and scaling.target.timed
        self._samplers.ensure(key, wanted=wanted, calm=calm, histograms=timed)
        load = self._load(observed)
        observed = self._with_reports(observed, load)
        observed = dataclasses.replace(observed, past=self._pasts.get(key, Past()))
        for reason in self._ends.fresh(key, observed.pods):
            self._metrics.services.replaced(key, reason)
        history = self._histories.get(key) or autoscale.begin(observed)
        scale = autoscale.decide_service(observed, load, history, self._platform, now)
        self._histories[key] = scale.history
        self._metrics.services.limited(key, by_budget=scale.verdict.reason == reasons.WITHIN_BUDGET)
        self._costs.look(observed, scale.replicas)
        blind = earliest(None if calm else now.monotonic + _LOOK_AGAIN_S, asked_until)
        steady = self._steady.pop(key, None)
        if steady is not None and steady.holds(observed, scale, now.monotonic):
            self._steady[key] = steady
            return earliest(scale.wake_at, steady.wake_at, blind)
        plan = plan_service(observed, scale, self._platform, now)
        taken = await self._applier.find_taken(service, plan.actions)
        if taken:
            observed = dataclasses.replace(observed, taken=taken)
            plan = plan_service(observed, scale, self._platform, now)
        if plan.actions:
            for note in plan.notes:
                _log.info("plan: %s", note.message, extra=tags(key, number, note.reason))
        retry = await self._carry_out(observed, plan, now)
        retry = earliest(retry, _pending(observed, now))
        quiet = None if retry is not None else Steady.after(observed, scale, plan, now.monotonic)
        if quiet is not None:
            self._steady[key] = quiet
        return earliest(plan.wake_at, retry, blind)

    def _load(self, observed: Observed) -> Load | None:
        """The newest load, joined to the pods that are there now."""
        key = observed.service.key
        load = self._samplers.latest(key)
        if load is None:
            return None
        told = {sample.pod for sample in load.engines}
        if any(
            pod.component is Component.ENGINE and pod.ready and pod.name not in told
            for pod in observed.pods
        ):
            self._samplers.hint(key)  # somebody new is to be asked
        return load.of_pods({pod.name: pod.uid for pod in observed.pods})

    def _with_reports(self, observed: Observed, load: Load | None) -> Observed:
        """What was observed, with what the engines say of themselves."""
        service = observed.service
        seen = windows.advance(
            self._windows.get(service.key, Windows()),
            load,
            observed.pods,
            str(service.status.get("revision", "")),
            settled=measured.is_settled(service.status),
        )
        self._windows[service.key] = seen
        full = strain.advance(
            self._strains.get(service.key, Strains()),
            load,
            observed.pods,
            str(service.status.get("revision", "")),
            places=strain.places_of(service.status),
            length=self._platform.strain_s,
        )
        self._strains[service.key] = full
        told = {each.pod: each.kv_tokens for each in load.engines if each.kv_tokens} if load else {}
        return dataclasses.replace(
            observed, kv_tokens=told, seen=seen.closed, strains=full.closed, load=load
        )

    async def _carry_out(self, observed: Observed, plan: Plan, now: Moment) -> float | None:
        service, status, retry = observed.service, plan.status, None
        events: tuple[Event, ...] = plan.events
        if plan.costs:
            past = dataclasses.replace(observed.past, costs_at=plan.past.costs_at)
            self._pasts[service.key] = past
            self._metrics.writes.inc(await self._applier.price(service, plan.costs))
        try:
            if plan.cache is not None:
                self._metrics.writes.inc(await self._applier.make_cache(service, plan.cache))
            self._metrics.writes.inc(await self._applier.carry_out(service, plan.actions))
            self._pasts[service.key] = plan.past
            await self._events.post(service, plan.reports)
        except Refused as error:
            _log.warning("refused: %s", error, extra=tags(service.key, 0, reasons.WRITE_REFUSED))
            if error.kind == "Job":
                # A cluster that forbids Jobs gets its service without a plan.
                self._no_jobs[service.key] = (str(error), now.monotonic + _NO_JOBS_S)
                return now.monotonic
            status = _with_refusal(status, str(error))
            events = (*events, Event("Warning", reasons.WRITE_REFUSED, str(error)))
            retry = now.monotonic + _REFUSED_RETRY_S
        if await self._status.write(service, status, now):
            self._count(service, status)
            await self._events.post(service, events)
        return retry

    def _count(self, service: ObservedService, status: Mapping[str, Any]) -> None:
        """Count the decision that a written status tells of."""
        before, after = service.status.get("desiredReplicas"), status.get("desiredReplicas")
        if isinstance(before, int) and isinstance(after, int) and before != after:
            reason = str((status.get("lastScale") or {}).get("reason", ""))
            self._metrics.services.decided(service.key, reason, before, after)

    def _forget(self, key: Key) -> None:
        self._samplers.ensure(key, wanted=False)
        self._costs.forget(key)
        self._interest.forget(key)
        self._histories.pop(key, None)
        self._windows.pop(key, None)
        self._strains.pop(key, None)
        self._pasts.pop(key, None)
        self._steady.pop(key, None)
        self._no_jobs.pop(key, None)
        self._passes.forget(key)
        self._observer.forget(key)
        self._events.forget(key)
        self._ends.forget(key)
        self._metrics.services.forget(key)


def sampling_of(service: ObservedService, *, asked: bool) -> tuple[bool, bool]:
    """Whether a service is sampled, and whether calmly.

    A fixed number of replicas needs no samples to be kept. It is looked at calmly all the same:
    whether replicas serve or are idle is a question of money.
    """
    scales = service.spec is not None and service.spec.scaling is not None
    soon = scales or asked or lacks_report(service.status)
    return soon or service.spec is not None, not soon


def _pending(observed: Observed, now: Moment) -> float | None:
    """When to ask again for what no watch reports: claims, and names that a stranger holds."""
    if observed.taken:
        return now.monotonic + _TAKEN_RETRY_S
    if any(phase != "Bound" for phase in observed.claims.values()):
        return now.monotonic + CLAIM_RETRY_S
    return None


def _with_refusal(status: Mapping[str, Any], message: str) -> dict[str, Any]:
    """The status, with `Progressing` saying what the API server does not accept."""
    conditions = [
        entry for entry in status.get("conditions") or () if entry["type"] != "Progressing"
    ]
    refusal = {
        "type": "Progressing",
        "status": "False",
        "reason": reasons.WRITE_REFUSED,
        "message": f"The API server refuses an object of this service: {message}",
    }
    return {**status, "conditions": [*conditions, refusal]}
