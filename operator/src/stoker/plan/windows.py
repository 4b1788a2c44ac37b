"""Looks at a revision's engines become windows, long enough for their means to say something.

An engine's counts are differences between two looks at the same pod; the number of requests that
run is a value at a moment, which holds until the next look (a pass comes at every change). A pod
that did not answer, began anew or was not looked at for long starts over. A window ends when it is
old enough and has seen enough; two in a row are compared by who asks. While nothing is settled each
window is twice as long as the one before, as load and warm-up pass; then one lasts an hour, so that
a noisy minute changes nothing. Nothing of this outlives the process: a new leader looks anew.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from stoker.model.load import EngineSample, Load
from stoker.model.observed import ObservedPod
from stoker.model.timing import Seen, Timings

# The last look at each pod, and when it was, in monotonic seconds.
Last = Mapping[str, tuple[float, EngineSample]]

FIRST_S: Final = 60.0
SETTLED_S: Final = 3600.0
REQUESTS: Final = 100
LOOKS: Final = 20
# Between two looks that are farther apart, nobody knows what ran.
_GAP_S: Final = 90.0


@dataclass(frozen=True, slots=True)
class Stretch:
    """What happened between two looks at one pod, and how it was at the first of them."""

    before: EngineSample
    counted: Timings
    seconds: float


@dataclass(frozen=True, slots=True)
class Windows:
    """What is known of the times of one revision. Times in monotonic seconds."""

    open: Seen = field(default_factory=lambda: Seen(""))
    since: float = 0.0
    length: float = FIRST_S
    closed: tuple[Seen, ...] = ()  # the last two, the older first
    last: Last = field(default_factory=dict)


def advance(
    windows: Windows,
    load: Load | None,
    pods: Iterable[ObservedPod],
    revision: str,
    *,
    settled: bool,
) -> Windows:
    """After one more look.

    Parameters
    ----------
    revision
        The revision whose pods count; another one than before starts over.
    settled
        Whether its times are known already.
    """
    if load is None:
        return windows
    if windows.open.revision != revision:
        windows = Windows(open=Seen(revision), since=load.time)
    if is_old(windows.last, load):
        return windows
    if settled:
        windows = replace(windows, length=SETTLED_S)
    found, last = stretches(windows.last, load, pods, revision)
    seen = windows.open
    for each in found:
        seen = seen.plus(each.counted, each.before.running, each.seconds)
    windows = replace(windows, open=seen, last=last)
    old = load.time - windows.since >= windows.length
    if not old or seen.requests < REQUESTS or seen.looks < LOOKS:
        return windows
    return replace(
        windows,
        open=Seen(revision),
        since=load.time,
        length=min(SETTLED_S, 2 * windows.length),
        closed=(*windows.closed, seen)[-2:],
    )


def is_old(last: Last, load: Load) -> bool:
    """Whether this is the same look again."""
    return any(load.time <= time for time, _ in last.values())


def stretches(
    last: Last, load: Load, pods: Iterable[ObservedPod], revision: str
) -> tuple[list[Stretch], Last]:
    """What happened since the last looks at a revision's pods, and the looks to go on from."""
    own = {pod.name for pod in pods if pod.revision == revision}
    found: list[Stretch] = []
    looks = {}
    for sample in load.engines:
        if sample.pod not in own or sample.timings is None:
            continue
        looks[sample.pod] = (load.time, sample)
        time, before = last.get(sample.pod, (0.0, None))
        if before is None or load.time - time > _GAP_S:
            continue
        counted = _counted(before, sample)
        if counted is not None:
            found.append(Stretch(before, counted, load.time - time))
    return found, looks


def _counted(before: EngineSample, after: EngineSample) -> Timings | None:
    """What an engine did between two looks; None where another one counts, even more."""
    if before.timings is None or after.timings is None or before.started != after.started:
        return None
    return after.timings.since(before.timings)
