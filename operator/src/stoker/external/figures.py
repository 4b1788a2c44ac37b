"""What others may know of a service's load, and how they ask for it.

Three numbers, by the words that users write: `queueDepth` (held at the frontends and waiting in the
engines), `running` (being computed) and `inProgress` (both, or the frontends' own count where that
is more: a request that has just come is with nobody else yet). They are believed exactly where the
own autoscaler would believe them (`autoscale.belief`). What is not known is said in words and never
becomes a zero, so that whoever asks keeps the replicas that there are, or acts on a fallback.
"""

import difflib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

from stoker.autoscale import belief
from stoker.errors import StokerError
from stoker.model.load import Load

_TARGET_LIMIT: Final = 1e6


class NoFigures(StokerError):  # noqa: N818 (named after what happened, as in stoker.errors)
    """The load of that service is not known at the moment; ask again later."""


class AskedWrongly(StokerError):  # noqa: N818
    """Whoever wrote the question has to change it: where, what, what to write instead."""


class Metric(StrEnum):
    """What can be asked for."""

    QUEUE_DEPTH = "queueDepth"
    RUNNING = "running"
    IN_PROGRESS = "inProgress"


METRICS: Final = ", ".join(Metric)


@dataclass(frozen=True, slots=True)
class Figures:
    """Requests of one service at one moment. With a `problem` the numbers are no numbers."""

    queue_depth: int = 0
    running: int = 0
    in_progress: int = 0
    problem: str | None = None
    seen: bool = False  # although there is a problem, a request was seen

    def value(self, metric: Metric) -> int:
        """One of the numbers; `NoFigures` where they are not known."""
        if self.problem is not None:
            raise NoFigures(self.problem)
        match metric:
            case Metric.QUEUE_DEPTH:
                return self.queue_depth
            case Metric.RUNNING:
                return self.running
            case Metric.IN_PROGRESS:
                return self.in_progress

    def is_active(self) -> bool:
        """Whether any request is in progress; `NoFigures` where that is not known.

        One that was seen is enough, also while others do not answer.
        """
        if self.problem is not None and not self.seen:
            raise NoFigures(self.problem)
        return self.seen or self.in_progress > 0


def figures_of(load: Load | None, time: float) -> Figures:
    """The figures of a sample at a time (seconds of the monotonic clock)."""
    problem = belief.problem_of(load, time)
    if load is None or problem is not None:
        return Figures(problem=problem, seen=belief.seen_in_part(load, time))
    active = sum(frontend.active for frontend in load.frontends)
    in_progress = max(load.queue_depth + load.running, active)
    return Figures(load.queue_depth, load.running, in_progress)


def to_json(figures: Figures) -> dict[str, Any]:
    """As one replica of the operator tells another."""
    return asdict(figures)


def from_json(document: object) -> Figures:
    """What another replica said; `NoFigures` where it makes no sense, as between two versions."""
    try:
        figures = Figures(**document)  # type: ignore[arg-type]
    except TypeError as error:
        raise NoFigures("the operator's leader speaks another version of its language") from error
    counts = (figures.queue_depth, figures.running, figures.in_progress)
    if not all(isinstance(count, int) and count >= 0 for count in counts):
        raise NoFigures("the operator's leader reports a number that is none")
    return figures


@dataclass(frozen=True, slots=True)
class Question:
    """What a KEDA trigger asks: a service of its namespace, a metric, how much a replica takes."""

    service: str
    metric: Metric
    target: float


_FIELDS: Final = ("service", "metric", "target")


def question_of(metadata: Mapping[str, str]) -> Question:
    """Read a trigger's metadata; `AskedWrongly` names the field. KEDA's own fields pass."""
    for field in sorted(set(metadata) - set(_FIELDS)):
        near = difflib.get_close_matches(field, _FIELDS, 1)
        if near:
            raise AskedWrongly(f"metadata.{field}: there is no such field; write {near[0]}")
    service = metadata.get("service", "").strip()
    if not service:
        raise AskedWrongly(
            "metadata.service: is missing; write the name of an InferenceService of the "
            "ScaledObject's namespace"
        )
    metric = metric_of(metadata.get("metric", Metric.QUEUE_DEPTH), "metadata.metric")
    return Question(service, metric, _target_of(metadata.get("target", "").strip()))


def metric_of(text: str, where: str) -> Metric:
    """The metric of that name, `AskedWrongly` otherwise; HPAs ask in small letters."""
    for metric in Metric:
        if metric.lower() == text.strip().lower():
            return metric
    raise AskedWrongly(f"{where}: {text!r} is unknown; write one of: {METRICS}")


def _target_of(text: str) -> float:
    remedy = 'write how many requests one replica takes, as text, for example target: "8"'
    if not text:
        raise AskedWrongly(f"metadata.target: is missing; {remedy}")
    try:
        target = float(text)
    except ValueError as error:
        raise AskedWrongly(f"metadata.target: {text!r} is no number; {remedy}") from error
    if not (math.isfinite(target) and 0 < target <= _TARGET_LIMIT):
        raise AskedWrongly(
            f"metadata.target: {text!r} is not above 0 and at most {_TARGET_LIMIT:,.0f}; {remedy}"
        )
    return target


def service_of(selector: str) -> str:
    """The service that a label selector of an HPA's metric names; `AskedWrongly` otherwise."""
    remedy = "write metric.selector.matchLabels: {service: NAME}"
    key, equals, name = (part.strip() for part in selector.replace("==", "=").partition("="))
    if not selector.strip():
        raise AskedWrongly(f"metric.selector: is missing; {remedy}")
    if "," in selector or not equals or key != "service" or not name:
        raise AskedWrongly(f"metric.selector: {selector!r} names no single service; {remedy}")
    return name
