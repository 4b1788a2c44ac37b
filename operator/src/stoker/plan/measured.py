"""What the engines of a service have taught, as its status keeps it for the next plan.

One entry per way that the service ran: accelerator type, cut of the model (tensor, pipeline, data),
types of weights and cache. It holds factors of the KV cache, of the first token and of the time per
token. Entries outlive their plans, and are dropped when the model, the engine's version, the
planner or the allowed types become others. A way that has not run yet is corrected like the last
one that ran on its type, as nothing nearer is known and as not having run is no merit. Several ways
are kept for the same reason: were the lesson of one forgotten while another runs, it would look
better than it is, and who accepts every offer would be sent back and forth.

Status is no feed, and small: what all entries share is told once. A factor is written when it is
first known and when it has moved by more than a tenth; one of time only after two windows in a row
agree to a tenth.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Final

from stoker import naming
from stoker.catalog.enginefile import version_of_image
from stoker.model.observed import Observed
from stoker.model.sizing import Configuration
from stoker.plan.stored import PLANNER_VERSION, stored_in
from stoker.planner.calibration import Residual, Way, way_of
from stoker.planner.feedback import KV_BOUNDS, TIME_BOUNDS, Finding
from stoker.render import workload

_MOVED: Final = 1.1
_KEPT: Final = 3
_WAY: Final = ("parallelism", "quantization", "kvCacheDtype")
_BOUNDS: Final = {"kv": KV_BOUNDS, "ttft": TIME_BOUNDS, "itl": TIME_BOUNDS}


@dataclass(frozen=True, slots=True)
class Measured:
    """Factors, observed over estimated, of one way to run; None where nothing was compared."""

    accelerator: str
    way: Way
    kv: float | None = None
    ttft: float | None = None
    itl: float | None = None

    @property
    def key(self) -> tuple[str, Way]:
        """What no two entries share."""
        return self.accelerator, self.way

    @property
    def factors(self) -> dict[str, float]:
        """Those that are known, by name."""
        told = {"kv": self.kv, "ttft": self.ttft, "itl": self.itl}
        return {name: factor for name, factor in told.items() if factor is not None}

    @property
    def residual(self) -> Residual:
        """As the planner takes it."""
        return Residual(**self.factors)

    @property
    def status(self) -> dict[str, Any]:
        """One entry of status.plan.measured.ways."""
        told: dict[str, Any] = {"accelerator": self.accelerator}
        told |= zip(_WAY, self.way, strict=True)
        told |= self.factors
        cut = [name for name, factor in self.factors.items() if factor in _BOUNDS[name]]
        if cut:
            told["note"] = f"{', '.join(cut)}: cut to a bound"
        return told


def engine_of(image: str) -> str:
    """What engine an image holds: its version, or a name of the image where it tells none."""
    return version_of_image(image) or f"image {sha256(image.encode()).hexdigest()[:12]}"


def engines_of(observed: Observed, revision: str) -> set[str]:
    """Engines that a revision's pods hold, as its workload says."""
    images = [
        workload.image_of(each.body)
        for each in observed.objects
        if each.kind in workload.KINDS
        and (each.body["metadata"].get("labels") or {}).get(naming.LABEL_REVISION) == revision
    ]
    return {engine_of(image) for image in images if image is not None}


def status_of(known: Sequence[Measured], engine: str, model: str) -> dict[str, Any] | None:
    """As status.plan.measured; None where nothing is known."""
    if not known:
        return None
    shared = {"engine": engine, "model": model, "planner": PLANNER_VERSION}
    return shared | {"ways": [each.status for each in known]}


def place(configuration: Configuration) -> Measured:
    """What factors of this configuration are about; without any yet."""
    return Measured(configuration.accelerator, way_of(configuration))


def by_type(known: Sequence[Measured]) -> dict[str, dict[Way, Residual]]:
    """Corrections by accelerator type and way, the last one that ran first."""
    found: dict[str, dict[Way, Residual]] = {}
    for each in known:
        found.setdefault(each.accelerator, {})[each.way] = each.residual
    return found


def valid(
    status: Mapping[str, Any], engine: str, model: str, types: Collection[str]
) -> tuple[Measured, ...]:
    """Entries of a service's status that hold for this engine, this model and these types."""
    plan = status.get("plan")
    kept = plan.get("measured") if isinstance(plan, Mapping) else None
    shared = {"engine": engine, "model": model, "planner": PLANNER_VERSION}
    if not isinstance(kept, Mapping) or any(kept.get(name) != shared[name] for name in shared):
        return ()
    return tuple(each for each in _ways(kept) if each.accelerator in types)[:_KEPT]


def learn(
    known: Sequence[Measured],
    where: Measured,
    kv: Finding | None,
    windows: Sequence[tuple[Finding, Finding]],
) -> tuple[Measured, ...]:
    """What is known after a look at the engines that run.

    `windows` are the last findings of the first token and of the time per token, the older first.
    """
    before = next((each for each in known if each.key == where.key), where)
    after = replace(
        before,
        kv=_moved(before.kv, kv),
        ttft=_moved(before.ttft, _agreed([ttft for ttft, _ in windows])),
        itl=_moved(before.itl, _agreed([itl for _, itl in windows])),
    )
    if not after.factors:
        return tuple(known)
    others = [each for each in known if each.key != where.key]
    return (after, *others)[:_KEPT]


def is_settled(status: Mapping[str, Any]) -> bool:
    """Whether the time per token of the plan that runs is known."""
    plan = stored_in(status)
    if plan is None or plan.configuration is None:
        return False
    way = of_configuration(plan.status.get("measured"), plan.configuration)
    return way is not None and way.itl is not None


def of_configuration(kept: object, configuration: Configuration) -> Measured | None:
    """What status.plan.measured holds of the way that this configuration runs."""
    here = place(configuration)
    ways = _ways(kept) if isinstance(kept, Mapping) else ()
    return next((each for each in ways if each.key == here.key), None)


def lacks_times(status: Mapping[str, Any]) -> bool:
    """Whether a plan runs whose times could be learned and are not known."""
    plan = stored_in(status)
    if plan is None or plan.configuration is None or not status.get("readyReplicas"):
        return False
    return plan.configuration.speculation == "none" and not is_settled(status)


def _moved(before: float | None, now: Finding | None) -> float | None:
    if now is None or now.factor is None:
        return before
    return before if before is not None and _near(before, now.factor) else now.factor


def _agreed(findings: Sequence[Finding]) -> Finding | None:
    """The newer of the last two, where they agree."""
    if len(findings) < 2:
        return None
    older, newer = findings[-2:]
    if older.factor is None or newer.factor is None or not _near(older.factor, newer.factor):
        return None
    return newer


def _near(one: float, other: float) -> bool:
    return one <= other * _MOVED and other <= one * _MOVED


def _ways(kept: Mapping[str, Any]) -> tuple[Measured, ...]:
    """Entries that were stored, without those that make no sense."""
    raw = kept.get("ways")
    found: dict[tuple[str, Way], Measured] = {}
    for each in raw if isinstance(raw, list) else ():
        if not isinstance(each, Mapping):
            continue
        names = [each.get(name) for name in ("accelerator", *_WAY)]
        if not all(isinstance(name, str) for name in names):
            continue
        accelerator, cut, weights, cache = map(str, names)
        factors = {name: _sane(each.get(name), *bounds) for name, bounds in _BOUNDS.items()}
        entry = Measured(accelerator, (cut, weights, cache), **factors)
        found.setdefault(entry.key, entry)
    return tuple(found.values())


def _sane(factor: object, low: float, high: float) -> float | None:
    if isinstance(factor, bool) or not isinstance(factor, int | float):
        return None
    return float(factor) if math.isfinite(factor) and low <= factor <= high else None


def reported(observed: Observed, revision: str) -> int | None:
    """Tokens of KV cache that the replicas of a revision report; the least of them."""
    told = [
        observed.kv_tokens[pod.name]
        for pod in observed.pods
        if pod.revision == revision and pod.name in observed.kv_tokens
    ]
    return min(told, default=None)
