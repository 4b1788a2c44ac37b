"""What /metrics shows of services: read from their objects when somebody asks, by whoever leads.

Gauges are made anew at each scrape, so a service that is gone, or whose plan is, has none left.
Counters live here until their service goes, or its object does: what is not listed is not shown,
and is dropped at the next scrape.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from stoker.model.figures import ServiceFigures
from stoker.model.observed import Key
from stoker.telemetry import families
from stoker.telemetry.families import Family

Sample = tuple[Sequence[str], float]
# Samples of one family from figures at a moment, without the labels that name the service.
Reader = Callable[[ServiceFigures, float], Iterator[Sample]]
# Counts of one service, by what is counted and its own labels.
Counts = Counter[tuple[str, tuple[str, ...]]]

_COUNTED: Final = (families.DECISIONS, families.REPLACEMENTS)


class ServiceMetrics:
    """`show` takes what is to be told, `text` tells it, in whatever thread."""

    def __init__(self) -> None:
        self._counts: dict[Key, Counts] = {}
        self._limited: set[Key] = set()
        self._shown: tuple[tuple[ServiceFigures, ...], dict[Key, Counts], set[Key], float] = (
            (),
            {},
            set(),
            0.0,
        )
        # What was written of the figures of each service that is told of.
        self._lines: dict[Key, tuple[ServiceFigures, tuple[str, ...]]] = {}

    def decided(self, key: Key, reason: str, before: int, after: int) -> None:
        """The desired number of replicas changed."""
        direction = "up" if after > before else "down"
        self._count(key, families.DECISIONS, reason, direction)

    def replaced(self, key: Key, reason: str) -> None:
        """An engine ended and was, or will be, started anew."""
        self._count(key, families.REPLACEMENTS, reason)

    def limited(self, key: Key, *, by_budget: bool) -> None:
        """Whether the budget decides the number of replicas at this moment."""
        if by_budget:
            self._limited.add(key)
        else:
            self._limited.discard(key)

    def forget(self, key: Key) -> None:
        """The service is gone."""
        self._counts.pop(key, None)
        self._limited.discard(key)

    def show(self, figures: Iterable[ServiceFigures], now: float) -> None:
        """What the next scrape tells; `now` in Unix seconds."""
        told = tuple(figures)
        alive = {each.key for each in told}
        for key in (self._counts.keys() | self._limited) - alive:
            self.forget(key)
        counts = {key: Counter(each) for key, each in self._counts.items()}
        self._shown = (told, counts, set(self._limited), now)

    def families(self) -> Iterator[tuple[Family, Iterator[Sample]]]:
        """Every family with its samples: values of its labels, and the value."""
        told, _, _, now = self._shown
        for family, read in (*_STEADY, (families.PENDING, _pending)):
            yield family, (sample for each in told for sample in _all(each, read, now))
        yield from self._moving()

    def text(self, *, open_metrics: bool) -> str:
        """Every series, as a page has them; what an object says is written once, until it changes.

        The client library takes seven microseconds for each line, and there are many.
        """
        told, _, _, now = self._shown
        known = {}
        for each in told:
            kept = self._lines.get(each.key)
            if kept is None or kept[0] is not each:
                kept = each, _written(each)
            known[each.key] = kept
        self._lines = known
        parts: list[str] = []
        for index, (family, _) in enumerate(_STEADY):
            parts.append(family.head(open_metrics=open_metrics))
            parts += [lines[index] for _, lines in known.values()]
        waiting = (sample for each in told for sample in _all(each, _pending, now))
        for family, samples in ((families.PENDING, waiting), *self._moving()):
            parts.append(family.head(open_metrics=open_metrics))
            parts += [family.line(labels, value) for labels, value in samples]
        return "".join(parts)

    def _moving(self) -> Iterator[tuple[Family, Iterator[Sample]]]:
        """What the object does not say."""
        told, counts, limited, _ = self._shown
        yield (
            families.BUDGET,
            ((_place(each.key), float(each.key in limited)) for each in told if each.has_budget),
        )
        for family in _COUNTED:
            yield family, _counted(family, counts)

    def _count(self, key: Key, family: Family, *labels: str) -> None:
        self._counts.setdefault(key, Counter())[family.name, labels] += 1


def _place(key: Key) -> tuple[str, str]:
    return key.namespace, key.name


def _named(values: Mapping[str, float]) -> Iterator[Sample]:
    return (((name,), value) for name, value in values.items())


def _one(value: float | None) -> Iterator[Sample]:
    return iter(()) if value is None else iter([((), value)])


def _info(each: ServiceFigures, _now: float) -> Iterator[Sample]:
    yield (each.model, each.accelerator, each.engine, each.objective), 1


def _conditions(each: ServiceFigures, _now: float) -> Iterator[Sample]:
    return ((labels, 1) for labels in each.conditions)


def _pending(each: ServiceFigures, now: float) -> Iterator[Sample]:
    since = each.waiting_since
    return _one(None if since is None else max(0.0, now - since))


def _counted(family: Family, counts: Mapping[Key, Counts]) -> Iterator[Sample]:
    for key, each in counts.items():
        for (name, labels), count in sorted(each.items()):
            if name == family.name:
                yield (*_place(key), *labels), count


# What is read off an object alone.
_STEADY: Final[tuple[tuple[Family, Reader], ...]] = (
    (families.INFO, _info),
    (families.REPLICAS, lambda each, _: _named(each.replicas)),
    (families.LIMITS, lambda each, _: _named(each.limits)),
    (families.CONDITION, _conditions),
    (families.TARGET, lambda each, _: _named(each.targets)),
    (families.TARGET_RATIO, lambda each, _: _named(each.shares)),
    (families.ACCELERATORS, lambda each, _: _one(each.accelerators)),
    (families.FLOPS, lambda each, _: _one(each.flops)),
    (families.BANDWIDTH, lambda each, _: _one(each.bandwidth)),
    (families.STARTUP, lambda each, _: _named(each.startup)),
    (families.DEADLINE, lambda each, _: _one(each.deadline_s)),
    (families.RESIDUAL, lambda each, _: _named(each.residuals)),
)


def _all(each: ServiceFigures, read: Reader, now: float) -> Iterator[Sample]:
    """Samples with all their labels."""
    return (((*_place(each.key), *labels), value) for labels, value in read(each, now))


def _written(each: ServiceFigures) -> tuple[str, ...]:
    """The lines of each steady family."""
    return tuple(
        "".join(family.line(labels, value) for labels, value in _all(each, read, 0.0))
        for family, read in _STEADY
    )
