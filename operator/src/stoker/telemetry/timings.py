"""An engine's own histograms of time: sums and counts, and the buckets that targets are set for.

vLLM writes a dozen histograms with dozens of lines each; a mean takes two of them. Other lines are
passed over by their beginning alone. `inter_token_latency_seconds` was once called
`time_per_output_token_seconds`, and some versions write both, with the same numbers. What of a
prompt was computed is not told by old versions: then all of it was.

Sums and counts are vLLM's alone, since there all of them are of the same requests; buckets are of
every dialect (`dialects`). Scaling does not need these numbers, so nothing that is wrong with them
may cost it a sample: what is absent, negative, infinite or not a number gives no timings at all,
and no error.
"""

import itertools
import math
import re
from typing import Final

from stoker.model.timing import Buckets, Timings
from stoker.telemetry.dialects import Series

_NAMES: Final = {
    "vllm:time_to_first_token_seconds_count": "first_tokens",
    "vllm:time_to_first_token_seconds_sum": "first_token_s",
    "vllm:inter_token_latency_seconds_count": "gaps",
    "vllm:inter_token_latency_seconds_sum": "gap_s",
    "vllm:time_per_output_token_seconds_count": "old_gaps",
    "vllm:time_per_output_token_seconds_sum": "old_gap_s",
    "vllm:request_generation_tokens_count": "requests",
    "vllm:request_generation_tokens_sum": "generated_tokens",
    "vllm:request_queue_time_seconds_sum": "queue_s",
    "vllm:request_prompt_tokens_sum": "prompt_tokens",
    "vllm:request_prefill_kv_computed_tokens_sum": "computed_tokens",
    "vllm:num_preemptions_total": "preemptions",
}
_LINES: Final = tuple(_NAMES)
_LE: Final = re.compile(r'[{,]le="([^"]*)"')
# One line per name and data parallel rank; more than this is no engine.
_LINES_LIMIT: Final = 8192
# No engine has counted so much; the sums of two such numbers are still exact to a token.
_LIMIT: Final = 1e15


def timings_of(text: str) -> Timings | None:
    """What an engine's metrics tell of its times; None where they do not."""
    found: dict[str, float] = {}
    lines = [line for line in text.splitlines() if line.startswith(_LINES)]
    if len(lines) > _LINES_LIMIT:
        return None
    for line in lines:
        # `name{labels} value`; labels may hold blanks and braces, a value holds neither.
        start, _, rest = line.partition("{")
        name = start.split(" ", 1)[0]
        if name not in _NAMES:
            continue  # a longer name
        value = _number(rest.rpartition("}")[2] if rest else start.partition(" ")[2])
        if value is None:
            return None
        field = _NAMES[name]
        found[field] = found.get(field, 0.0) + value
    old = {name: found.pop(f"old_{name}", None) for name in ("gaps", "gap_s")}
    for name, value in old.items():
        if value is not None:
            found.setdefault(name, value)
    if "prompt_tokens" in found:
        found.setdefault("computed_tokens", found["prompt_tokens"])
    found.setdefault("preemptions", 0.0)
    if len(found) < len(Timings.__dataclass_fields__):
        return None
    return Timings(**found)


def buckets_of(text: str, series: Series) -> Buckets:
    """One histogram, by the first of its names that is there; empty where none makes sense.

    Ranks of one replica are added up.
    """
    for name in series.metrics:
        counts: dict[float, float] = {}
        beginning = f"{name}_bucket{{"
        lines = [line for line in text.splitlines() if line.startswith(beginning)]
        for line in lines[:_LINES_LIMIT]:
            labels, _, rest = line.rpartition("}")
            edge, count = _LE.search(labels), _number(rest)
            if edge is None or count is None:
                return ()
            at = math.inf if edge[1] == "+Inf" else _number(edge[1])
            if at is None:
                return ()
            counts[at] = counts.get(at, 0.0) + count
        found = tuple(sorted(counts.items()))
        if found:
            rises = all(one[1] <= next_[1] for one, next_ in itertools.pairwise(found))
            return found if rises and math.isinf(found[-1][0]) else ()
    return ()


def _number(text: str) -> float | None:
    """The value of a line, which a time stamp may follow."""
    parts = text.split()
    try:
        value = float(parts[0])
    except (IndexError, ValueError):
        return None
    return value if math.isfinite(value) and 0 <= value <= _LIMIT else None
