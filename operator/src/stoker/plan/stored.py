"""A plan as the status keeps it: numbers for people, and what later passes read again.

The status outlives the operator, so what is read back may come from another version: fields that
are not known are left out, and what makes no sense counts as nothing stored.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from stoker.model.inventory import Supply
from stoker.model.sizing import GIB, Adapter, Alternative, Configuration, Expected, Planned, Range
from stoker.plan.texts import cut

# Counts changes of the planner that people may want to know of; no plan is replaced because of it.
PLANNER_VERSION: Final = "1"
_ALTERNATIVES: Final = 5
_HONOURED: Final = 0.7
# A status stays below 16 KiB, however long its conditions; what is used may say more.
_WHY_LIMIT: Final = {"on": 140, "off": 105, "refused": 200}
_TEXT_LIMIT: Final = 70


@dataclass(frozen=True, slots=True)
class Stored:
    """What an earlier pass decided."""

    spec: str  # digest of what was asked
    model: str  # digest of the model; empty where it was not known
    configuration: Configuration | None  # None: it runs without a plan
    revision: str  # what the plan adds to the revision's name; empty for nothing
    status: Mapping[str, Any]  # all of status.plan
    supply: Supply | None = None  # what nodes had when it was made


def stored_in(status: Mapping[str, Any]) -> Stored | None:
    """The plan that a service's status holds; None where an older operator wrote it."""
    plan = status.get("plan")
    if not isinstance(plan, Mapping) or not isinstance(plan.get("inputs"), Mapping):
        return None
    inputs = plan["inputs"]
    return Stored(
        spec=str(inputs.get("spec", "")),
        model=str(inputs.get("model", "")),
        configuration=_configuration(plan.get("configuration")),
        revision=str(plan.get("revision", "")),
        status=plan,
        supply=Supply.from_json(inputs.get("nodes")),
    )


def lacks_report(status: Mapping[str, Any]) -> bool:
    """Whether a plan runs that no engine has confirmed yet."""
    plan = stored_in(status)
    runs = bool(status.get("readyReplicas"))
    return (
        plan is not None
        and plan.configuration is not None
        and runs
        and "residual" not in plan.status
    )


def residual(plan: Mapping[str, Any], reported: int | None) -> dict[str, int] | None:
    """The plan compared with what an engine reports; what was stored before, else None."""
    known = plan.get("residual")
    if isinstance(known, Mapping):
        return dict(known)
    predicted = plan.get("kvCacheTokens")
    if reported is None or not isinstance(predicted, int):
        return None
    return {"kvTokensPredicted": predicted, "kvTokensReported": reported}


def not_honoured(plan: Mapping[str, Any]) -> tuple[str, int, int] | None:
    """KV type, tokens planned and reported, where the engine cannot have taken the type.

    The planned types take half or a quarter of 16 bits, and estimates err by far less than that.
    """
    configuration, found = _configuration(plan.get("configuration")), plan.get("residual")
    if configuration is None or configuration.kv_dtype == "auto":
        return None
    if not isinstance(found, Mapping):
        return None
    predicted, reported = found.get("kvTokensPredicted", 0), found.get("kvTokensReported", 0)
    if reported >= _HONOURED * predicted:
        return None
    return configuration.kv_dtype, predicted, reported


def configuration_text(configuration: Configuration) -> str:
    """Every field, so that a later default changes nothing."""
    return json.dumps(dataclasses.asdict(configuration), sort_keys=True, separators=(",", ":"))


def offer_id(configuration: Configuration) -> str:
    """Names an offered plan."""
    return hashlib.sha256(configuration_text(configuration).encode()).hexdigest()[:8]


def unplanned_status(summary: str, spec: str) -> dict[str, Any]:
    """status.plan of a service that runs without a plan."""
    return {"summary": summary, "inputs": {"spec": spec, "model": ""}}


def planned_status(planned: Planned, summary: str, spec: str, model: str) -> dict[str, Any]:
    """status.plan of a plan that was just made."""
    configuration, memory = planned.configuration, planned.memory
    return {
        "summary": summary,
        "accelerator": configuration.accelerator,
        "perReplica": configuration.accelerators,
        "tensor": configuration.tensor,
        "pipeline": configuration.pipeline,
        "data": configuration.data,
        "weightsGiB": round(memory.weights / GIB, 2),
        "kvCacheGiB": round(max(0, memory.kv_budget) / GIB, 2),
        "kvCacheTokens": memory.kv_tokens,
        "maxModelLen": configuration.max_model_len,
        "maxNumSeqs": configuration.max_num_seqs,
        "concurrency": planned.concurrency,
        "techniques": [
            {
                "name": technique.name,
                "state": technique.state,
                "reason": technique.reason,
                "why": cut(technique.why, _WHY_LIMIT[technique.state]),
            }
            for technique in planned.techniques
        ],
        "expected": _expected(planned.expected),
        "alternatives": [_alternative(each) for each in planned.alternatives[:_ALTERNATIVES]],
        "configuration": configuration_text(configuration),
        **({} if planned.work is None else {"pace": planned.work.to_text()}),
        "inputs": {"spec": spec, "model": model, "planner": PLANNER_VERSION},
    }


def money(price: float | None) -> str | None:
    """US dollars, with cents."""
    return None if price is None else f"{price:.2f}"


def duration(seconds: float) -> str:
    """Two or three digits in Go's notation: 6.4ms, 163ms, 2.5s."""
    if seconds < 0.01:
        return f"{seconds * 1000:.1f}ms"
    return f"{seconds * 1000:.0f}ms" if seconds < 1 else f"{seconds:.3g}s"


def _expected(expected: Expected) -> dict[str, Any]:
    status: dict[str, Any] = {
        "concurrency": expected.concurrency,
        "ttft": _range(expected.ttft_s, duration),
        "itl": _range(expected.itl_s, duration),
        "tokensPerSecond": _range(expected.output_tokens_per_s, _rate),
    }
    if expected.cost_per_million_tokens is not None:
        status["costPerMillionTokens"] = _range(expected.cost_per_million_tokens, _cents)
    if expected.price_per_hour is not None:
        status["pricePerHour"] = _cents(expected.price_per_hour)
    return status


def _alternative(each: Alternative) -> dict[str, Any]:
    status: dict[str, Any] = {
        "change": cut(each.change, _TEXT_LIMIT),
        "concurrency": each.concurrency,
    }
    if each.expected.price_per_hour is not None:
        status["pricePerHour"] = _cents(each.expected.price_per_hour)
    return status


def _range(value: Range, write: Any) -> dict[str, str]:  # noqa: ANN401 - a function of a number
    return {
        "low": write(value.low),
        "typical": write(value.typical),
        "high": write(value.high),
    }


def _rate(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _cents(value: float) -> str:
    return f"{value:.2f}"


def _configuration(text: object) -> Configuration | None:
    if not isinstance(text, str):
        return None
    try:
        given = json.loads(text)
        known = {field.name for field in dataclasses.fields(Configuration)}
        values = {name: value for name, value in given.items() if name in known}
        values["adapters"] = tuple(Adapter(*each) for each in values.get("adapters", ()))
        return Configuration(**values)
    except (ValueError, TypeError, AttributeError):
        return None
