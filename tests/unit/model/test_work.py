"""What a request takes, as the status keeps it."""

import pytest

from stoker.model.work import Work

WORK = Work(0.0101234, 2e-4, 1e-7, 5e-5, 0.0, 0.05, 256, 400_000, 1000, 200)


def test_it_comes_back_with_three_digits() -> None:
    text = WORK.to_text()
    found = Work.from_text(text)
    assert found is not None
    assert found.step_s == 0.0101
    assert found.request_s(1000, 200) == pytest.approx(WORK.request_s(1000, 200), rel=0.01)
    assert len(text) < 90


@pytest.mark.parametrize(
    "text",
    [
        None,
        7,
        "",
        "1 2 3",
        "a b c d e f g h i j",
        WORK.to_text() + " 1",
        WORK.to_text().replace("0.05", "0"),
        WORK.to_text().replace("0.05", "nan"),
        WORK.to_text().replace("0.05", "-1"),
    ],
)
def test_what_makes_no_sense_is_nothing(text: object) -> None:
    assert Work.from_text(text) is None


def test_slower_steps_make_requests_longer_in_proportion() -> None:
    slow = WORK.slower(2.0)
    assert (slow.step_s, slow.sequence_s, slow.prompt_token_s) == (0.0202468, 4e-4, 1e-4)
    assert slow.pace_s == WORK.pace_s
    # Twice the time for each, and the larger step leaves less of the target's pace for requests.
    assert slow.request_s(1000, 200) > 2 * WORK.request_s(1000, 200)
    assert WORK.slower(1.0) == WORK
    # A step that alone takes longer than the target cannot keep it: then two steps are the pace.
    assert WORK.slower(6.0).pace_s == 12 * WORK.step_s
