"""Windows that begin by a cron expression and last for a while, with bounds of their own.

Wall time comes in as Unix seconds, so everything here is a function of its arguments. A window
begins when the clock of its time zone says so and lasts for so much real time: across a change of
the clock, ten hours are ten hours. Where the clock jumps over the beginning it begins right after
the jump, and where an hour comes twice it begins once, as Debian's cron does (`cronsim`).

    active(t)   last beginning <= t < last beginning + duration
    ahead(t)    t < next beginning <= t + lead: its replicas have to be asked for now

The data base of time zones is read as part of the program, like the catalogue.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import combinations
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from stoker import quantity
from stoker.api.scaling import Scaling

_MINUTE: Final = 60
# A change of the clock within so many seconds makes hours that are not there, or come twice.
_SHIFT_S: Final = 3 * 3600
# Overlaps are looked for from a Monday that begins a leap year on, in so many windows of the entry
# that has fewer: a year of daily ones, 28 years of yearly ones. A fixed beginning, so that the same
# schedule is judged the same at any time.
_FROM: Final = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp())
_UNTIL: Final = int(datetime(2052, 1, 1, tzinfo=UTC).timestamp())
_WINDOWS: Final = 370


class ScheduleError(ValueError):
    """An entry that means nothing; the words name its field and say what to write."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One window that comes again and again. `duration` in seconds."""

    cron: str
    zone: str
    duration: float
    minimum: int | None = None
    maximum: int | None = None

    def active(self, unix: float) -> float | None:
        """When the window that is open now began; None where none is."""
        last = _around(self.cron, self.zone, _minute(unix))[0]
        return last if last is not None and unix < last + self.duration else None

    def following(self, unix: float) -> float | None:
        """When the next window begins; None: never again."""
        return _around(self.cron, self.zone, _minute(unix))[1]

    def ahead(self, unix: float, lead: float) -> float | None:
        """When the next window begins, where that is less than `lead` seconds away."""
        following = self.following(unix)
        return following if following is not None and following <= unix + lead else None

    def contradicts(self, other: "Entry") -> bool:
        """Whether both at once would ask for two different things."""
        return (self.minimum, self.maximum) != (other.minimum, other.maximum)

    def clock(self, unix: float) -> str:
        """A time as the people of this schedule write it."""
        return f"{datetime.fromtimestamp(unix, _zone(self.zone)):%H:%M} {self.zone}"


def entries_of(scaling: Scaling) -> tuple[Entry, ...]:
    """The schedule, in the order of the spec."""
    return tuple(
        Entry(
            each.cron,
            each.time_zone,
            quantity.parse_duration(each.duration),
            each.min_replicas,
            each.max_replicas,
        )
        for each in scaling.schedule
    )


def check(entry: Entry) -> None:
    """Raise ScheduleError where an entry means nothing."""
    try:
        _zone(entry.zone)
    except ScheduleError as error:
        raise ScheduleError(f".timeZone: {error}") from error
    try:
        following = entry.following(_FROM)
    except CronSimError as error:
        raise ScheduleError(
            f".cron: {entry.cron!r} cannot be read ({error}); write minute, hour, day of the "
            "month, month and day of the week, for example 0 8 * * 1-5"
        ) from error
    if following is None:
        raise ScheduleError(f".cron: {entry.cron!r} never comes; write a day that there is")


def valid(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Those that mean something."""
    found = []
    for entry in entries:
        try:
            check(entry)
        except ScheduleError:
            continue
        found.append(entry)
    return tuple(found)


@lru_cache(maxsize=1024)
def problem_of(entries: tuple[Entry, ...]) -> str | None:
    """What is wrong with a schedule, with the place in it; None where nothing is."""
    for place, entry in enumerate(entries):
        try:
            check(entry)
        except ScheduleError as error:
            return f"[{place}]{error}"
    for (place, one), (later, other) in combinations(enumerate(entries), 2):
        if not one.contradicts(other):
            continue
        meeting = _meeting(one, other)
        if meeting is not None:
            when = f"{datetime.fromtimestamp(meeting, _zone(one.zone)):%a %H:%M} {one.zone}"
            return (
                f"[{place}] and [{later}] are both open at {when}, and ask for different numbers; "
                "shorten one duration or move one cron, or give both the same numbers"
            )
    return None


def next_change(entries: Sequence[Entry], unix: float, lead: float) -> float | None:
    """When the passing of time alone opens or closes a window, or asks for its replicas."""
    moments: list[float] = []
    for entry in entries:
        began, following = entry.active(unix), entry.following(unix)
        if began is not None:
            moments.append(began + entry.duration)
        if following is not None:
            moments += [following - lead, following]
    return min((moment for moment in moments if moment > unix), default=None)


def _meeting(one: Entry, other: Entry) -> float | None:
    """The first moment found at which both are open."""
    rare, often = sorted((one, other), key=_reach, reverse=True)
    known, reach = _begins(often), _reach(often)
    for begin in _begins(rare):
        place = bisect_right(known, begin)
        if place and begin + rare.duration < reach:
            # What was listed already need not be asked of cron again.
            last: float | None = known[place - 1]
            following = known[place] if place < len(known) else None
        else:
            last, following = _around(often.cron, often.zone, _minute(begin))
        if last is not None and begin < last + often.duration:
            return begin
        if following is not None and following < begin + rare.duration:
            return following
    return None


def _reach(entry: Entry) -> float:
    """How far the looked at windows reach: the farther, the rarer."""
    begins = _begins(entry)
    return _UNTIL if len(begins) < _WINDOWS else begins[-1]


@lru_cache(maxsize=1024)
def _begins(entry: Entry) -> tuple[float, ...]:
    """The windows' beginnings in which overlaps are looked for."""
    found: list[float] = []
    after: float = _FROM
    while len(found) < _WINDOWS:
        following = entry.following(after)
        if following is None or following > _UNTIL:
            break
        found.append(following)
        after = following
    return tuple(found)


@lru_cache(maxsize=8192)
def _around(cron: str, zone: str, minute: int) -> tuple[float | None, float | None]:
    """The last beginning at or before the end of a minute, and the first after it."""
    place = _zone(zone)
    before, after = (
        datetime.fromtimestamp(minute + shift, place) for shift in (-_SHIFT_S, _SHIFT_S)
    )
    if before.utcoffset() == after.utcoffset():
        # Backwards from the minute's end, so that what begins with this minute is found.
        back = datetime.fromtimestamp(minute + _MINUTE, place)
        return _first(CronSim(cron, back, reverse=True), minute, -1), _first(
            CronSim(cron, datetime.fromtimestamp(minute, place)), minute, 1
        )
    # Near a change of the clock, what was found is compared in real time.
    return _first(CronSim(cron, after, reverse=True), minute, -1), _first(
        CronSim(cron, before), minute, 1
    )


def _first(found: CronSim, minute: int, direction: int) -> float | None:
    """The first of these that lies on the wanted side."""
    for each in found:
        unix = each.timestamp()
        if (unix > minute) == (direction > 0):
            return unix
    return None


def _minute(unix: float) -> int:
    return int(unix // _MINUTE) * _MINUTE


@lru_cache(maxsize=256)
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ScheduleError(
            f"there is no time zone {name}; write a name of the IANA data base, for example "
            "Asia/Shanghai, Europe/Berlin or UTC"
        ) from error
