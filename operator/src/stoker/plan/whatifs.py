"""What changes of one field would bring a service, at the requests that its engines saw.

Each is planned as if its owner had written it: the planner refuses it, or says what would run. It
counts where that is what runs now but for the field. The gain is the planner's own for a full
replica before and after, at the mix of lengths that came, corrected by what engines have taught,
per dollar. How many requests the cache holds was seen, and is not estimated: so many ran in such a
share of it.

Nothing is told where the estimates are not compared with engines either: drafts that are verified,
weights in the host's memory; and on processors only after their times were learned.

A shorter context is none of these changes: the cache is handed out in blocks as requests grow, so
that its limit takes no room.
"""

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from stoker.model.sizing import Configuration, Planned
from stoker.model.strain import Strain
from stoker.plan import choice
from stoker.plan.choice import Question
from stoker.plan.stored import duration
from stoker.planner import alternatives, quality
from stoker.planner.patience import slowest_itl_s
from stoker.planner.whatif import Mix, Outlook, outlook

_KEPT: Final = 512
_MOST_SEQS: Final = 1024
_LEAST_SEQS: Final = 4
# Of the cache: requests differ, and none is put off where it holds a fifth less than would fit in
# the mean. With a tenth, up to every fourth is, by the scheduler's own count.
_ROOM: Final = 0.8
# More of the same has to gain as much as keeps a proposal standing.
_MORE: Final = 1.05
_TYPES: Final = 3
# By so much what was proposed before may be beyond what would be proposed now.
_TOLERANCE: Final = 1.1
SEQS: Final = "optimization.batching.maxNumSeqs"

Fields = tuple[tuple[str, str], ...]  # where to write what


@dataclass(frozen=True, slots=True)
class Option:
    """A change, and what it brings."""

    fields: Fields
    ratio: float  # after over before, of what is gained, per dollar
    more: float  # after over before, as the gain begins
    gain: str
    cost: str = ""  # what it takes beside a restart, in words
    price: float | None = None  # of a replica then, in US dollars per hour


@dataclass(frozen=True, slots=True)
class _Now:
    """What runs, and what it saw."""

    question: Question
    configuration: Configuration
    seen: Strain

    @property
    def mix(self) -> Mix:
        counted, requests = self.seen.counted, max(1.0, self.seen.counted.requests)
        return Mix(
            counted.prompt_tokens / requests,
            counted.computed_tokens / requests,
            counted.generated_tokens / requests,
            self.seen.put_off,
        )

    @property
    def fit(self) -> float:
        """Requests that the cache holds, as it was seen."""
        return self.seen.fit

    def told(self, configuration: Configuration, at_once: float, *, put_off: bool) -> Outlook:
        """A full replica of this configuration."""
        mix = self.mix if put_off else replace(self.mix, put_off=0.0)
        estimator = choice.estimator(self.question, configuration)
        return outlook(estimator, configuration, mix, at_once)

    @property
    def slowest_itl_s(self) -> float:
        """That the objective and the targets allow."""
        return slowest_itl_s(
            self.question.request, lambda: self.told(self.configuration, 1, put_off=False).itl_s
        )

    def tokens(self, configuration: Configuration) -> int:
        """That the cache of a replica holds."""
        return choice.estimator(self.question, configuration).memory(configuration).kv_tokens

    def planned(self, **wish: Any) -> Configuration | None:  # noqa: ANN401 - fields of a request
        """What would run with this wish; None where the planner refuses it."""
        request = replace(self.question.request, **wish)
        found = choice.answer(replace(self.question, request=request))
        return found.configuration if isinstance(found, Planned) else None


@functools.lru_cache(maxsize=_KEPT)
def for_full_places(
    question: Question, configuration: Configuration, seen: Strain, also: int = 0
) -> tuple[Option, ...]:
    """More places, each step with a gain of its own; and those that were proposed before."""
    now = _Now(question, configuration, seen)
    if not _comparable(now):
        return ()
    before = now.told(configuration, seen.places, put_off=True)
    slowest = now.slowest_itl_s
    found: dict[int, Option] = {}
    seqs, rate = configuration.max_num_seqs, 0.0
    while True:
        # As many as the cache has room for, or it is what is full next.
        more = 1 << seqs.bit_length()
        more = min(more, _MOST_SEQS, _rounded(_ROOM * now.fit / configuration.data))
        tried = _with_more_places(now, before, more) if more > seqs else None
        if tried is None or tried[1].itl_s > slowest or tried[1].tokens_per_s < rate * _MORE:
            break
        found[more] = tried[0]
        seqs, rate = more, tried[1].tokens_per_s
    holds = also * configuration.data <= now.fit
    if also > configuration.max_num_seqs and also not in found and holds:
        tried = _with_more_places(now, before, also)
        if tried is not None and tried[1].itl_s <= slowest * _TOLERANCE:
            found[also] = tried[0]
    return tuple(found.values())


def _with_more_places(now: _Now, before: Outlook, seqs: int) -> tuple[Option, Outlook] | None:
    planned = now.planned(max_num_seqs=seqs)
    if planned is None or alternatives.change(now.configuration, planned):
        return None
    share = now.tokens(planned) / max(1, now.tokens(now.configuration))
    after = now.told(planned, min(seqs * planned.data, _ROOM * now.fit * share), put_off=True)
    return _timed(now, ((SEQS, str(seqs)),), planned, before, after), after


@functools.lru_cache(maxsize=_KEPT)
def for_full_cache(
    question: Question, configuration: Configuration, seen: Strain, also: int = 0
) -> tuple[Option, ...]:
    """Fewer places, a cache of 8 bits, twice the accelerators, another type."""
    now = _Now(question, configuration, seen)
    if not _comparable(now):
        return ()
    before = now.told(configuration, min(seen.places, now.fit), put_off=True)
    slowest = max(before.itl_s, now.slowest_itl_s)
    found = []
    for fields, planned in _with_more_cache(now, also):
        share = now.tokens(planned) / max(1, now.tokens(configuration))
        room, places = now.fit * share, planned.max_num_seqs * planned.data
        enough = places <= _ROOM * room
        after = now.told(planned, places if enough else min(places, room), put_off=not enough)
        if after.itl_s <= slowest:
            found.append(_timed(now, fields, planned, before, after))
    return tuple(found)


@functools.lru_cache(maxsize=_KEPT)
def for_idle_places(
    question: Question, configuration: Configuration, seen: Strain, also: int = 0
) -> tuple[Option, ...]:
    """Fewer places: what the sampler keeps for them becomes cache. Times stay as they are."""
    now = _Now(question, configuration, seen)
    if not _comparable(now):
        return ()
    most = seen.most / configuration.data
    seqs = 1 << (max(_LEAST_SEQS, math.ceil(2 * most)) - 1).bit_length()
    found = []
    for fewer in {seqs: None, also: None}:
        if not _TOLERANCE * most <= fewer < configuration.max_num_seqs:
            continue
        planned = now.planned(max_num_seqs=fewer) if fewer else None
        if planned is None or alternatives.change(configuration, planned):
            continue
        before, after = now.tokens(configuration), now.tokens(planned)
        more, cost = after / max(1, before), _context(configuration, planned)
        gain = f"{_more(more)} KV cache ({before} to {after} tokens), same times"
        price = choice.estimator(question, planned).price(planned)
        found.append(Option(((SEQS, str(fewer)),), more, more, gain, cost, price))
    return tuple(found)


def _with_more_cache(now: _Now, also: int) -> Iterator[tuple[Fields, Configuration]]:
    """Ways to have the requests that come fit, and what the planner makes of them."""
    runs = now.configuration
    for fewer in {_rounded(_ROOM * now.fit / runs.data): None, also: None}:
        if not 0 < fewer < runs.max_num_seqs:
            continue
        planned = now.planned(max_num_seqs=fewer)
        if planned is not None and not alternatives.change(runs, planned):
            yield ((SEQS, str(fewer)),), planned
    if runs.kv_dtype == "auto":
        planned = now.planned(kv_dtype="fp8")
        if planned is not None and _same_but(runs, planned, kv_dtype=planned.kv_dtype):
            yield (("optimization.kvCache.dtype", "fp8"),), planned
    yield from _with_more_accelerators(now)
    yield from _on_others(now)


def _with_more_accelerators(
    now: _Now,
) -> Iterator[tuple[Fields, Configuration]]:
    request, runs = now.question.request, now.configuration
    wish: dict[str, int] = {"tensor": 2 * runs.tensor}
    fields = [("parallelism.tensor", str(2 * runs.tensor))]
    if request.per_replica is not None:
        wish["per_replica"] = 2 * request.per_replica
        each = ("accelerator.perReplica", str(wish["per_replica"]))
        fields = [each] if request.tensor is None else [*fields, each]
        if request.tensor is None:
            del wish["tensor"]
    planned = now.planned(**wish)
    if planned is not None and _same_but(runs, planned, tensor=2 * runs.tensor):
        yield tuple(fields), planned


def _on_others(now: _Now) -> Iterator[tuple[Fields, Configuration]]:
    """The cheapest types with more memory; without prices nothing can be compared."""
    gpus, runs = now.question.gpus, now.configuration
    here = gpus[runs.accelerator]
    known = [gpus[name] for name in now.question.platform.accelerators if name in gpus]
    priced = [
        (each.price_per_hour, each.name)
        for each in known
        if not each.shared_memory
        and each.price_per_hour is not None
        and each.memory_bytes > here.memory_bytes
    ]
    for _, name in sorted(priced)[:_TYPES]:
        planned = now.planned(accelerators=(name,))
        if planned is not None and _same_but(
            runs, planned, accelerator=name, tensor=planned.tensor
        ):
            yield (("accelerator.types", f"[{name}]"),), planned


def _same_but(runs: Configuration, planned: Configuration, **changed: Any) -> bool:  # noqa: ANN401
    """Whether no more changes than was said, as far as a user would write it."""
    return not alternatives.change(replace(runs, **changed), planned)


def _comparable(now: _Now) -> bool:
    runs = now.configuration
    if runs.speculation != "none" or runs.cpu_offload_gib:
        return False
    estimator = choice.estimator(now.question, runs)
    timed = estimator.calibration.residual_of(runs).itl != 1
    return timed or not estimator.gpu.shared_memory


def _timed(
    now: _Now,
    fields: Fields,
    planned: Configuration,
    before: Outlook,
    after: Outlook,
) -> Option:
    faster = after.tokens_per_s / before.tokens_per_s
    gain = (
        f"{_more(faster)} tokens/s, {duration(before.itl_s)} to {duration(after.itl_s)} per token"
    )
    ratio = faster * now.configuration.accelerators / planned.accelerators
    if before.cost is not None and after.cost is not None:
        ratio = before.cost / after.cost
        gain += f", ${before.cost:.2f} to ${after.cost:.2f} per 1M tokens"
    cost = _context(now.configuration, planned)
    if planned.kv_dtype != now.configuration.kv_dtype and planned.kv_dtype in quality.KV_CACHE:
        cost += f"; {quality.KV_CACHE[planned.kv_dtype].typical:g} % of quality"
    price = choice.estimator(now.question, planned).price(planned)
    return Option(fields, ratio, faster, gain, cost, price)


def _more(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.0f} %"


def _context(before: Configuration, after: Configuration) -> str:
    """The longest request, where it changes."""
    if before.max_model_len == after.max_model_len:
        return ""
    return f"; context {after.max_model_len}"


def _rounded(number: float) -> int:
    """Down to a number that looks like one that somebody chose."""
    whole = int(min(number + 1e-9, _MOST_SEQS))
    step = 16 if whole >= 128 else 4 if whole >= 16 else 1
    return whole // step * step
