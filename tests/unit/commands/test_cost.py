"""What `stoker cost` tells, by a status alone and by what Prometheus recorded."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from charts.observability import costnames
from charts.observability.metric import Metric
from stoker.cli import app
from stoker.commands import bill
from stoker.commands.bill import Bill
from stoker.commands.cost import dollars, show
from stoker.commands.exits import Exit
from stoker.commands.prometheus import samples_of

BODY: dict[str, Any] = {
    "spec": {"cost": {"publicPrice": {"input": "0.15", "output": "0.60"}}},
    "status": {
        "replicas": 2,
        "cost": {"perHour": "1.68", "perDay": "40.32", "currency": "USD"},
        "plan": {"expected": {"pricePerHour": "1.20"}},
    },
}


def sample(name: str, value: object, **labels: str) -> dict[str, Any]:
    return {"metric": {"__name__": name, "service": "chat", **labels}, "value": [1, str(value)]}


ANSWER: dict[str, Any] = {
    "status": "success",
    "data": {
        "resultType": "vector",
        "result": [
            sample("stoker:price_dollars_per_hour", 1.2, capacity="on_demand", revision="a"),
            sample("stoker:price_dollars_per_hour", 0.24, capacity="spot", revision="a"),
            sample("stoker:price_dollars_per_hour", 0.24, capacity="spot", revision="b"),
            sample("stoker:cost_dollars:increase1d", 6.0, share="serving", revision="a"),
            sample("stoker:cost_dollars:increase1d", 3.0, share="serving", revision="b"),
            sample("stoker:cost_dollars:increase1d", 3.0, share="idle", revision="b"),
            sample("stoker:cost_per_request_dollars:mean1h", 0.0042),
            sample("stoker:cost_per_request_dollars:p95_1h", 0.0091),
            sample("stoker:cost_per_million_tokens_dollars:mean1d", 0.4, direction="input"),
            sample("stoker:cost_per_million_tokens_dollars:mean1d", "NaN", direction="output"),
            sample("stoker:static_cost_dollars:rate", 0.001),
            sample("stoker:public_cost_dollars:rate5m", 0.0005),
        ],
    },
}


def text(found: Bill, *, asked: bool = True, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    show(console, found, asked=asked)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def told() -> Bill:
    found = bill.with_series(bill.of_status(BODY, "team/chat"), samples_of(ANSWER))
    assert found is not None
    return found


def test_a_status_alone() -> None:
    found = bill.of_status(BODY, "team/chat")
    assert (found.per_hour, found.of_replica, found.replicas) == (1.68, 1.2, 2)
    said = text(found, asked=False)
    assert "$1.68 per hour, $40.32 per day, with 2 replicas" in said
    assert "--prometheus" in said


@pytest.mark.parametrize(
    "status", [{}, {"cost": []}, {"cost": {"perHour": 1}}, {"cost": {"perHour": "nan"}}]
)
def test_a_price_that_is_not_told_is_not_zero(status: dict[str, Any]) -> None:
    found = bill.of_status({"status": status}, "team/chat")
    assert found.per_hour is None
    assert bill.as_data(found)["pricePerHour"] is None
    assert "not known" in text(found)


def test_what_was_recorded() -> None:
    found = told()
    assert found.per_hour == pytest.approx(1.68)
    assert found.by_capacity == pytest.approx({"on_demand": 1.2, "spot": 0.48})
    assert found.static_per_hour == pytest.approx(3.6)
    day = found.windows["1d"]
    assert day.total == pytest.approx(12.0)
    assert day.spent == pytest.approx({"serving": 9.0, "idle": 3.0})
    assert day.per_million == {"input": 0.4}  # not a number is not told
    assert found.windows["1h"].total is None
    said = text(found)
    assert "$9.00, 75%: requests ran" in said
    assert "$0.0042 on average, P95 $0.0091" in said
    assert "a million tokens of input" in said
    assert "(a public API: $0.15)" in said


def test_a_narrow_terminal_loses_no_number() -> None:
    assert "$12.00" in text(told(), width=60)


def test_data_for_programs() -> None:
    data = bill.as_data(told())
    assert data["pricePerDay"] == pytest.approx(1.68 * 24)
    assert data["windows"]["1d"]["spent"] == pytest.approx(12.0)
    assert data["windows"]["1h"]["perRequestP95"] == 0.0091
    assert data["windows"]["1d"]["perRequestP95"] is None


def test_no_series_is_no_bill() -> None:
    assert bill.with_series(bill.of_status(BODY, "team/chat"), []) is None


def test_it_asks_for_names_that_are_recorded() -> None:
    known = {
        metric.name
        for value in vars(costnames).values()
        for metric in (value.values() if isinstance(value, dict) else (value,))
        if isinstance(metric, Metric)
    }
    asked = bill.query("team", "chat").partition('"')[2].partition('"')[0].split("|")
    assert set(asked) <= known


def test_an_address_that_is_none() -> None:
    done = CliRunner().invoke(app, ["cost", "chat", "--prometheus", "localhost:9090"])
    assert done.exit_code == Exit.BAD_INPUT
    assert "write http://HOST:PORT" in done.output


@pytest.mark.parametrize(
    ("value", "said"),
    [(12.345, "$12.35"), (1234.5, "$1,234.50"), (0.0042, "$0.0042"), (0, "$0.00")],
)
def test_sums_have_digits_that_say_something(value: float, said: str) -> None:
    assert dollars(value) == said
