"""What running engines show in a short while: rates and means of one replica, from their own pages.

Two pages of each engine, some seconds apart, give what happened in between; counters since the
engine's start give what a few seconds are too short for (prefix cache, speculation). What a page
does not have is None, and none of it is ever taken for zero. Times in seconds, rates per second.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from stoker.telemetry import dialects
from stoker.telemetry.dialects import Series
from stoker.telemetry.timings import timings_of

# Of the picker: how much of a prompt's beginning it has sent on before, as a histogram of shares.
REPEATED: Final = "inference_extension_prefix_indexer_hit_ratio"
# Fewer tokens than this say nothing of a share.
ENOUGH_TOKENS: Final = 1000.0


@dataclass(frozen=True, slots=True)
class Page:
    """One engine's page at one moment; `at` in seconds of any clock that only goes forward."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Figures:
    """Means of one replica. None: not told."""

    replicas: int
    seconds: float
    running: float | None = None
    waiting: float | None = None
    kv: float | None = None  # share of the KV cache in use, of the fullest replica
    generated: float | None = None  # tokens per second
    prompts: float | None = None  # tokens of prompts per second
    itl_s: float | None = None
    ttft_s: float | None = None
    prompt_tokens: float | None = None  # of a mean request, since the engine's start
    generated_tokens: float | None = None
    preemptions: float | None = None  # per second
    prefix_hits: float | None = None  # share of prompt tokens, since the engine's start
    repeated: float | None = None  # share of prompts' beginnings that the picker knew
    acceptance: float | None = None  # of drafted tokens, since the engine's start
    drafting: bool | None = None  # whether tokens were drafted just now
    flops: float | None = None  # operations per second, of one accelerator
    bandwidth: float | None = None  # bytes per second, of one accelerator
    cpu: float | None = None  # cores in use, of the busiest engine
    cpu_limit: float | None = None  # cores that it may use
    engine: str = "vllm"  # whose dialect the pages are in; empty where they are in nobody's
    tells_prefix: bool = True  # whether the pages have what is found in the prefix cache
    tells_drafts: bool = True  # and what was guessed

    @property
    def known(self) -> bool:
        """Whether the engine tells anything of its load under a name that Stoker knows."""
        return any(each is not None for each in (self.running, self.waiting, self.generated))

    @property
    def idle(self) -> bool:
        """Whether it is known that nothing was asked for."""
        return self.known and not (self.running or self.waiting or self.generated)


def figures_of(
    pairs: Sequence[tuple[Page, Page]],
    picker: str | None = None,
    cpu: float | None = None,
    cpu_limit: float | None = None,
) -> Figures | None:
    """From two pages of each engine; None where no engine told anything."""
    seen = [each for each in (_Engine.of(*pair) for pair in pairs) if each is not None]
    if not seen:
        return None
    requests = sum(each.requests or 0.0 for each in seen)
    prompts = sum(each.prompt_sum or 0.0 for each in seen)
    answers = sum(each.answer_sum or 0.0 for each in seen)
    return Figures(
        replicas=len(seen),
        seconds=min(each.seconds for each in seen),
        running=_mean(each.running for each in seen),
        waiting=_mean(each.waiting for each in seen),
        kv=max((each.kv for each in seen if each.kv is not None), default=None),
        generated=_mean(each.generated for each in seen),
        prompts=_mean(each.prompts for each in seen),
        itl_s=_ratio(seen, "gap_s", "gaps"),
        ttft_s=_ratio(seen, "first_s", "firsts"),
        prompt_tokens=prompts / requests if requests else None,
        generated_tokens=answers / requests if requests else None,
        preemptions=_mean(each.preemptions for each in seen),
        prefix_hits=_share(seen, "hits", "queries"),
        repeated=_repeated(picker),
        acceptance=_known(
            _share(seen, "accepted", "drafted"), _mean(each.acceptance for each in seen)
        ),
        drafting=_any(each.drafting for each in seen),
        flops=_mean(each.flops for each in seen),
        bandwidth=_mean(each.bandwidth for each in seen),
        cpu=cpu,
        cpu_limit=cpu_limit,
        engine=seen[0].engine,
        tells_prefix=any(each.queries is not None for each in seen),
        tells_drafts=any((each.drafted, each.acceptance) != (None, None) for each in seen),
    )


@dataclass(frozen=True, slots=True)
class _Engine:
    engine: str
    seconds: float
    running: float | None
    waiting: float | None
    kv: float | None
    generated: float | None
    prompts: float | None
    gap_s: float | None
    gaps: float | None
    first_s: float | None
    firsts: float | None
    requests: float | None
    prompt_sum: float | None
    answer_sum: float | None
    preemptions: float | None
    hits: float | None
    queries: float | None
    accepted: float | None
    drafted: float | None
    acceptance: float | None  # as a share, where that is what the engine tells
    drafting: bool | None
    flops: float | None
    bandwidth: float | None

    @staticmethod
    def of(first: Page, last: Page) -> "_Engine | None":
        """None where the second page says nothing, or is of an engine that was restarted."""
        seconds = last.at - first.at
        before, after = totals(first.text), totals(last.text)
        if seconds <= 0 or not after:
            return None

        def rate(series: Series) -> float | None:
            one, two = _first(before, series), _first(after, series)
            return None if one is None or two is None or two < one else (two - one) / seconds

        def total(series: Series) -> float | None:
            return _first(after, series)

        def passed(series: Series, suffix: str) -> float | None:
            """Of a histogram, between the two pages."""
            name = next((each for each in series.metrics if f"{each}_count" in after), None)
            one, two = before.get(f"{name}{suffix}"), after.get(f"{name}{suffix}")
            return None if one is None or two is None or two < one else two - one

        now = timings_of(last.text)
        drafted = rate(dialects.SPEC_DRAFT_TOKENS)
        read, written = rate(dialects.MEMORY_READ), rate(dialects.MEMORY_WRITTEN)
        return _Engine(
            engine=dialects.engine_of(after),
            seconds=seconds,
            running=total(dialects.RUNNING),
            waiting=total(dialects.WAITING),
            kv=total(dialects.KV_CACHE),
            generated=rate(dialects.GENERATION_TOKENS),
            prompts=rate(dialects.PROMPT_TOKENS),
            gap_s=passed(dialects.ITL, "_sum"),
            gaps=passed(dialects.ITL, "_count"),
            first_s=passed(dialects.TTFT, "_sum"),
            firsts=passed(dialects.TTFT, "_count"),
            requests=total(dialects.REQUESTS_FINISHED) if now is None else now.requests,
            prompt_sum=total(dialects.PROMPT_TOKENS) if now is None else now.prompt_tokens,
            answer_sum=(total(dialects.GENERATION_TOKENS) if now is None else now.generated_tokens),
            preemptions=rate(dialects.PREEMPTIONS),
            hits=total(dialects.PREFIX_CACHE_HITS),
            queries=total(dialects.PREFIX_CACHE_QUERIES),
            accepted=total(dialects.SPEC_ACCEPTED_TOKENS),
            drafted=total(dialects.SPEC_DRAFT_TOKENS),
            acceptance=total(dialects.SPEC_ACCEPTANCE),
            drafting=None if drafted is None else drafted > 0,
            flops=rate(dialects.FLOPS),
            bandwidth=None if read is None else read + (written or 0.0),
        )


# Told by each rank of one accelerator, or a share: their mean, and their most.
_AVERAGED: Final = (
    dialects.FLOPS,
    dialects.MEMORY_READ,
    dialects.MEMORY_WRITTEN,
    dialects.SPEC_ACCEPTANCE,
)
_MEANS: Final = frozenset(name for series in _AVERAGED for name in series.metrics)
_MOST: Final = frozenset(dialects.KV_CACHE.metrics)


def totals(text: str) -> dict[str, float]:
    """Values by name, ranks of one replica put together; nothing where the page makes no sense."""
    found: dict[str, list[float]] = {}
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if not sample.name.endswith(("_bucket", "_created")):
                    found.setdefault(sample.name, []).append(float(sample.value))
    except (ValueError, KeyError, IndexError, TypeError):
        return {}
    return {
        name: max(values) if name in _MOST else sum(values) / (len(values) if name in _MEANS else 1)
        for name, values in found.items()
    }


def _first(found: Mapping[str, float], series: Series) -> float | None:
    """By the newest name that is there; the parser gives counters the ending that they lack."""
    names = (spelt for name in series.metrics for spelt in (name, f"{name}_total"))
    return next((found[name] for name in names if name in found), None)


def _mean(values: Iterable[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there else None


def _known(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)


def _any(values: Iterable[bool | None]) -> bool | None:
    there = [value for value in values if value is not None]
    return any(there) if there else None


def _ratio(engines: Sequence[_Engine], total: str, count: str) -> float | None:
    sums = sum(getattr(each, total) or 0.0 for each in engines)
    counts = sum(getattr(each, count) or 0.0 for each in engines)
    return sums / counts if counts else None


def _share(engines: Sequence[_Engine], part: str, whole: str) -> float | None:
    """None before there is enough of it."""
    parts = sum(getattr(each, part) or 0.0 for each in engines)
    wholes = sum(getattr(each, whole) or 0.0 for each in engines)
    return parts / wholes if wholes >= ENOUGH_TOKENS else None


def _repeated(picker: str | None) -> float | None:
    found = totals(picker or "")
    count = found.get(f"{REPEATED}_count", 0.0)
    return found.get(f"{REPEATED}_sum", 0.0) / count if count >= 20 else None
