"""A service's object as the numbers of /metrics; nothing that nobody knows is made up.

Read from the object as the API server has it, not from a parsed spec: one look at a thousand
services is to cost milliseconds. An object may be older than its schema, so whatever makes no sense
is left out.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from stoker.model import reasons
from stoker.model.figures import ServiceFigures
from stoker.model.observed import Key, ObservedPod
from stoker.model.platform import Platform
from stoker.model.sizing import Configuration
from stoker.plan import capacity, conditions, measured
from stoker.plan.stored import stored_in
from stoker.planner.time import linear_rate_of
from stoker.quantity import parse_duration
from stoker_worker import modelfacts
from stoker_worker.modelfacts import FactsError

# Conditions that are bad news when they are true; the others are when they are false.
_BAD_WHEN_TRUE: Final = frozenset(
    {
        conditions.KV_DTYPE_NOT_HONOURED,
        conditions.NAME_TAKEN,
        conditions.NODES_UNSUITABLE,
        conditions.SCALED_BY_OTHERS,
        conditions.STALLED,
    }
)
_NEWS: Final = frozenset({conditions.BETTER_PLAN_AVAILABLE, conditions.RECONCILING})
# "Not so", and nothing is wrong.
_FINE: Final = frozenset({reasons.SETTLED, reasons.FIXED_REPLICAS})
_PHASES: Final = {"node": "nodeSeconds", "image": "imageSeconds", "load": "loadSeconds"}
_TARGETS: Final = ("ttft", "itl")
# The highest percentile that is promised speaks for a target.
_PERCENTILES: Final = (("p99", 0.99), ("p90", 0.9), ("p50", 0.5))


def figures_of(
    key: Key, body: Mapping[str, Any], platform: Platform, pods: Iterable[ObservedPod] = ()
) -> ServiceFigures:
    """The numbers of one service. `pods` are needed where replicas exist that do not answer."""
    spec, status = _mapping(body.get("spec")), _mapping(body.get("status"))
    plan = _mapping(status.get("plan"))
    scaling, optimization = _mapping(spec.get("scaling")), _mapping(spec.get("optimization"))
    accelerator = _accelerator(spec, plan, platform)
    waiting = capacity.waiting_pods(pods)
    targets, shares = _targets(scaling, optimization)
    stored = stored_in(status)
    configuration = None if stored is None else stored.configuration
    flops, bandwidth = _peaks(status, configuration, platform)
    return ServiceFigures(
        key=key,
        model=_text(_mapping(status.get("model")).get("name")),
        accelerator=accelerator,
        engine=_text(_mapping(spec.get("engine")).get("name")) or "vllm",
        objective=_text(optimization.get("objective")) or "balanced",
        replicas=_replicas(status),
        limits=_limits(spec, scaling),
        conditions=tuple(_against(status)),
        targets=targets,
        shares=shares,
        accelerators=None if configuration is None else configuration.accelerators,
        flops=flops,
        bandwidth=bandwidth,
        startup=_startup(status),
        residuals=residuals_of(status),
        has_budget=bool(scaling.get("budget")),
        waiting_since=min((pod.created for pod in waiting), default=None),
        deadline_s=capacity.deadline_s(status, accelerator, platform) if waiting else None,
    )


def speaks_against(type_: str, status: str, reason: str) -> bool:
    """Whether a condition says that something is not as it should be."""
    if type_ in _NEWS or reason in _FINE:
        return False
    return status == ("True" if type_ in _BAD_WHEN_TRUE else "False")


def residuals_of(status: Mapping[str, Any]) -> dict[str, float]:
    """Measured over planned, of the plan that runs: kv_tokens, ttft, itl, as far as known."""
    plan = stored_in(status)
    if plan is None or plan.configuration is None:
        return {}
    found = {}
    told = _mapping(plan.status.get("residual"))
    predicted = _number(told.get("kvTokensPredicted"))
    reported = _number(told.get("kvTokensReported"))
    if predicted and reported is not None:
        found["kv_tokens"] = reported / predicted
    way = measured.of_configuration(plan.status.get("measured"), plan.configuration)
    factors = {} if way is None else way.factors
    return found | {name: factors[name] for name in _TARGETS if name in factors}


def _accelerator(spec: Mapping[str, Any], plan: Mapping[str, Any], platform: Platform) -> str:
    planned = _text(plan.get("accelerator"))
    types = _mapping(spec.get("accelerator")).get("types")
    asked = ",".join(map(str, types)) if isinstance(types, list) else ""
    return planned or asked or platform.default_accelerator


def _replicas(status: Mapping[str, Any]) -> dict[str, int]:
    """Nothing before the first status; replicas that exist and do not answer are pending."""
    told = {
        "desired": _number(status.get("desiredReplicas")),
        "ready": _number(status.get("readyReplicas")),
    }
    found = {name: int(value) for name, value in told.items() if value is not None}
    exist = _number(status.get("replicas"))
    if exist is not None and "ready" in found:
        found["pending"] = max(0, int(exist) - found["ready"])
    return found


def _limits(spec: Mapping[str, Any], scaling: Mapping[str, Any]) -> dict[str, int]:
    """A fixed number is both."""
    if not scaling:
        fixed = _number(spec.get("replicas"))
        count = 1 if fixed is None else int(fixed)
        return {"min": count, "max": count}
    low, high = _number(scaling.get("minReplicas")), _number(scaling.get("maxReplicas"))
    told = {"min": 1 if low is None else low, "max": high}
    return {name: int(value) for name, value in told.items() if value is not None}


def _against(status: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for entry in status.get("conditions") or ():
        said = [_text(_mapping(entry).get(name)) for name in ("type", "status", "reason")]
        if speaks_against(*said):
            yield said[0], said[2]


def _targets(
    scaling: Mapping[str, Any], optimization: Mapping[str, Any]
) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds, and the share of requests that is to keep them, where one is promised."""
    seconds, shares = {}, {}
    promised, planned = _mapping(scaling.get("target")), _mapping(optimization.get("targets"))
    for name in _TARGETS:
        given = _mapping(promised.get(name))
        for percentile, share in _PERCENTILES:
            value = _duration(given.get(percentile))
            if value is not None:
                seconds[name], shares[name] = value, share
                break
        else:
            value = _duration(planned.get(name))
            if value is not None:
                seconds[name] = value
    return seconds, shares


def _peaks(
    status: Mapping[str, Any], configuration: Configuration | None, platform: Platform
) -> tuple[float | None, float | None]:
    """Operations and bytes per second that one replica's accelerators do at most."""
    gpu = None if configuration is None else platform.gpus.get(configuration.accelerator)
    if configuration is None or gpu is None:
        return None, None
    try:
        facts = modelfacts.from_json(_text(_mapping(status.get("model")).get("facts")))
    except FactsError:
        return None, gpu.bandwidth * configuration.accelerators
    rate = linear_rate_of(facts, gpu, configuration)
    return rate * configuration.accelerators, gpu.bandwidth * configuration.accelerators


def _startup(status: Mapping[str, Any]) -> dict[str, float]:
    told = _mapping(status.get("startup"))
    values = {phase: _number(told.get(name)) for phase, name in _PHASES.items()}
    return {phase: value for phase, value in values.items() if value is not None}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _duration(value: object) -> float | None:
    try:
        return parse_duration(value) if isinstance(value, str) else None
    except ValueError:
        return None
