from __future__ import annotations

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from stoker.render.envoy import bootstrap
from stoker.render.frontend_picker import render_picker_config
from stoker.render.timeouts import compute_timeouts, seconds
from tests.unit.render.test_frontend import ONE


@given(
    hold=st.floats(0, 86_400),
    drain=st.floats(0, 3_600),
)
def test_time_outs_keep_their_order(hold: float, drain: float) -> None:
    times = compute_timeouts(hold_s=hold, drain_s=drain)
    assert 0 < times.connect <= 2
    assert times.connect < times.hold < times.message < times.stream_idle
    assert times.frontend_settle + times.frontend_drain < times.frontend_grace


def test_what_is_rendered_keeps_the_order_too() -> None:
    """Read from the files, because that is what counts."""
    config = bootstrap(ONE)["static_resources"]
    found: dict[str, set[float]] = {}
    _collect(config, found)
    hold = _number(json.loads(render_picker_config(ONE))["flowControl"]["defaultRequestTTL"])
    assert hold == 600
    assert max(found["connect_timeout"]) <= 2
    assert found["message_timeout"] == {615.0}
    idle = found["stream_idle_timeout"] - {0.0}  # the drain listener waits as long as it takes
    assert min(idle) > 615
    assert 0.0 in found["timeout"]  # routes to engines have no deadline of their own


def test_seconds_are_spelt_for_envoy_and_go() -> None:
    assert [seconds(value) for value in (600, 0.1, 2.5, 1)] == ["600s", "0.1s", "2.5s", "1s"]


def _collect(value: object, found: dict[str, set[float]]) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            if isinstance(inner, str) and re.fullmatch(r"[0-9.]+s", inner):
                found.setdefault(key, set()).add(_number(inner))
            _collect(inner, found)
    elif isinstance(value, list):
        for inner in value:
            _collect(inner, found)


def _number(text: str) -> float:
    return float(text.removesuffix("s"))
