"""The values between layers."""

import re
from pathlib import Path

from stoker.model import reasons
from stoker.model.load import EngineSample, FrontendSample, Load
from stoker.model.moment import Moment


def test_every_reason_is_one_camel_case_word_and_spelt_once() -> None:
    words = [value for name, value in vars(reasons).items() if name.isupper()]
    assert all(re.fullmatch(r"([A-Z][a-z]+)+", word) for word in words)
    assert len(words) == len(set(words))


def test_every_reason_is_used() -> None:
    source = Path(reasons.__file__).parents[1]
    text = "".join(path.read_text() for path in source.rglob("*.py") if path.name != "reasons.py")
    unused = [
        name
        for name in vars(reasons)
        if name.isupper() and not re.search(rf"reasons\.{name}\b", text)
    ]
    assert unused == []


def test_a_moment_dates_the_past() -> None:
    now = Moment(monotonic=100, unix=1_000_000_000)
    assert now.rfc3339() == "2001-09-09T01:46:40Z"
    assert now.rfc3339(monotonic=60) == "2001-09-09T01:46:00Z"


def test_queue_depth_is_held_plus_waiting() -> None:
    load = Load(
        0,
        (FrontendSample("a", 2, 5, 10), FrontendSample("b", 1, 1, 7)),
        (EngineSample("c", 4, 3, None), EngineSample("d", 1, 0, 0.5)),
    )
    assert (load.held, load.waiting, load.running) == (3, 3, 5)
    assert load.queue_depth == 6
    assert load.requests_total == 17
    assert load.complete
