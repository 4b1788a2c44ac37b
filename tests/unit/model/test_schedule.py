"""When windows are open, when they are ahead, and which schedules make no sense."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.model import schedule
from stoker.model.schedule import Entry

HOUR = 3600.0
OFFICE = Entry("0 8 * * 1-5", "Asia/Shanghai", 10 * HOUR, 2)


def at(text: str, zone: str = "UTC") -> float:
    """Unix seconds of a local time; `fold=1` is written as a trailing `'`."""
    local = datetime.fromisoformat(text.rstrip("'")).replace(tzinfo=ZoneInfo(zone))
    return local.replace(fold=int(text.endswith("'"))).timestamp()


@pytest.mark.parametrize(
    ("text", "is_open"),
    [
        ("2026-03-02T07:59:59", False),
        ("2026-03-02T08:00", True),
        ("2026-03-02T17:59:59", True),
        ("2026-03-02T18:00", False),
        ("2026-03-06T12:00", True),
        ("2026-03-07T12:00", False),  # a Saturday
    ],
)
def test_office_hours(text: str, *, is_open: bool) -> None:
    began = OFFICE.active(at(text, "Asia/Shanghai"))
    assert (began is not None) == is_open
    if began is not None:
        assert OFFICE.clock(began) == "08:00 Asia/Shanghai"


def test_a_window_is_ahead_within_the_lead() -> None:
    begin = at("2026-03-02T08:00", "Asia/Shanghai")
    assert OFFICE.ahead(begin - 201, 200) is None
    assert OFFICE.ahead(begin - 200, 200) == begin
    assert OFFICE.ahead(begin - 0.5, 200) == begin
    assert OFFICE.ahead(begin, 200) is None


def test_the_next_change_is_the_lead_the_beginning_and_the_end() -> None:
    begin = at("2026-03-02T08:00", "Asia/Shanghai")
    moments, now = [], begin - HOUR
    for _ in range(4):
        change = schedule.next_change([OFFICE], now, 200)
        assert change is not None
        moments.append(change - begin)
        now = change
    assert moments == [-200, 0, 10 * HOUR, 24 * HOUR - 200]


def test_a_beginning_that_the_clock_jumps_over_is_right_after_the_jump() -> None:
    entry = Entry("30 2 * * *", "Europe/Berlin", HOUR, 2)
    jump = at("2026-03-29T03:00", "Europe/Berlin")
    assert entry.active(jump - 1) is None
    assert entry.active(jump) == jump
    assert entry.active(jump + HOUR - 1) == jump
    assert entry.active(jump + HOUR) is None
    assert entry.ahead(jump - 60, 200) == jump


def test_an_hour_that_comes_twice_begins_a_window_once() -> None:
    entry = Entry("30 2 * * *", "Europe/Berlin", HOUR / 2, 2)
    first, second = (at(f"2026-10-25T02:30{fold}", "Europe/Berlin") for fold in ("", "'"))
    assert second - first == HOUR
    assert entry.active(first) == first
    assert entry.active(second) is None
    # Between both, what lies ahead is the next day and not what has been.
    assert entry.ahead(second - 900, 1800) is None


def test_ten_hours_are_ten_hours_across_a_change_of_the_clock() -> None:
    entry = Entry("0 22 * * *", "Europe/Berlin", 10 * HOUR, 2)
    begin = at("2026-03-28T22:00", "Europe/Berlin")
    assert entry.active(begin + 10 * HOUR - 1) == begin
    assert entry.active(begin + 10 * HOUR) is None
    assert entry.clock(begin + 10 * HOUR) == "09:00 Europe/Berlin"


@given(
    st.sampled_from(
        ["30 2 * * *", "0 8 * * 1-5", "*/7 * * * *", "15 1-3 * * *", "0 0 1 * *", "59 23 L * *"]
    ),
    st.sampled_from(["UTC", "Europe/Berlin", "Asia/Shanghai", "Australia/Lord_Howe"]),
    st.floats(1.7e9, 2.0e9),
)
def test_beginnings_lie_on_their_sides_of_now(cron: str, zone: str, unix: float) -> None:
    entry = Entry(cron, zone, 24 * HOUR, 1)
    following = entry.following(unix)
    assert following is not None
    assert following > unix
    began = entry.active(unix)
    if began is not None:
        assert began <= unix < began + entry.duration
    # Whatever is ahead is open once it has come, at the same moment.
    assert entry.active(following) == following


# Around the changes of the clock in Berlin and Lord Howe (half an hour), minute by minute.
@pytest.mark.parametrize(
    ("zone", "text"),
    [
        ("Europe/Berlin", "2026-03-29T00:00"),
        ("Europe/Berlin", "2026-10-25T00:00"),
        ("Australia/Lord_Howe", "2026-04-05T00:00"),
        ("Australia/Lord_Howe", "2026-10-04T00:00"),
    ],
)
def test_time_that_goes_on_meets_each_window_once(zone: str, text: str) -> None:
    entry = Entry("45 1 * * *", zone, 600.0, 1)
    begin = at(text, zone)
    seen = {entry.active(begin + 60 * minute) for minute in range(6 * 60)} - {None}
    ahead = {entry.following(begin + 60 * minute) for minute in range(6 * 60)}
    assert len(seen) == 1
    assert seen <= ahead
    assert len(ahead) == 2  # this one and the next day's


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ((Entry("0 8 * * *", "Asia/Shangai", HOUR, 2),), "[0].timeZone: there is no time zone"),
        ((Entry("0 8 * * *", "Asia", HOUR, 2),), "[0].timeZone: there is no time zone Asia"),
        ((OFFICE, Entry("0 25 * * *", "UTC", HOUR, 2)), "[1].cron: '0 25 * * *' cannot be read"),
        ((Entry("0 0 30 2 *", "UTC", HOUR, 2),), "[0].cron: '0 0 30 2 *'"),
        ((Entry("0 0 29 2 1#5", "UTC", HOUR, 2),), None),  # rare, but it comes
        ((OFFICE, Entry("0 12 * * 3", "Asia/Shanghai", HOUR, 3)), "[0] and [1] are both open at"),
        # Touching is not overlapping, and asking for the same is no contradiction.
        ((OFFICE, Entry("0 18 * * 1-5", "Asia/Shanghai", HOUR, 3)), None),
        ((OFFICE, Entry("0 12 * * 3", "Asia/Shanghai", HOUR, 2)), None),
        # One contains the other, begins first, and is the rarer.
        (
            (Entry("0 0 1 1 *", "UTC", 24 * HOUR, 2), Entry("30 3 * * *", "UTC", HOUR, 3)),
            "both open at Wed 03:30 UTC",
        ),
        # Only in some years does the first of June fall on a weekday.
        ((OFFICE, Entry("0 9 1 6 *", "Asia/Shanghai", HOUR, 3)), "both open at"),
        # 08:00 to 16:00 in Berlin is 06:00 to 14:00 UTC in summer alone.
        (
            (
                Entry("0 8 * * *", "Europe/Berlin", 8 * HOUR, 2),
                Entry("0 5 * * *", "UTC", 1.5 * HOUR, 3),
            ),
            "both open at",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_place(
    entries: tuple[Entry, ...], words: str | None
) -> None:
    problem = schedule.problem_of(entries)
    assert (problem is None) == (words is None)
    assert (words or "") in (problem or "")


def test_entries_that_mean_nothing_are_left_out() -> None:
    wrong = Entry("0 8 * * *", "Mars/Olympus", HOUR, 2)
    assert schedule.valid([wrong, OFFICE]) == (OFFICE,)
