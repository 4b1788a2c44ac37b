"""How rounds become figures, and that a corrupt load would show."""

import pytest

from benchmarks.cache.__main__ import fault_rows, speed_rows
from benchmarks.cache.faults import Tally
from benchmarks.cache.speed import Speeds, ratio

MB = 1e6


def speeds() -> Speeds:
    return Speeds(
        disk=[50 * MB, 400 * MB, 100 * MB],
        direct=[100 * MB, 100 * MB, 200 * MB],
        loopback=[300 * MB, 200 * MB, 800 * MB],
        hf=[50 * MB, 100 * MB, 100 * MB],
        hf_on_disk=[40 * MB, 80 * MB, 90 * MB],
        pipe=[100 * MB, 100 * MB, 100 * MB],
        stoker=[90 * MB, 190 * MB, 180 * MB],
        blind=[99 * MB, 209 * MB, 198 * MB],
        network=[100 * MB, 100 * MB, 100 * MB],
        network_blind=[100 * MB, 101 * MB, 102 * MB],
        check=[0.001, 0.002, 0.004],
    )


def test_each_round_is_compared_with_its_own_limit() -> None:
    assert speeds().of_limit() == pytest.approx(0.9)
    assert ratio([1, 2, 9], [2, 2, 3]) == 1.0


def test_rows_tell_what_was_promised() -> None:
    rows = {name: (value, promise) for name, value, promise in speed_rows(speeds())}
    assert rows["of the lower limit"] == ("0.90", "≥ 0.9")
    assert rows["of that pipe"] == ("1.80", "")
    assert rows["of hf download"] == ("1.80", "≥ 1.0")
    assert rows["added by verification"] == ("10.0 %", "≤ 10 %")
    assert rows["the same where the source gives 500 MB/s"] == ("1.0 %", "≤ 10 %")
    assert rows["look at a warm cache"][0] == "2.0 ms"


def test_a_corrupt_load_is_told() -> None:
    (row,) = fault_rows([Tally("bit flip", times=2, corrupt=1, again=int(5 * MB), bad=int(6 * MB))])
    assert row[0] == "bit flip, 2 times"
    assert row[1] == "1 corrupt, 0 not whole after, 5 MB again of 6 bad"
