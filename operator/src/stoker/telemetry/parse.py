"""From what a pod answered to a sample, or to words that say why there is none.

A pod is not trusted: its answer may be an error page, huge, half a document, or hold NaN. Each of
these raises `SampleError`; none becomes a zero. A metric that is absent is absent: an engine that
does not report its queue has no known queue (`MetricAbsentError`, as waiting does not mend it).
Only the few lines that matter are looked at, by their beginning: an engine's own page has hundreds
of kilobytes of histograms.

A worker's page says whose it is. An address is given to another pod sooner or later, so what
answers there as another pod is refused.
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final

from stoker.model.load import EngineSample, FrontendSample
from stoker.telemetry import dialects
from stoker.telemetry.dialects import Series
from stoker.telemetry.timings import buckets_of, timings_of

_NUMBERS: Final = frozenset(
    {name for series in dialects.SERIES for name in series.metrics}
    | {dialects.PAGE_AGE, dialects.ENGINE_START}
)
_LABELLED: Final = frozenset({dialects.CACHE_CONFIG, dialects.PAGE_INFO})
_WANTED: Final = tuple(sorted(_NUMBERS | _LABELLED))
_LABEL: Final = re.compile(r'([a-z_]+)="([^"]*)"')
# Whose names are told where a page is in nobody's dialect: the engine that Stoker starts.
_DEFAULT: Final = "vllm"
# One line per data-parallel rank; more than this is no engine.
_LINES_LIMIT: Final = 512
# No service has a billion requests in flight; such a number is a broken counter.
_COUNT_LIMIT: Final = 1e9
# Lines that a busy engine's worker has kept longer than this say nothing about now.
_AGE_LIMIT_S: Final = 10.0


class SampleError(ValueError):
    """What was answered says nothing about the load."""


class MetricAbsentError(SampleError):
    """A page of metrics lacks a series without which nothing can be decided."""

    def __init__(self, series: Series, engine: str, version: str) -> None:
        its = f"its engine (version {version})" if version else "its engine"
        super().__init__(f"{its} does not report {series.absent(engine)}")
        self.version = version


def engine_sample(pod: str, text: str, uid: str = "", *, histograms: bool = False) -> EngineSample:
    """Read an engine's Prometheus metrics, whole or as its worker passes them on.

    Ranks of one replica are added up. The `histograms` of times are read only where they are asked
    for.

    Raises
    ------
    MetricAbsentError
        A needed series is not there.
    SampleError
        Anything else is wrong, or the page is another pod's.
    """
    values, labels = _read(text)
    about = dict(_LABEL.findall(next(iter(labels.get(dialects.PAGE_INFO, ())), "")))
    _check_owner(about, pod, uid)
    age = max(values.get(dialects.PAGE_AGE, (0.0,)))
    if age > _AGE_LIMIT_S:
        raise SampleError(f"its engine has not answered its worker for {age:.0f} s")
    running = _count(values, dialects.RUNNING, about, text)
    waiting = _count(values, dialects.WAITING, about, text)
    cache = _first(values, dialects.KV_CACHE)
    return EngineSample(
        pod=pod,
        running=running,
        waiting=waiting,
        kv_cache=None if cache is None else max(cache),
        kv_tokens=_kv_tokens(labels.get(dialects.CACHE_CONFIG, ())),
        timings=timings_of(text),
        uid=uid,
        started=max(values.get(dialects.ENGINE_START, (0.0,))) or None,
        ttft=buckets_of(text, dialects.TTFT) if histograms else (),
        itl=buckets_of(text, dialects.ITL) if histograms else (),
    )


def frontend_sample(pod: str, text: str, uid: str = "") -> FrontendSample:
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
        uid=uid,
    )


def _read(text: str) -> tuple[dict[str, list[float]], dict[str, list[str]]]:
    """Values, and the labels of lines that say what they say in labels, by metric."""
    lines = [line for line in text.splitlines() if line.startswith(_WANTED)]
    if len(lines) > _LINES_LIMIT:
        raise SampleError(f"{len(lines)} lines of metrics where a few are expected")
    values: dict[str, list[float]] = {}
    labels: dict[str, list[str]] = {}
    for line in lines:
        # `name{labels} value`; labels may hold blanks and braces, a value holds neither.
        start, brace, rest = line.partition("{")
        name = start.split(" ", 1)[0]
        told, closing, value = rest.rpartition("}") if brace else ("", "}", start[len(name) :])
        if name in _LABELLED:
            labels.setdefault(name, []).append(told)
        elif name in _NUMBERS:
            if not closing:
                raise SampleError(f"a line of {name} that cannot be parsed")
            values.setdefault(name, []).append(_number(name, value))
    return values, labels


def _number(name: str, text: str) -> float:
    """The value of a line, which a time stamp may follow."""
    parts = text.split()
    try:
        value = float(parts[0])
    except (IndexError, ValueError):
        raise SampleError(f"{name} is not a number") from None
    if name == dialects.ENGINE_START:
        return value if math.isfinite(value) else 0.0
    return _sane(name, value)


def _check_owner(about: Mapping[str, str], pod: str, uid: str) -> None:
    told = about.get("pod", ""), about.get("uid", "")
    if (told[0] and told[0] != pod) or (told[1] and uid and told[1] != uid):
        raise SampleError(
            f"pod {told[0] or 'without a name'} ({told[1] or 'no uid'}) answers at its address, so "
            "what it says is not used"
        )


def _first(values: Mapping[str, list[float]], series: Series) -> list[float] | None:
    """The values under the newest name that is there."""
    return next((values[name] for name in series.metrics if name in values), None)


def _count(
    values: Mapping[str, list[float]], series: Series, about: Mapping[str, str], text: str
) -> int:
    found = _first(values, series)
    if found is not None:
        return round(sum(found))
    if not about and not _is_metrics(text):
        raise SampleError("the answer is no page of metrics")
    engine = about.get("engine") or dialects.engine_of(text.splitlines()) or _DEFAULT
    raise MetricAbsentError(series, engine, about.get("version", ""))


def _is_metrics(text: str) -> bool:
    """Whether this is Prometheus' text format, as far as its first comment tells."""
    return text.startswith(("# HELP ", "# TYPE ", *dialects.PREFIXES)) or "\n# TYPE " in text


def _kv_tokens(lines: list[str] | tuple[()]) -> int | None:
    """Tokens that the KV caches of all ranks hold; None where that is not told (yet)."""
    total = 0
    for line in lines:
        told = dict(_LABEL.findall(line))
        blocks = told.get("num_gpu_blocks", "")
        tokens = told.get("kv_cache_size_tokens", "")
        if tokens.isdecimal():  # what counts where layers of several kinds share the blocks
            total += int(tokens)
        elif blocks.isdecimal() and told.get("block_size", "").isdecimal():
            total += int(blocks) * int(told["block_size"])
    return total if 0 < total <= _COUNT_LIMIT else None


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
