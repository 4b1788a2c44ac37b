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
