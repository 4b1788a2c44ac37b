"""What a trace is called, and what a run begins with."""

from pathlib import Path

import pytest

from benchmarks.autoscale.cases import case_of, character_of, setting_of
from stoker.errors import StokerError


def write(path: Path, *times: float) -> str:
    rows = [f"{time},4000,800" for time in times]
    path.write_text("\n".join(["arrival_s,input_tokens,output_tokens", *rows]) + "\n")
    return str(path)


def test_a_trace_is_a_file_with_times_and_hours(tmp_path: Path) -> None:
    path = write(tmp_path / "day.csv", 0, 1)
    case = case_of(f"{path}=2.5@24")
    assert (case.source, case.times, case.hours) == (path, 2.5, 24)
    assert case.name == "day x2.5, first 24 h"
    assert case_of(path).name == "day"
    assert case_of("ramp=2").name == "ramp x2"


@pytest.mark.parametrize("end", ["=0", "=x", "@0", "@5-2", "@x-2", "=2@", "=nan"])
def test_what_is_no_number_above_zero_is_refused(tmp_path: Path, end: str) -> None:
    path = write(tmp_path / "day.csv", 0)
    with pytest.raises(StokerError, match="write numbers"):
        case_of(path + end)


def test_what_is_neither_file_nor_shape_is_refused() -> None:
    with pytest.raises(StokerError, match="is no file and none of step, ramp"):
        case_of("nowhere.csv=3")


def test_only_the_first_hours_count(tmp_path: Path) -> None:
    path = write(tmp_path / "day.csv", 0, 3599, 3600)
    assert len(setting_of(case_of(f"{path}@1")).arrivals) == 2


def test_hours_between_count_from_their_begin(tmp_path: Path) -> None:
    path = write(tmp_path / "day.csv", 0, 3599, 3600, 3700, 7200)
    case = case_of(f"{path}@1-2")
    assert case.name == "day, from 1 h to 2"
    assert [each.at_s for each in setting_of(case).arrivals] == [0, 100]
    assert case_of(f"{path}@1-").name == "day, from 1 h on"
    assert len(setting_of(case_of(f"{path}@1-")).arrivals) == 3


def test_a_seed_draws_a_shape_anew() -> None:
    case = case_of("spike@0.1")
    once, again = setting_of(case, 1).arrivals, setting_of(case, 2).arrivals
    assert once != again
    assert setting_of(case, 1).arrivals == once


def test_a_run_begins_with_what_the_first_minutes_need(tmp_path: Path) -> None:
    quiet = setting_of(case_of(write(tmp_path / "quiet.csv", 0)))
    assert quiet.bounds.initial == 1
    early = setting_of(case_of(write(tmp_path / "early.csv", *(n / 10 for n in range(1800)))))
    late = setting_of(case_of(write(tmp_path / "late.csv", *(300 + n / 10 for n in range(1800)))))
    assert early.bounds.initial > 2
    assert late.bounds.initial == 1


def test_a_burst_or_idle_minutes_make_a_trace_bursty(tmp_path: Path) -> None:
    steady = write(tmp_path / "steady.csv", *(range(0, 1200, 10)))
    burst = write(tmp_path / "burst.csv", *sorted([*range(0, 1200, 10), *[600.0] * 100]))
    idle = write(tmp_path / "idle.csv", *range(0, 600, 10), *range(1200, 1800, 10))
    assert not character_of(setting_of(case_of(steady))).bursty
    assert character_of(setting_of(case_of(burst))).bursty
    found = character_of(setting_of(case_of(idle)))
    assert found.bursty
    assert found.idle == pytest.approx(1 / 3, abs=0.02)
