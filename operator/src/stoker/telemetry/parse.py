"""From what a pod answered to a sample, or to words that say why there is none.

A pod is not trusted: its answer may be an error page, huge, half a document, or hold NaN. Each of
these raises `SampleError`; none becomes a zero. A metric that is absent is absent: an engine that
does not report its queue has no known queue. Only the few lines that matter are parsed at all, as
an engine's metrics are hundreds of kilobytes of histograms.
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final

from prometheus_client.parser import text_string_to_metric_families

from stoker.model.load import EngineSample, FrontendSample
from stoker.telemetry.timings import timings_of

_RUNNING: Final = "vllm:num_requests_running"
_WAITING: Final = "vllm:num_requests_waiting"
_KV_CACHE: Final = "vllm:kv_cache_usage_perc"
_CACHE: Final = "vllm:cache_config_info"
_ENGINE_METRICS: Final = (_RUNNING, _WAITING, _KV_CACHE)
_LABEL: Final = re.compile(r'([a-z_]+)="([^"]*)"')
# One line per data-parallel rank; more than this is no engine.
_LINES_LIMIT: Final = 512
# No service has a billion requests in flight; such a number is a broken counter.
_COUNT_LIMIT: Final = 1e9


class SampleError(ValueError):
    """What was answered says nothing about the load."""


def engine_sample(pod: str, text: str) -> EngineSample:
    """Read an engine's Prometheus metrics. Ranks of one replica are added up."""
    values = _values(text)
    return EngineSample(
        pod=pod,
        running=_count(values, _RUNNING),
        waiting=_count(values, _WAITING),
        kv_cache=max(values[_KV_CACHE]) if _KV_CACHE in values else None,
        kv_tokens=_kv_tokens(text),
        timings=timings_of(text),
    )


def frontend_sample(pod: str, text: str) -> FrontendSample:
    """Read a frontend's few statistics.

    Envoy counts requests twice, on their way in (`track_…`) and on their way to an engine
    (`engines_…`); what is in the first and not in the second waits for an engine. Retries are not
    requests of their own.
    """
    stats = _statistics(text)
    active = _sum(stats, "track_", "upstream_rq_active")
    if active is None:
        raise SampleError("the answer has no statistics of the frontend's tracks")
    computing = _sum(stats, "engines_", "upstream_rq_active") or 0.0
    total = _sum(stats, "track_", "upstream_rq_total") or 0.0
    retries = _sum(stats, "track_", "upstream_rq_retry") or 0.0
    return FrontendSample(
        pod=pod,
        held=max(0, round(active - computing)),
        active=round(active),
        requests_total=max(0.0, total - retries),
    )


def _values(text: str) -> dict[str, list[float]]:
    lines = [line for line in text.splitlines() if line.startswith(_ENGINE_METRICS)]
    if len(lines) > _LINES_LIMIT:
        raise SampleError(f"{len(lines)} lines of metrics where a few are expected")
    values: dict[str, list[float]] = {}
    try:
        for family in text_string_to_metric_families("\n".join(lines) + "\n"):
            for sample in family.samples:
                if sample.name in _ENGINE_METRICS:
                    values.setdefault(sample.name, []).append(_sane(sample.name, sample.value))
    except SampleError:
        raise
    except Exception as error:
        # The parser raises whatever its input made of it, from ValueError to IndexError.
        raise SampleError(f"metrics that cannot be parsed: {error}") from error
    return values


def _kv_tokens(text: str) -> int | None:
    """Tokens that the KV caches of all ranks hold; None where that is not told (yet)."""
    lines = [line for line in text.splitlines() if line.startswith(f"{_CACHE}{{")]
    total = 0
    for line in lines[:_LINES_LIMIT]:
        told = dict(_LABEL.findall(line))
        blocks = told.get("num_gpu_blocks", "")
        tokens = told.get("kv_cache_size_tokens", "")
        if tokens.isdecimal():  # what counts where layers of several kinds share the blocks
            total += int(tokens)
        elif blocks.isdecimal() and told.get("block_size", "").isdecimal():
            total += int(blocks) * int(told["block_size"])
    return total if 0 < total <= _COUNT_LIMIT else None


def _count(values: Mapping[str, list[float]], name: str) -> int:
    if name not in values:
        raise SampleError(f"{name} is not reported")
    return round(sum(values[name]))


def _statistics(text: str) -> dict[str, float]:
    try:
        entries = json.loads(text)["stats"]
        found = {}
        for entry in entries:
            if isinstance(entry, dict) and "name" in entry:
                found[str(entry["name"])] = _sane(str(entry["name"]), entry.get("value"))
    except SampleError:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SampleError("the answer is not a frontend's statistics") from error
    return found


def _sum(stats: Mapping[str, float], prefix: str, suffix: str) -> float | None:
    values = [
        value
        for name, value in stats.items()
        if name.startswith(f"cluster.{prefix}") and name.endswith(f".{suffix}")
    ]
    return sum(values) if values else None


def _sane(name: str, value: Any) -> float:  # noqa: ANN401 (whatever a pod answered)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SampleError(f"{name} is not a number")
    if math.isnan(value):
        raise SampleError(f"{name} is NaN")
    if not 0 <= value <= _COUNT_LIMIT and not name.endswith(("_total", "_retry")):
        raise SampleError(f"{name} is {value}")
    if value < 0 or math.isinf(value):
        raise SampleError(f"{name} is {value}")
    return float(value)
