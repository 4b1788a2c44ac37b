"""From what was observed to a scale decision: by load where the spec asks for it, else fixed."""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

from stoker import naming
from stoker.autoscale import keep
from stoker.autoscale.decision import decide
from stoker.autoscale.forecast import quantiles
from stoker.autoscale.policy import Known, policy_of
from stoker.autoscale.sample import sample_of
from stoker.model import reasons
from stoker.model.budget import price_in
from stoker.model.learned import LEARNED, Learned
from stoker.model.load import Load
from stoker.model.moment import Moment
from stoker.model.observed import Observed
from stoker.model.plan import Verdict
from stoker.model.platform import Platform
from stoker.model.scale import History, ScaleDecision
from stoker.model.startup import lead_in
from stoker.model.work import Work
from stoker.naming import Component

# Factors beyond these are no measurement (`stoker.planner.feedback` cuts to the same).
_SLOWNESS: Final = (0.1, 10.0)


def decide_service(
    observed: Observed, load: Load | None, history: History, platform: Platform, now: Moment
) -> ScaleDecision:
    """How many replicas this service should have, over all its revisions."""
    sample = sample_of(observed, load)
    spec = observed.service.spec
    if spec is None:
        verdict = Verdict(
            reasons.INVALID_SPEC, "the spec cannot be read, so the number of replicas stays"
        )
        return ScaleDecision(sample.wanted or 0, verdict, activity=verdict)
    known = known_of(observed)
    if spec.scaling is not None and spec.scaling.budget is not None:
        history = replace(history, prices=_prices(observed, history))
        known = replace(known, price=_dearest(observed, history))
    policy = policy_of(spec, platform.engines.get(spec.engine.name.value), known)
    if policy is not None:
        found = decide(policy, history, sample, now)
        if not policy.learns:
            return found
        history, text = keep.due(found.history, now.monotonic)
        return replace(found, history=history, keep=text)
    replicas = 1 if spec.replicas is None else spec.replicas
    source = "one replica by default" if spec.replicas is None else f"spec.replicas is {replicas}"
    verdict = Verdict(reasons.FIXED_REPLICAS, f"{source}; Stoker scales where spec.scaling is set")
    return ScaleDecision(replicas, verdict, activity=verdict)


def _prices(observed: Observed, history: History) -> Mapping[str, Decimal]:
    """What one replica costs, by revision: of those that run, and of the one that is wanted.

    A status tells the price of one plan; those of older ones are remembered while they run.
    """
    status = observed.service.status
    revision, price = status.get("revision"), price_in(status.get("plan"))
    running = _running(observed)
    prices = {name: each for name, each in history.prices.items() if name in running}
    if isinstance(revision, str) and price is not None:
        prices[revision] = price
    return history.prices if prices == history.prices else prices


def _dearest(observed: Observed, history: History) -> Decimal | None:
    """What a replica costs at most; None where nobody knows it of some."""
    price = price_in(observed.service.status.get("plan"))
    others = _running(observed) - {str(observed.service.status.get("revision"))}
    if price is None or not others <= set(history.prices):
        return None
    return max([price, *(history.prices[name] for name in others)])


def _running(observed: Observed) -> set[str]:
    return {
        pod.revision
        for pod in observed.pods
        if pod.component is Component.ENGINE and not pod.deleting and pod.revision
    }


def begin(observed: Observed) -> History:
    """The memory of an operator that has just started: what another one has written down."""
    written = observed.object("ConfigMap", naming.learned(observed.service.key.name))
    data = None if written is None else written.body.get("data")
    text = data.get(LEARNED) if isinstance(data, Mapping) else None
    learned = keep.from_text(text) if isinstance(text, str) else Learned()
    return History(learned=learned, kept=quantiles(learned))


def known_of(observed: Observed) -> Known:
    """What plan and starts say of one replica."""
    status = observed.service.status
    plan, startup = status.get("plan"), status.get("startup")
    places, work, lead_s = None, None, None
    if isinstance(plan, Mapping):
        copies = plan.get("data")
        if isinstance(plan.get("maxNumSeqs"), int):
            places = int(plan["maxNumSeqs"]) * (copies if isinstance(copies, int) else 1)
        work = Work.from_text(plan.get("pace"))
        work = work.slower(_slowness(plan)) if work is not None else None
    if isinstance(startup, Mapping):
        lead_s = lead_in(startup)
    return Known(places, work, lead_s)


def _slowness(plan: Mapping[str, Any]) -> float:
    """How many times as long as planned a token takes by what engines reported; 1 if unknown.

    The way that ran last comes first in the status; what runs on the same type and was not measured
    yet is taken to be like it, as the planner does.
    """
    measured = plan.get("measured")
    ways = measured.get("ways") if isinstance(measured, Mapping) else None
    for way in ways if isinstance(ways, list) else ():
        if isinstance(way, Mapping) and way.get("accelerator") == plan.get("accelerator"):
            factor = way.get("itl")
            if isinstance(factor, bool) or not isinstance(factor, int | float):
                return 1.0
            return float(factor) if _SLOWNESS[0] <= factor <= _SLOWNESS[1] else 1.0
    return 1.0
