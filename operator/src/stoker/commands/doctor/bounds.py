"""What bounds a service: an ordered list, measured signs first, the planner's model last.

A full KV cache and a queue speak for themselves. Compute and memory bandwidth are judged by the
engine's own counters over the catalogue's peaks, each against the share of its peak that real runs
reach. Where an engine has no such counters the model of time says what its step spends itself on,
and that it is the model's word is said with it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from stoker.commands.doctor.figures import Figures
from stoker.commands.doctor.theory import BANDWIDTH, COMPUTE, HOST, NETWORK, Theory
from stoker.telemetry.dialects import not_known

KV: Final = "KV capacity"
QUEUE: Final = "queue"
NOTHING: Final = "nothing"
UNKNOWN: Final = "not known"
_KV_FULL: Final = 0.9  # from here on the picker counts a replica as full
_PLACES_FULL: Final = 0.95
# Share of what real runs reach, from which on it bounds.
_REACHED: Final = 0.6
_CPU_FULL: Final = 0.9
_MEASURED: Final = "measured"
_MODEL: Final = "the planner's model, not measured"


@dataclass(frozen=True, slots=True)
class Bound:
    """What bounds the service, in words and numbers."""

    name: str
    words: str
    basis: str = _MEASURED
    figures: Mapping[str, float] = field(default_factory=dict)


def bound_of(figures: Figures | None, theory: Theory | None) -> Bound:
    """The first that answers."""
    if figures is None:
        return Bound(UNKNOWN, "the engines' own numbers could not be read", basis="")
    if not figures.known:
        return Bound(UNKNOWN, f"what it computes is {not_known(figures.engine)}", basis="")
    for check in _CHECKS:
        found = check(figures, theory)
        if found is not None:
            return found
    missing = "the plan, the model's facts or the accelerator's peaks" if theory is None else "load"
    return Bound(UNKNOWN, f"no sign is strong enough, and {missing} is not known", basis="")


def shares(figures: Figures, theory: Theory | None) -> tuple[float | None, float | None]:
    """MFU and use of the memory's bandwidth, 0 to 1; None where one side is not known."""
    if theory is None:
        return None, None
    peak, width = theory.peak_flops, theory.gpu.bandwidth
    mfu = None if figures.flops is None or not peak else figures.flops / peak
    mbu = None if figures.bandwidth is None or not width else figures.bandwidth / width
    return mfu, mbu


def _idle(figures: Figures, _: Theory | None) -> Bound | None:
    if not figures.idle:
        return None
    return Bound(NOTHING, f"no request came in {figures.seconds:.0f} s, so nothing bounds it now")


def _kv(figures: Figures, _: Theory | None) -> Bound | None:
    pressed = bool(figures.waiting and figures.waiting >= 1) or bool(figures.preemptions)
    if figures.kv is None or figures.kv < _KV_FULL or not pressed:
        return None
    told = {"kvCacheUsage": figures.kv}
    words = f"the KV cache is {figures.kv:.0%} full"
    if figures.waiting is not None:
        told["waiting"] = figures.waiting
        words += f" and {figures.waiting:.0f} requests wait"
    pushed = f", {figures.preemptions:.2g} preemptions/s" if figures.preemptions else ""
    return Bound(KV, f"{words}{pushed}", figures=told)


def _queue(figures: Figures, theory: Theory | None) -> Bound | None:
    if not figures.waiting or figures.waiting < 1 or figures.running is None:
        return None
    places = None if theory is None else theory.configuration.max_num_seqs
    if places is not None and figures.running < _PLACES_FULL * places:
        return None
    of = "" if places is None else f" of {places} places"
    return Bound(
        QUEUE,
        f"{figures.running:.0f}{of} are taken and {figures.waiting:.0f} requests wait for one",
        figures={"running": figures.running, "waiting": figures.waiting},
    )


def _counters(figures: Figures, theory: Theory | None) -> Bound | None:
    mfu, mbu = shares(figures, theory)
    if theory is None or mfu is None or mbu is None:
        return None
    reached = {
        COMPUTE: mfu / theory.calibration.mfu,
        BANDWIDTH: mbu / theory.calibration.mbu_weights,
    }
    name = max(reached, key=lambda each: reached[each])
    if reached[name] < _REACHED:
        return None
    return Bound(
        name,
        f"{mfu:.0%} of the peak operations and {mbu:.0%} of the memory's bandwidth are used; real "
        f"runs reach {theory.calibration.mfu:.0%} and {theory.calibration.mbu_weights:.0%}",
        figures={"mfu": mfu, "memoryBandwidth": mbu},
    )


def _cpu(figures: Figures, _: Theory | None) -> Bound | None:
    if figures.cpu is None or not figures.cpu_limit:
        return None
    used = figures.cpu / figures.cpu_limit
    if used < _CPU_FULL:
        return None
    return Bound(
        HOST,
        f"the busiest engine uses {figures.cpu:.1f} of its {figures.cpu_limit:g} processor cores",
        figures={"cores": figures.cpu, "limit": figures.cpu_limit},
    )


def _model(figures: Figures, theory: Theory | None) -> Bound | None:
    if theory is None or not figures.running:
        return None
    parts = theory.parts(figures)
    if not parts:
        return None
    name = max(parts, key=lambda each: parts[each])
    spent = ", ".join(
        f"{each} {share:.0%}"
        for each, share in sorted(parts.items(), key=lambda pair: -pair[1])
        if share >= 0.01
    )
    seen = "" if figures.itl_s is None else f"; {_ms(figures.itl_s)} per token are measured, "
    expected = f"{_ms(theory.token_s(figures))} expected" if seen else ""
    return Bound(
        name,
        f"at {figures.running:.0f} running requests a step would be shorter without: "
        f"{spent}{seen}{expected}",
        basis=_MODEL,
        figures={_KEYS[each]: round(share, 3) for each, share in parts.items()},
    )


_KEYS: Final = {
    COMPUTE: "compute",
    BANDWIDTH: "memoryBandwidth",
    HOST: "hostCpu",
    NETWORK: "network",
}


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms"


_CHECKS: Final[tuple[Callable[[Figures, Theory | None], Bound | None], ...]] = (
    _idle,
    _kv,
    _queue,
    _counters,
    _cpu,
    _model,
)
