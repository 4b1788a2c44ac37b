"""What `stoker simulate` reads: a trace, a service, how replicas start."""

import gzip
import math
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import yaml

from stoker import autoscale
from stoker.api.v1alpha1 import InferenceService
from stoker.autoscale.policy import Known
from stoker.catalog.enginefile import version_of_image
from stoker.catalog.load import builtin_engines
from stoker.commands import inputs
from stoker.model import schedule
from stoker.model.budget import price_in
from stoker.model.sizing import Planned
from stoker.plan import budget
from stoker.plan.stored import money
from stoker.planner.batching import Arrival
from stoker.planner.calibration import calibration_of
from stoker.planner.decide import plan
from stoker.planner.request import request_of
from stoker.planner.time import pace_of
from stoker.simulate import trace
from stoker.simulate.policy import Bounds
from stoker.simulate.service import Linear, Service, measured_service, planned_service
from stoker.simulate.starts import Phase, Starts
from stoker_worker.modelfacts import ModelFacts

# Fields of a file of coefficients: what they are called there, and here with their unit.
_TIMES: Final = {
    "stepMs": ("step_s", 1e3),
    "sequenceUs": ("sequence_s", 1e6),
    "contextTokenNs": ("context_token_s", 1e9),
    "promptTokenUs": ("prompt_token_s", 1e6),
    "promptKeyNs": ("prompt_key_s", 1e9),
}
_COUNTS: Final = ("kvTokens", "maxNumSeqs", "maxNumBatchedTokens", "accelerators")
_NEEDED: Final = ("stepMs", "promptTokenUs", "kvTokens", "maxNumSeqs")
_PHASES: Final = {
    "node": "node",
    "image": "image",
    "weights": "weights",
    "compile": "compile",
    "warmUp": "warm_up",
}
_CHANCES: Final = {
    "warmNodes": "warm_nodes",
    "nodeStays": "node_stays_s",
    "notGranted": "not_granted",
    "neverReady": "never_ready",
    "spotLossesPerHour": "spot_losses_per_hour",
}
_PROBABILITIES: Final = ("notGranted", "neverReady")


def read_trace(path: Path) -> tuple[Arrival, ...]:
    """Arrivals of a file, compressed by gzip or not."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        if packed:
            with gzip.open(path, "rt", encoding="utf-8") as lines:
                return trace.parse(lines, str(path))
        with path.open(encoding="utf-8") as lines:
            return trace.parse(lines, str(path))
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or "not a whole gzip file"
        raise inputs.InputError(f"{path}: cannot be read ({reason})") from error
    except UnicodeDecodeError as error:
        raise inputs.InputError(f"{path}: is not text") from error
    except trace.TraceError as error:
        raise inputs.InputError(str(error)) from error


def read_coefficients(path: Path) -> Service:
    """A service from measured coefficients."""
    data = _mapping(path)
    known = (*_TIMES, *_COUNTS)
    for name in data:
        if name not in known:
            raise inputs.InputError(f"{path}: {name}: unknown; known: {', '.join(known)}")
    for name in _NEEDED:
        if name not in data:
            raise inputs.InputError(f"{path}: {name}: missing")
    times = {
        field: _number(data.get(name, 0), f"{path}: {name}") / unit
        for name, (field, unit) in _TIMES.items()
    }
    counts = {
        name: int(_number(data[name], f"{path}: {name}", least=1))
        for name in _COUNTS
        if name in data
    }
    if times["step_s"] <= 0:
        raise inputs.InputError(f"{path}: stepMs: must be above 0")
    chunk = counts.get("maxNumBatchedTokens", 2048)
    return measured_service(
        Linear(**times, chunk=chunk),
        counts["kvTokens"],
        counts["maxNumSeqs"],
        counts.get("accelerators", 1),
    )


def plan_service(
    service: InferenceService, facts: ModelFacts, types: tuple[str, ...], catalogue: Path | None
) -> tuple[Service, Planned]:
    """A service as Stoker would plan it, and the plan."""
    gpus = inputs.read_catalogue(catalogue)
    version = version_of_image(service.spec.engine.image or "")
    request = request_of(service.spec, version)
    if types:
        request = replace(request, accelerators=inputs.known_types(gpus, types))
    features = builtin_engines()[request.engine].at(version)
    answer = plan(request, facts, gpus, features)
    if not isinstance(answer, Planned):
        raise inputs.InputError(
            f"nothing to simulate, as there is no plan: {answer.verdict.message}"
        )
    gpu = gpus[answer.configuration.accelerator]
    calibration = calibration_of(gpu, facts, version)
    pace = pace_of(facts, gpu, answer.configuration, calibration)
    return planned_service(answer, pace), answer


def rules_of(service: InferenceService, planned: Planned) -> autoscale.Policy | None:
    """The operator's rules of a service with this plan; None where the spec has no scaling.

    What the operator would refuse once it has a plan is refused here: schedules and budgets.
    """
    given = service.spec.scaling
    if given is None:
        return None
    entries = schedule.entries_of(given)
    problem = schedule.problem_of(entries)
    if problem is not None:
        raise inputs.InputError(f"spec.scaling.schedule{problem}")
    priced = {"expected": {"pricePerHour": money(planned.expected.price_per_hour)}}
    refused = budget.refuse(given, priced, planned.configuration.accelerator)
    if refused is not None:
        raise inputs.InputError(f"spec.{refused.message}")
    known = Known(places=planned.configuration.max_num_seqs, price=price_in(priced))
    return autoscale.policy_of(service.spec, None, known)


def bounds_of(rules: autoscale.Policy | None) -> Bounds:
    """The spec's own bounds; the simulator's where there are none."""
    if rules is None:
        return Bounds()
    return Bounds(rules.min_replicas, rules.max_replicas, max(1, rules.min_replicas))


def began(rules: autoscale.Policy | None, text: str | None) -> float:
    """When the trace's first second is, in Unix seconds; a schedule cannot do without."""
    if text is None:
        if rules is not None and rules.schedule:
            raise inputs.InputError(
                "spec.scaling.schedule needs a time of day: pass --begin, for example "
                "--begin 2026-03-02T07:00+08:00"
            )
        return 0.0
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise inputs.InputError(
            f"--begin {text}: is no time; write for example 2026-03-02T07:00+08:00"
        ) from error
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def read_starts(changes: Iterable[str]) -> Starts:
    """How replicas start, from `name=value` words; a phase may have a spread: node=100~0.3."""
    found: dict[str, Any] = {}
    for change in changes:
        name, equals, text = change.partition("=")
        where = f"--start {change}"
        if not equals or name not in {**_PHASES, **_CHANCES}:
            names = ", ".join((*_PHASES, *_CHANCES))
            raise inputs.InputError(f"{where}: write name=number, with a name of {names}")
        if name in _PHASES:
            median, tilde, sigma = text.partition("~")
            spread = _number(sigma, where, most=3) if tilde else 0.0
            found[_PHASES[name]] = Phase(_number(median, where), spread)
        else:
            most = 1.0 if name in _PROBABILITIES else math.inf
            value = _number(text, where, most=most)
            found[_CHANCES[name]] = int(value) if name == "warmNodes" else value
    assert found.keys() <= {each.name for each in fields(Starts)}  # noqa: S101 - the tables above
    return Starts(**found)


def _mapping(path: Path) -> Mapping[str, Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise inputs.InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise inputs.InputError(f"{path}: is not YAML") from error
    if not isinstance(data, dict):
        raise inputs.InputError(f"{path}: must be a mapping: stepMs: 8, …")
    return data


def _number(value: object, where: str, *, least: float = 0, most: float = math.inf) -> float:
    try:
        number = float(str(value))
    except ValueError:
        number = math.nan
    if isinstance(value, bool) or not least <= number <= most or math.isinf(number):
        limit = f" and at most {most:g}" if most < math.inf else ""
        raise inputs.InputError(f"{where}: must be a number of at least {least:g}{limit}")
    return number
