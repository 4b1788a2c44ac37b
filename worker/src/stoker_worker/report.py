"""What the worker says about itself: probes, metrics and state, from values alone."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Dict, List, Optional, Tuple

from stoker_worker import contract
from stoker_worker.proof import Proof
from stoker_worker.server import Response
from stoker_worker.state import Phase, State

if TYPE_CHECKING:
    from stoker_worker.keeping import Kept

# The loop turns twice a second; if it has not for this long, only a restart helps.
LOOP_DEADLINE_S = 60.0

_CORRUPT = contract.TerminationReason.MODEL_CORRUPT
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class Counts:
    """What happened so far."""

    probes_answered: int = 0
    probes_failed: int = 0
    samples_read: int = 0
    samples_missed: int = 0
    stalls: int = 0


@dataclass(frozen=True)
class View:
    """All that an answer is made of."""

    engine: str
    state: State
    counts: Counts
    now: float
    container_started_at: float  # on the same clock as `now`
    rank: Optional[int] = None  # within a group of pods that is one replica
    proof: Optional[Proof] = None  # of the model's files; None where they have no manifest
    kept: Optional[Kept] = None  # of compiled kernels; None where nothing is kept


def answer(path: str, view: View) -> Optional[Response]:
    """Answer one path; None for a path that is not ours."""
    if path == contract.PATH_READY:
        return _ready(view)
    if path == contract.PATH_LIVE:
        return _live(view)
    if path == contract.PATH_METRICS:
        return Response(200, render_metrics(view), METRICS_TYPE)
    if path == contract.PATH_STATE:
        return Response(200, json.dumps(render_state(view)) + "\n", "application/json")
    return None


def _ready(view: View) -> Response:
    phase = view.state.phase.value
    return Response(200, f"{phase}\n") if view.state.ready else Response(503, f"{phase}\n")


def _live(view: View) -> Response:
    silent = view.now - view.state.seen_at
    if silent > LOOP_DEADLINE_S:
        return Response(503, f"the supervisor has not moved for {silent:.0f} s\n")
    return Response(200, "ok\n")


def start_seconds(view: View) -> Dict[str, float]:
    """Seconds from the container's start to each milestone that has been reached."""
    reached = (
        ("engineStarted", view.state.started_at),
        ("modelProven", view.state.proven_at),
        ("healthy", view.state.healthy_at),
        ("firstToken", view.state.first_token_at),
    )
    since = view.container_started_at
    return {name: round(at - since, 3) for name, at in reached if at is not None}


def render_state(view: View) -> Dict[str, object]:
    """Render /state."""
    state = view.state
    outcome = state.outcome
    return {
        "contract": contract.CONTRACT_VERSION,
        "engine": view.engine,
        "phase": state.phase.value,
        "ready": state.ready,
        "startSeconds": start_seconds(view),
        "quietSeconds": round(_quiet(view), 3),
        "stalls": view.counts.stalls,
        "outcome": None if outcome is None else outcome.reason,
        **({} if view.rank is None else {"rank": view.rank}),
        **({} if view.proof is None else {"model": _model(view.proof, state)}),
        **({} if view.kept is None else {"compiled": asdict(view.kept)}),
        **({} if state.profile is None else {"profile": state.profile.stage.value}),
    }


def _model(proof: Proof, state: State) -> Dict[str, object]:
    corrupt = state.outcome is not None and state.outcome.reason == _CORRUPT
    return {
        "files": proof.files,
        "hashed": len(proof.suspects),
        "checkSeconds": round(proof.seconds, 4),
        "proof": "bad" if corrupt else "pending" if state.unproven else "good",
    }


def _quiet(view: View) -> float:
    judged = view.state.phase in (Phase.READY, Phase.STALLED)
    return max(0.0, view.state.quiet_s(view.now)) if judged else 0.0


def render_metrics(view: View) -> str:
    """Render /metrics in Prometheus' text format."""
    counts = view.counts
    lines: List[str] = []

    def write(name: str, kind: str, text: str, *samples: Tuple[str, float]) -> None:
        lines.append(f"# HELP stoker_worker_{name} {text}")
        lines.append(f"# TYPE stoker_worker_{name} {kind}")
        lines.extend(f"stoker_worker_{name}{labels} {value:g}" for labels, value in samples)

    write(
        "phase",
        "gauge",
        "1 for the phase of the engine's life that it is in.",
        *((f'{{phase="{phase.value}"}}', float(phase is view.state.phase)) for phase in Phase),
    )
    write(
        "start_seconds",
        "gauge",
        "Seconds from the start of the container to each milestone.",
        *((f'{{milestone="{name}"}}', value) for name, value in start_seconds(view).items()),
    )
    write(
        "quiet_seconds",
        "gauge",
        "Age of the last sign that the engine makes progress or has nothing to do.",
        ("", _quiet(view)),
    )
    write(
        "probes_total",
        "counter",
        "Requests for tokens that the worker made itself.",
        ('{result="answered"}', counts.probes_answered),
        ('{result="failed"}', counts.probes_failed),
    )
    write(
        "heartbeats_total",
        "counter",
        "Looks at the engine's metrics.",
        ('{result="read"}', counts.samples_read),
        ('{result="missed"}', counts.samples_missed),
    )
    if view.proof is not None:
        write(
            "model_files",
            "gauge",
            "Files of the model, by what proves them: their state, or a hash of every byte.",
            ('{by="state"}', view.proof.files - len(view.proof.suspects)),
            ('{by="hash"}', len(view.proof.suspects)),
        )
    if view.kept is not None:
        write(
            "compiled_files",
            "gauge",
            "Files of compiled kernels that this start began with.",
            ("", view.kept.files),
        )
    write("stalls_total", "counter", "Times that the engine left rotation.", ("", counts.stalls))
    return "\n".join(lines) + "\n"
